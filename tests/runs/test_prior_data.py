"""Prior data: datasets recorded from a policy and replay buffers of runs, read, mixed, trained from, refused.

These tests need the extra minari.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from fake_transport import FakeTransport
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.vector import SyncVectorEnv
from helpers import Diary, Point, check_diary, numbered, parameters, read_rows, replay_buffer, train
from minari import MinariDataset, create_dataset_from_buffers
from minari.data_collector import EpisodeBuffer
from resuming import assert_same, point, signal_at
from rooms import Rooms
from runs.test_kill import check  # type: ignore[import-not-found]

from spinup.cli.main import main
from spinup.collect.collector import EnvCollector
from spinup.config import SACConfig
from spinup.envs.make import make_vector
from spinup.errors import ConfigError, MissingExtraError
from spinup.playback.episodes import load_policy_and_env
from spinup.playback.recording import record_episodes
from spinup.replay.builders import OneStepBuilder
from spinup.replay.prior import MixedSampler
from spinup.replay.samplers import UniformSampler
from spinup.runs.prior_data import read_prior_data


@pytest.fixture(autouse=True)
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of datasets of one test."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    return tmp_path / "minari"


def collector_of(env_fn: Any) -> EnvCollector:
    """A collector of one environment."""
    return EnvCollector(make_vector(env_fn, 1, "sync", 10.0), seed=0, stream=1, max_ep_len=1000)


def nothing(observation: Any) -> Any:
    """The action 0."""
    return np.zeros(1, np.float32)


def test_a_recorded_diary_is_read_as_its_transitions() -> None:
    steps, mean = record_episodes(Diary(), nothing, "diary/all-v0", 6)
    assert steps == 3 + 5 + 1 + 4 + 3 + 5
    assert mean == pytest.approx(np.mean([6, 515, 201, 1210, 1206, 2515]))
    data = read_prior_data("diary/all-v0", collector_of(Diary))
    check_diary(data.transitions)
    assert len(data.transitions["reward"]) == steps
    # Episodes of even number terminate at their end, odd ones are truncated there.
    ends = np.cumsum([3, 5, 1, 4, 3, 5]) - 1
    assert data.transitions["terminated"][ends].tolist() == [True, False, True, False, True, False]
    for name, field in collector_of(Diary).fields.items():
        assert data.transitions[name].dtype == field.dtype


class Reusing(Diary):
    """A Diary that returns the same array each time."""

    def observe(self) -> Any:
        self.array = getattr(self, "array", np.zeros(2, np.float32))
        self.array[:] = self.episode, self.t
        return self.array


def test_an_environment_that_reuses_its_array_is_recorded() -> None:
    record_episodes(Reusing(), nothing, "reusing-v0", 6)
    check_diary(read_prior_data("reusing-v0", collector_of(Diary)).transitions)


def test_a_spec_that_json_cannot_represent_is_left_out(datasets: Path) -> None:
    gym.register("Diary-v0", Diary)
    try:
        record_episodes(gym.make("Diary-v0"), nothing, "diary/spec-v0", 1)
    finally:
        del gym.registry["Diary-v0"]
    assert MinariDataset(datasets / "diary" / "spec-v0" / "data").env_spec is None


def test_an_episode_cut_by_its_longest_length_is_truncated_there(datasets: Path) -> None:
    record_episodes(Diary(), nothing, "diary/cut-v0", 3, max_ep_len=3)
    dataset = MinariDataset(datasets / "diary" / "cut-v0" / "data")
    ends = [(bool(e.terminations[-1]), bool(e.truncations[-1])) for e in dataset.iterate_episodes()]
    assert ends == [(True, False), (False, True), (True, False)]
    check_diary(read_prior_data("diary/cut-v0", collector_of(Diary)).transitions, max_ep_len=3)


class Nested(Diary):
    """A Diary with nested observations and discrete actions that start at 5."""

    observation_space = Dict({"when": Box(-1.0, 1e6, (2,), np.float64), "at": Dict({"x": Discrete(3)})})  # type: ignore[assignment]
    action_space = Discrete(3, start=5)  # type: ignore[assignment]

    def observe(self) -> Any:
        return {"when": np.array([self.episode, self.t], np.float64), "at": {"x": self.t % 3}}

    def step(self, action: Any) -> Any:
        return super().step([action])


def test_nested_observations_and_discrete_actions() -> None:
    record_episodes(Nested(), lambda seen: 5 + int(seen["when"][1]) % 3, "nested-v0", 4)
    collector = collector_of(Nested)
    rows = read_prior_data("nested-v0", collector).transitions
    collector.start()
    for k in range(13):
        step = collector.obs[0, -1] % 3
        own = collector.step(np.array([[step]], np.float32))[0]
        for name, column in own.items():
            np.testing.assert_array_equal(rows[name][k], column[0], err_msg=name)


@pytest.mark.parametrize("changes", [{"n_step": 2}, {}])
def test_the_replay_buffer_of_a_run(tmp_path: Path, changes: dict[str, Any]) -> None:
    train(tmp_path / "run", Diary, epochs=1, **changes)
    data = read_prior_data(str(tmp_path / "run"), collector_of(Diary))
    check_diary(data.transitions, max_ep_len=20)
    assert len(data.transitions["reward"]) == 100
    again = read_prior_data(str(tmp_path / "run"), collector_of(Diary))
    assert again.checksum == data.checksum


def test_rewards_normalized_with_data_of_several_environments(tmp_path: Path) -> None:
    train(tmp_path / "four", epochs=1, num_envs=4, n_step=3)
    train(tmp_path / "run", prior_data=str(tmp_path / "four"), normalize_rewards=True)
    rows = read_rows(tmp_path / "run")
    assert rows
    assert all(math.isfinite(float(row["LossQ"])) for row in rows)


def test_a_batch_has_the_share_of_prior_data() -> None:
    prior, own = replay_buffer(100, gamma=0.9), replay_buffer(100, gamma=0.9)
    prior.add(numbered(1000, 1030))
    for fraction, count in ((0.0, 0), (0.5, 4), (0.24, 2), (0.9, 7), (1.0, 8)):
        sampler = MixedSampler(UniformSampler(OneStepBuilder(0.9)), prior, fraction)
        own.add(numbered(0, 5))
        batch = sampler.sample(own.storage, 30, 8, np.random.default_rng(0))
        from_prior = batch["reward"] > 1000
        assert (from_prior.sum(1) == count).all()
        for name in ("obs", "action", "next_obs"):
            assert np.array_equal(batch[name][..., 0], batch["reward"]), name
        assert batch["obs"].shape == (30, 8, 2)
        assert batch["discount"].dtype == np.float32


def test_own_transitions_are_drawn_as_without_prior_data() -> None:
    prior, own = replay_buffer(100), replay_buffer(100)
    prior.add(numbered(0, 9))
    own.add(numbered(0, 50))
    sampler = MixedSampler(UniformSampler(OneStepBuilder(0.99)), prior, 0.5)
    mixed = sampler.sample(own.storage, 3, 8, np.random.default_rng(0))
    alone = own.sample(3, 4, np.random.default_rng(0))
    for name, values in alone.items():
        assert np.array_equal(values, mixed[name][:, :4])


def recorded(dataset_id: str = "point-v0", episodes: int = 8) -> str:
    """A dataset of Points pushed at random."""
    rng = np.random.default_rng(0)
    record_episodes(Point(), lambda o: rng.uniform(-1, 1, 1).astype(np.float32), dataset_id, episodes, seed=1)
    return dataset_id


@pytest.mark.parametrize(
    "settings",
    [
        {"n_step": 2, "num_envs": 3, "replay_size": 60},
        {"normalize_observations": True, "normalize_rewards": True},
        {"offline": True},
        {"offline": True, "normalize_observations": True, "normalize_rewards": True, "alpha": "auto"},
    ],
)
def test_stopped_and_resumed(tmp_path: Path, settings: dict[str, Any]) -> None:
    settings = {
        "env_fn": point, "steps_per_epoch": 99, "checkpoint_every": 10, "prior_data": recorded(),
        "num_test_episodes": 2, **settings,
    }  # fmt: skip
    signal_at(None)
    whole, _ = train(tmp_path / "whole", **settings)
    signal_at(10 if settings.get("offline") else 117)  # offline, within the first test
    with pytest.raises(SystemExit):
        train(tmp_path / "stopped", **settings)
    signal_at(None)
    resumed, _ = train(tmp_path / "stopped", resume=True, **settings)
    assert_same(whole, resumed, tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_kills(tmp_path: Path, datasets: Path) -> None:
    check(tmp_path, 2, 7, env_fn="point", epochs=4, prior_data=str(datasets / recorded()), num_envs=3)


def test_an_offline_run_takes_no_step_but_those_of_tests(tmp_path: Path) -> None:
    steps, made = [], []

    class Counted(Point):
        """Counts its steps, and the environments made."""

        def __init__(self) -> None:
            super().__init__()
            made.append(self)

        def step(self, action: Any) -> Any:
            steps.append(1)
            return super().step(action)

    source = recorded()
    changes = {"offline": True, "update_after": 1000, "steps_per_epoch": 60, "num_test_episodes": 2}
    before, rows = train(tmp_path / "a", Counted, prior_data=source, **changes)
    assert len(steps) == 2 * 2 * 15  # two tests of two episodes
    assert len(made) == 1 + 2  # one to see what env_fn returns, two for tests
    assert [row["TotalEnvInteracts"] for row in rows] == ["0", "0"]
    assert all(np.isfinite(float(row["LossQ"])) for row in rows)
    assert not list((tmp_path / "a" / "checkpoint").glob("replay-*"))
    other, _ = train(tmp_path / "b", Counted, prior_data=source, **{**changes, "seed": 1})
    assert not parameters(before).equal(parameters(other))


def test_a_share_of_none_is_a_run_without_prior_data(tmp_path: Path) -> None:
    plain, _ = train(tmp_path / "a")
    mixed, _ = train(tmp_path / "b", prior_data=recorded(), prior_fraction=0.0)
    assert parameters(plain).equal(parameters(mixed))


def test_changed_prior_data_is_refused_on_resume(tmp_path: Path, datasets: Path) -> None:
    source = recorded()
    train(tmp_path, prior_data=source, epochs=1)
    assert len(json.loads((tmp_path / "config.json").read_text())["prior_data_checksum"]) == 64
    (datasets / "point-v0").rename(datasets / "before-v0")
    recorded(episodes=9)
    with pytest.raises(ConfigError, match=rf"^prior_data='{source}' has changed since the run began"):
        train(tmp_path, prior_data=source, resume=True)


def refused(source: Any, env_fn: Any = Point, error: Any = ConfigError) -> str:
    """The line with which prior data is refused."""
    with pytest.raises(error) as caught:
        read_prior_data(str(source), collector_of(env_fn))
    line = str(caught.value)
    assert line.startswith(f"prior_data={str(source)!r}")
    assert "\n" not in line
    return line


def test_what_is_no_prior_data_is_refused_in_one_line(tmp_path: Path, datasets: Path) -> None:
    line = refused("data/nothing")
    assert f"{Path('data/nothing').absolute()} is not the folder of a run with checkpoints, and no" in line
    assert "its observation_space is Box(" in refused(recorded(), lambda: gym.make("Pendulum-v1"))
    assert "its action_space is Box(-1.0, 1.0" in refused("point-v0", lambda: Point(high=2.0))
    train(tmp_path / "run", epochs=1)
    line = refused(tmp_path / "run", lambda: gym.make("Pendulum-v1"))
    assert "its field 'obs' has the shape (2,), and this environment's has (3,): give data of" in line
    assert f"did you mean {tmp_path / 'run'}?" in refused(tmp_path)
    train(tmp_path / "three", epochs=1, num_envs=2)
    assert "does not record the environment of each row" in refused(tmp_path / "three")
    train(tmp_path / "vector", lambda: SyncVectorEnv([Point] * 2), epochs=1)
    assert "does not record the environment of each row" in refused(tmp_path / "vector")
    apart = {"collectors": 2, "collect": "lockstep", "transport": FakeTransport()}
    train(tmp_path / "collectors", epochs=1, **apart)
    assert "does not record the environment of each row" in refused(tmp_path / "collectors")
    train(tmp_path / "rooms", Rooms, epochs=1)
    assert len(read_prior_data(str(tmp_path / "rooms"), collector_of(Rooms)).transitions["reward"]) == 100
    line = refused(tmp_path / "rooms", lambda: FewerRooms(Rooms()))
    assert "it has actions outside of Discrete(2), this environment's action space" in line
    for manifest in (tmp_path / "run" / "checkpoint").glob("manifest-*"):
        manifest.write_text("{")
    assert "is skipped: " in refused(tmp_path / "run")


def create(name: str, episodes: list[Any]) -> str:
    """A dataset of a Point's spaces."""
    env = Point()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the author and the like
        create_dataset_from_buffers(
            name, episodes, observation_space=env.observation_space, action_space=env.action_space
        )
    return name


class FewerRooms(gym.Wrapper[Any, Any, Any, Any]):
    """Rooms with two of its actions."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.action_space = Discrete(2)


def damaged(datasets: Path, name: str, change: Any) -> str:
    """A dataset of one episode whose arrays `change` has altered."""
    arrays = {
        "observations": np.zeros((4, 2), np.float32), "actions": np.zeros((3, 1), np.float32),
        "rewards": np.zeros(3), "terminations": np.zeros(3, np.bool_), "truncations": np.zeros(3, np.bool_),
    }  # fmt: skip
    change(arrays)
    return create(name, [EpisodeBuffer(**arrays)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "values", "line"),
    [
        (
            "observations",
            np.zeros((3, 2), np.float32),
            "has 3 observations, 3 actions and 3 terminations for 3",
        ),
        ("actions", np.zeros((2, 1), np.float32), "has 4 observations, 2 actions"),
        ("terminations", np.zeros(2, np.bool_), "and 2 terminations"),
        ("rewards", np.array([0.0, np.nan, 1.0]), "its field 'reward' is not finite"),
        ("rewards", np.array([0.0, 1e300, 1.0]), "its field 'reward' is not finite"),
        ("rewards", ["a", "b", "c"], "its field 'reward' holds object, not numbers"),
        ("observations", np.zeros((4, 3), np.float32), "its field 'obs' has the shape (3,)"),
    ],
)
def test_damaged_episodes_are_refused(datasets: Path, name: str, values: Any, line: str) -> None:
    assert line in refused(damaged(datasets, "bad-v0", lambda arrays: arrays.update({name: values})))


def test_an_empty_dataset_is_refused(datasets: Path) -> None:
    assert "it is empty: record episodes first" in refused(create("empty-v0", []))


def test_no_environment_is_made_that_a_dataset_names(datasets: Path) -> None:
    recorded()
    file = datasets / "point-v0" / "data" / "metadata.json"
    metadata = json.loads(file.read_text())
    del metadata["action_space"]
    file.write_text(json.dumps({**metadata, "env_spec": '{"id": "antigravity:Env-v0"}'}))
    assert "its metadata has no action_space: record it anew" in refused("point-v0")
    file.write_text("{")
    assert "metadata.json" in refused("point-v0")


def test_a_dataset_of_another_environment_with_the_same_spaces_is_logged(tmp_path: Path) -> None:
    record_episodes(gym.make("Pendulum-v1"), nothing, "pendulum-v0", 1, max_ep_len=5)
    data = read_prior_data("pendulum-v0", collector_of(lambda: gym.make("Pendulum-v1")))
    assert not data.warnings
    collector = collector_of(lambda: gym.make("Pendulum-v1"))
    collector.vector.spec = gym.spec("MountainCarContinuous-v0")
    (line,) = read_prior_data("pendulum-v0", collector).warnings
    assert line.endswith("was made in Pendulum-v1, and this run's environment is MountainCarContinuous-v0")


@pytest.mark.parametrize("absent", ["minari", "h5py"])
def test_without_minari_one_line_names_the_extra(monkeypatch: pytest.MonkeyPatch, absent: str) -> None:
    source = recorded()
    monkeypatch.setitem(sys.modules, "minari", None)
    assert "pip install 'spinup[minari]'" in refused(source, error=MissingExtraError)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == absent else real(name))
    with pytest.raises(MissingExtraError, match=r"pip install 'spinup\[minari\]'"):
        record_episodes(Point(), nothing, "other-v0", 1)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"prior_fraction": 0.99, "batch_size": 8, "prior_data": "x"},
            r"^prior_fraction=0.99 of batch_size=8 rounds to the whole batch: give a smaller fraction",
        ),
        (
            {"prior_fraction": 1.0},
            r"^prior_fraction=1.0: give offline=True to learn from [^\n]*, or a number >= 0 and < 1$",
        ),
        (
            {"prior_fraction": -0.1},
            r"^prior_fraction=-0.1: give offline=True to learn from [^\n]*, or a number >= 0 and < 1$",
        ),
        ({"prior_fraction": 0.25}, "^prior_fraction=0.25 has no effect without prior_data: leave it out"),
        (
            {"prior_fraction": 0.25, "offline": True, "prior_data": "x"},
            "^prior_fraction=0.25 has no effect with offline=True, where it is 1: leave it out",
        ),
        (
            {"prior_fraction": 0.004, "prior_data": "x"},
            "^prior_fraction=0.004 of batch_size=100 rounds to no transition: give a larger fraction, or 0",
        ),
        ({"offline": True}, "^offline=True: give prior_data"),
        ({"offline": 1, "prior_data": "x"}, "^offline=1: give True or False"),
        ({"prior_data": 3}, "^prior_data=3: give the id or folder of a Minari dataset"),
        ({"prior_data": "x", "sampler": "per"}, "^sampler='per' cannot be combined with prior_data"),
    ],
)
def test_values_that_cannot_be_are_refused(values: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        SACConfig(**values)


SHORT = ["--hid", "[8,8]", "--steps_per_epoch", "60", "--start_steps", "20", "--update_after", "20"]
SHORT += ["--update_every", "10", "--batch_size", "8", "--num_test_episodes", "1", "--epochs", "1"]


def test_the_commands(tmp_path: Path, capfd: Any) -> None:
    places = ["--env", "Pendulum-v1", "--data_dir", str(tmp_path), *SHORT]
    run = str(tmp_path / "a" / "a_s0")
    assert main(["sac", "--exp_name", "a", "--normalize_observations", *places]) == 0
    record = ["record", run, "--episodes", "2", "--out", "pendulum/poor-v0", "--seed", "3", "-l", "30"]
    assert main([*record, "--stochastic"]) == 0
    out = capfd.readouterr().out
    assert "recorded 2 episodes, 60 steps, mean return" in out
    assert "spinup sac --env Pendulum-v1 --prior_data pendulum/poor-v0" in out
    assert main(record) == 2
    assert "a dataset 'pendulum/poor-v0' exists in" in capfd.readouterr().err
    assert main([*record, "--out", "pendulum/poor"]) == 2
    assert "give one like 'hopper/medium-v0'" in capfd.readouterr().err
    for source in ("pendulum/poor-v0", run):
        given = ["--prior_data", source, "--overwrite", *places]
        assert main(["sac", "--exp_name", "b", "--prior_fraction", "0.25", *given]) == 0
        assert f"transitions of {source}, 2 of the 8 in each batch" in capfd.readouterr().out
        assert main(["sac", "--exp_name", "c", "--offline", *given]) == 0
        assert f"transitions of {source}, 8 of the 8 in each batch" in (out := capfd.readouterr().out)
        assert "spinup plot" in out
        assert main(["resume", str(tmp_path / "c" / "c_s0"), "--epochs", "2"]) == 0
        assert [row["Epoch"] for row in read_rows(tmp_path / "c" / "c_s0")] == ["1", "2"]


def test_recorded_actions_are_those_of_the_policy(tmp_path: Path, datasets: Path) -> None:
    train(tmp_path / "run", "Pendulum-v1", normalize_observations=True, epochs=1)
    env, get_action = load_policy_and_env(tmp_path / "run")
    record_episodes(env, get_action, "pendulum-v0", 1, max_ep_len=20, seed=1)
    (episode,) = MinariDataset(datasets / "pendulum-v0" / "data").iterate_episodes()
    for observation, action in zip(episode.observations[:-1], episode.actions, strict=True):
        np.testing.assert_array_equal(action, get_action(observation))
