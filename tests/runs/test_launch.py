"""The start of a run: warnings about settings that make little sense, and one run at a time per process."""

from __future__ import annotations

import copy
import functools
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import NormalizeObservation, NormalizeReward
from helpers import SMALL, FourCalls, Point, parameters, train
from torch import nn

from spinup.cli.main import main
from spinup.config import SACConfig
from spinup.errors import ConfigError, RunError
from spinup.loggers.epoch_logger import EpochLogger
from spinup.pytorch import model_file


@pytest.fixture
def warned(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Trains and returns the yellow lines of the log."""
    lines: list[str] = []
    monkeypatch.setattr(EpochLogger, "log", lambda self, msg, color="green": lines.append((color, msg)))
    monkeypatch.setattr(model_file, "_REGISTRY", dict(model_file._REGISTRY))

    def run(env_fn: Any = Point, **changes: Any) -> list[str]:
        lines.clear()
        train(tmp_path / str(len(list(tmp_path.iterdir()))), env_fn, **{"epochs": 1, **changes})
        return [line for color, line in lines if color == "yellow"]

    return run


def vector_of(count: int, mode: AutoresetMode = AutoresetMode.NEXT_STEP) -> Any:
    """A function that makes a vector environment."""
    return lambda: SyncVectorEnv([Point] * count, autoreset_mode=mode)


def test_a_step_in_which_all_environments_of_a_vector_reset(tmp_path: Path) -> None:
    ac, _ = train(tmp_path, vector_of(5), normalize_rewards=True, normalize_observations=True)
    assert parameters(ac).isfinite().all()


def test_a_run_of_make_vec_says_how_to_continue_it_and_its_policy_is_tested(
    tmp_path: Path, capfd: Any
) -> None:
    def stop(row: Any, ac: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        train(tmp_path, lambda: gym.make_vec("CartPole-v1", 2), epochs=2, callback=stop, max_ep_len=1000)
    env = json.loads((tmp_path / "config.json").read_text())["env"]
    assert (env["id"], env["kwargs"], env["vector"]) == (
        "CartPole-v1",
        {},
        True,
    )
    assert env["max_episode_steps"] == 500
    assert main(["resume", str(tmp_path)]) != 0
    assert "call again with resume=True" in capfd.readouterr().err
    assert main(["test_policy", str(tmp_path), "-n", "1", "--norender"]) == 0


def test_a_vector_that_takes_more_steps_than_planned_is_trained_on(tmp_path: Path) -> None:
    def vector() -> Any:
        return SyncVectorEnv([Point] * 7, autoreset_mode=AutoresetMode.NEXT_STEP)

    settings: dict[str, Any] = {"steps_per_epoch": 14, "start_steps": 14, "max_ep_len": 20}
    train(tmp_path, vector, epochs=9, **settings)
    _, rows = train(tmp_path, vector, epochs=10, resume=True, **settings)
    assert len(rows) == 10


def test_a_vector_environment_determines_num_envs(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"hold_noise": 4, "normalize_rewards": True, "start_steps": 20}
    vector, _ = train(tmp_path / "vector", vector_of(5, AutoresetMode.DISABLED), **settings)
    several, _ = train(tmp_path / "several", Point, num_envs=5, **settings)
    assert parameters(vector).equal(parameters(several))
    assert json.loads((tmp_path / "vector" / "config.json").read_text())["num_envs"] == 5
    with pytest.raises(ConfigError, match="must divide steps_per_epoch=100: give steps_per_epoch=99"):
        train(tmp_path / "three", vector_of(3))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resume": "False"}, "resume='False': give True, False or 'again'"),
        ({"resume": None}, "resume=None"),
        ({"logger_kwargs": None}, "logger_kwargs=None: give a dict"),
        ({"logger_kwargs": "x"}, "logger_kwargs='x': give a dict"),
        ({"logger_kwargs": {"output_dir": 3}}, "output_dir=3: give a path"),
        ({"logger_kwargs": {"output_dir": ""}}, "output_dir='': give a path"),
        ({"actor_critic": nn.Linear(1, 1)}, "actor_critic=a Linear: give a class or function"),
    ],
)
def test_arguments_of_a_wrong_type(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"^{said}[^\n]*$"):
        train(tmp_path, epochs=1, **changes)


@pytest.mark.parametrize("name", ["overwrite", "tensorboard", "quiet"])
def test_switches_of_the_logger_are_true_or_false(tmp_path: Path, name: str) -> None:
    train(tmp_path, epochs=1)
    with pytest.raises(ConfigError, match=f"^{name}='no': give True or False$"):
        train(tmp_path, epochs=1, logger_kwargs={"output_dir": str(tmp_path), name: "no"})
    assert len((tmp_path / "progress.txt").read_text().splitlines()) == 2


def test_a_run_is_not_its_own_prior_data(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)
    logger_kwargs = {"output_dir": str(tmp_path), "overwrite": True}
    with pytest.raises(
        ConfigError, match=r"^prior_data='[^\n]*' is the folder of this run: give the run another"
    ):
        train(tmp_path, prior_data=f"{tmp_path}/", logger_kwargs=logger_kwargs)
    assert (tmp_path / "checkpoint").is_dir()


def test_batches_that_do_not_fit_in_memory(tmp_path: Path) -> None:
    with pytest.raises(
        RunError, match=r"^50 batches of batch_size=\d+ do not fit in memory .*: lower batch_size"
    ):
        train(tmp_path, epochs=1, batch_size=10**13, update_every=50)


def test_a_sensible_run_warns_of_nothing(warned: Any) -> None:
    assert warned() == []


@pytest.mark.parametrize(
    ("changes", "remedy"),
    [
        ({"update_after": 1000}, "lower update_after=1000"),
        ({"update_after": 0, "update_every": 150}, "lower update_after=0 or update_every=150"),
        ({"updates_per_step": 0.001}, "raise updates_per_step=0.001"),
    ],
)
def test_a_run_without_updates(warned: Any, changes: Any, remedy: str) -> None:
    (line,) = warned(**changes)
    assert line.startswith("warning: this run makes no update in its 100 env steps: ")
    assert remedy in line


@pytest.mark.parametrize("update_after", [0, 99, 100, 101])
@pytest.mark.parametrize("update_every", [1, 7, 100, 101])
@pytest.mark.parametrize("ratio", [0.003, 0.3, 1.0, 2.5])
def test_the_number_of_updates_is_the_sum_of_what_falls_due(
    update_after: int, update_every: int, ratio: float
) -> None:
    schedule = {"update_after": update_after, "update_every": update_every, "updates_per_step": ratio}
    config = SACConfig(steps_per_epoch=50, epochs=2, **schedule)  # type: ignore[arg-type]
    assert config.total_updates == sum(config.updates_due(n) for n in range(1, 101))


def test_a_replay_buffer_smaller_than_a_batch(warned: Any) -> None:
    (line,) = warned(replay_size=5)
    assert line == (
        "warning: replay_size=5 is below batch_size=8: every batch repeats transitions; raise replay_size"
    )


class Own(FourCalls):
    """A user's actor-critic."""


class OwnActivation(nn.ReLU):
    """A user's activation."""


def test_an_actor_critic_that_model_pt_will_not_load(warned: Any) -> None:
    (line,) = warned(actor_critic=Own)
    assert line.startswith(
        "warning: torch.load of this run's model.pt needs spinup.register_actor_critic(...)"
    )
    assert line.endswith(f"for {Own.__module__}.Own")
    model_file.register_actor_critic(Own)
    assert warned(actor_critic=Own) == []


def test_a_class_among_its_arguments_that_model_pt_will_not_load(warned: Any) -> None:
    kwargs = {"hidden_sizes": (8,), "activation": OwnActivation}
    (line,) = warned(ac_kwargs=kwargs)
    assert "OwnActivation" in line
    assert "MLPActorCritic" not in line
    model_file.register_actor_critic(OwnActivation)
    assert warned(ac_kwargs=kwargs) == []


NORMALIZED = [
    lambda: NormalizeObservation(Point()),
    lambda: NormalizeReward(Point()),
    lambda: gym.wrappers.vector.NormalizeObservation(gym.vector.SyncVectorEnv([Point])),
]


@pytest.mark.parametrize("env_fn", NORMALIZED)
def test_test_environments_with_statistics_of_their_own(warned: Any, env_fn: Any) -> None:
    (line,) = warned(env_fn)
    assert line.startswith("warning: the environment's wrappers normalize by running statistics, which diff")
    assert warned(env_fn, num_test_episodes=0) == []


def test_other_state_of_wrappers_is_no_normalization(warned: Any) -> None:
    class Noisy(gym.Wrapper[Any, Any, Any, Any]):
        def __init__(self) -> None:
            super().__init__(Point())
            self.noise = np.random.default_rng(0)

    assert warned(Noisy) == []


def test_one_run_at_a_time_per_process(tmp_path: Any) -> None:
    """Signal handlers, torch's threads and generators belong to the process."""
    started, go_on = threading.Event(), threading.Event()
    found: list[Any] = []

    def wait(row: Any, ac: Any) -> None:
        started.set()
        assert go_on.wait(60)

    def other() -> None:
        found.append(train(tmp_path / "other", callback=wait)[1])

    thread = threading.Thread(target=other)
    thread.start()
    assert started.wait(60)
    before = torch.get_num_threads(), torch.get_rng_state()
    with pytest.raises(RunError, match=r"^another thread of this process [^\n]*process of its own$"):
        train(tmp_path / "refused")
    assert torch.equal(torch.get_rng_state(), before[1])
    assert torch.get_num_threads() == before[0]
    assert not (tmp_path / "refused").exists()
    go_on.set()
    thread.join()
    assert len(found[0]) == SMALL["epochs"]
    train(tmp_path / "after")


def test_a_callback_may_run_another_training(tmp_path: Any) -> None:
    """In the same thread the settings nest."""
    inner = functools.partial(train, tmp_path / "inner", epochs=1)
    rows = train(tmp_path / "outer", epochs=1, callback=lambda row, ac: copy.copy(inner()) and None)[1]
    assert len(rows) == 1
