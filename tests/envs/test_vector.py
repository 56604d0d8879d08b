"""Vectors: every transition is a true one, in each autoreset mode, and unusable vectors raise."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Tuple
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from helpers import Diary, check_diary

from spinup.collect.collector import EnvCollector
from spinup.envs.make import make_vector
from spinup.envs.vector import EnvVector
from spinup.errors import EnvError
from spinup.interfaces import Episode
from spinup.replay.transition import Transitions

MODES = list(AutoresetMode)
LENGTHS = [(3, 5, 1, 4), (2, 2, 7), (1,), (6, 1, 1)]


class DictDiary(Diary):
    """A Diary that observes a Dict with one entry for each of its two numbers."""

    observation_space = Dict(episode=Box(-1, 1e6, (1,)), t=Box(-1, 1e6, ()))

    def observe(self) -> Any:
        return {"episode": np.array([self.episode], np.float32), "t": np.array(self.t, np.float32)}


class TupleDiary(Diary):
    """A Diary that observes a Tuple of a matrix and a vector with one number each."""

    observation_space = Tuple((Box(-1, 1e6, (1, 1)), Box(-1, 1e6, (1,))))

    def observe(self) -> Any:
        return np.array([[self.episode]], np.float32), np.array([self.t], np.float32)


def collect(vector: EnvVector, steps: int, max_ep_len: int = 1000) -> tuple[list[Transitions], list[Episode]]:
    """Transitions by environment, and episodes, of `steps` steps of a vector of Diaries."""
    collector = EnvCollector(vector, seed=0, stream=1, max_ep_len=max_ep_len)
    collector.start()
    actions = np.arange(vector.num_envs, dtype=np.float32)[:, None] / 10
    parts, finished = [], []
    for _ in range(steps):
        transitions, episodes = collector.step(actions)
        assert np.array_equal(transitions["action"], actions[transitions["env"]])
        parts.append(transitions)
        finished += episodes
    collector.close()
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    by_env = [{n: c[columns["env"] == i] for n, c in columns.items()} for i in range(vector.num_envs)]
    return by_env, finished


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [SyncVectorEnv, AsyncVectorEnv])
def test_every_transition_of_a_user_vector_is_a_true_one(make: Any, mode: AutoresetMode) -> None:
    fns = [lambda n=n: Diary(n) for n in LENGTHS]
    vector = make_vector(lambda: make(fns, autoreset_mode=mode), 1, "sync", 10.0)
    rows, finished = collect(vector, 40)
    for i, lengths in enumerate(LENGTHS):
        check_diary(rows[i], lengths)
        own = [e for e in finished if e.env == i]
        assert [e.length for e in own] == [lengths[k % len(lengths)] for k in range(len(own))]
        assert [e.ret for e in own] == [
            sum(100.0 * k + t for t in range(1, e.length + 1)) for k, e in enumerate(own)
        ]
    if mode is AutoresetMode.NEXT_STEP:
        assert len(rows[2]["reward"]) == 20  # one step per episode, and one for its reset
    else:
        assert all(len(r["reward"]) == 40 for r in rows)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [DictDiary, TupleDiary])
@pytest.mark.parametrize("num_envs", [2, 3])  # with two, N equals the number of entries of the Tuple
def test_structured_observations_of_a_user_vector(kind: Any, mode: AutoresetMode, num_envs: int) -> None:
    vector = make_vector(lambda: SyncVectorEnv([kind] * num_envs, autoreset_mode=mode), 1, "sync", 10.0)
    for rows in collect(vector, 30)[0]:
        check_diary(rows)


@pytest.mark.parametrize("workers", ["sync", "async"])
@pytest.mark.parametrize("kind", [Diary, DictDiary, TupleDiary])
def test_every_transition_of_a_local_vector_is_a_true_one(kind: Any, workers: str) -> None:
    for rows in collect(make_vector(kind, 3, workers, 10.0), 30)[0]:
        assert len(rows["reward"]) == 30
        check_diary(rows)


@pytest.mark.parametrize("mode", [None, AutoresetMode.DISABLED])
def test_max_ep_len_cuts_episodes_that_the_collector_resets(mode: AutoresetMode | None) -> None:
    env_fn: Any = Diary if mode is None else lambda: SyncVectorEnv([Diary] * 2, autoreset_mode=mode)
    for rows in collect(make_vector(env_fn, 2, "sync", 10.0), 30, max_ep_len=3)[0]:
        check_diary(rows, max_ep_len=3)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_max_ep_len_shorter_than_episodes_of_a_self_resetting_vector_raises(mode: AutoresetMode) -> None:
    vector = make_vector(lambda: SyncVectorEnv([Diary], autoreset_mode=mode), 1, "sync", 10.0)
    with pytest.raises(EnvError, match=r"^max_ep_len=4 is shorter than the vector environment's own"):
        collect(vector, 30, max_ep_len=4)
    timed = make_vector(
        lambda: gym.make_vec("Pendulum-v1", 2, vector_kwargs={"autoreset_mode": mode}), 1, "sync", 10.0
    )
    with pytest.raises(EnvError, match=r"^max_ep_len=100 is shorter than the vector environment's own"):
        EnvCollector(timed, seed=0, stream=1, max_ep_len=100)
    timed.close()
    short = make_vector(lambda: gym.make_vec("Pendulum-v1", 2, max_episode_steps=30), 1, "sync", 10.0)
    EnvCollector(short, seed=0, stream=1, max_ep_len=30).close()


def test_a_same_step_vector_without_final_observations_raises() -> None:
    class Forgetful(SyncVectorEnv):
        def step(self, actions: Any) -> Any:
            *out, infos = super().step(actions)
            infos.pop("final_obs", None)
            return *out, infos

    envs = Forgetful([Diary], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(EnvError, match=r"^[^\n]*gives no infos\['final_obs'\][^\n]*$"):
        collect(make_vector(lambda: envs, 1, "sync", 10.0), 5)


def test_a_vector_without_an_autoreset_mode_raises() -> None:
    def modeless() -> Any:
        envs = SyncVectorEnv([Diary])
        envs.metadata = {}
        return envs

    with pytest.raises(EnvError, match=r"metadata\['autoreset_mode'\] is None"):
        make_vector(modeless, 1, "sync", 10.0)


@pytest.mark.parametrize(("name", "shape"), [("terminated", (2, 1)), ("truncated", (1,))])
def test_flags_of_a_vector_of_another_shape_raise(name: str, shape: tuple[int, ...]) -> None:
    class Misshapen(SyncVectorEnv):
        def step(self, actions: Any) -> Any:
            obs, reward, *flags, infos = super().step(actions)
            flags[name == "truncated"] = np.zeros(shape, np.bool_)
            return obs, reward, *flags, infos

    line = rf"^the vector environment's {name} has shape \({shape[0]},.*\): return one boolean for each"
    with pytest.raises(EnvError, match=line):
        collect(make_vector(lambda: Misshapen([Diary] * 2), 1, "sync", 10.0), 1)


def test_environments_that_were_made_are_closed_if_another_cannot_be_made() -> None:
    made: list[Any] = []

    class Counted(Diary):
        closed = False

        def __init__(self) -> None:
            super().__init__()
            if len(made) == 3:  # one to look at, then the first two of three
                raise RuntimeError("port in use")
            made.append(self)

        def close(self) -> None:
            self.closed = True

    with pytest.raises(EnvError, match="port in use"):
        make_vector(Counted, 3, "sync", 10.0)
    assert [env.closed for env in made] == [True] * 3


def test_an_environment_that_cannot_be_closed_is_named_at_the_start() -> None:
    class Stuck(Diary):
        def close(self) -> None:
            raise OSError("device busy")

    with pytest.raises(EnvError, match=r"^the environment raised OSError: device busy; fix its close\(\)$"):
        make_vector(Stuck, 1, "sync", 10.0)


def test_statistics_that_cannot_be_restored_are_an_error_of_the_environment() -> None:
    class Forgetting(Diary):
        def load_state_dict(self, state: Any) -> None:
            raise KeyError("difficulty")

        def state_dict(self) -> Any:
            return {"level": 1}

    vector = make_vector(Forgetting, 1, "sync", 10.0)
    with pytest.raises(EnvError, match=r"^the environment raised KeyError: 'difficulty'; "):
        vector.restore_statistics(vector.statistics())
    vector.close()


def test_the_first_reset_is_named_in_errors() -> None:
    class Invalid(Diary):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            obs, info = super().reset(seed=seed, options=options)
            return np.full_like(obs, np.nan), info

    collector = EnvCollector(make_vector(Invalid, 1, "sync", 10.0), seed=0, stream=1, max_ep_len=9)
    with pytest.raises(EnvError, match="in the first reset"):
        collector.start()
