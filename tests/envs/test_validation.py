"""Flattening, and checks of observations and rewards against the declared spaces."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import SyncVectorEnv
from gymnasium.vector.utils import create_empty_array
from helpers import Diary
from hypothesis import given
from hypothesis import strategies as st

from spinup.collect.collector import EnvCollector
from spinup.envs.make import make_vector
from spinup.envs.validation import FlatEnv, flatten_batch
from spinup.envs.vector import EnvVector
from spinup.errors import EnvError
from spinup.playback.episodes import run_policy


def collect(vector: EnvVector, steps: int) -> None:
    """Step a vector of Diaries through a collector."""
    collector = EnvCollector(vector, seed=0, stream=1, max_ep_len=1000)
    collector.start()
    for _ in range(steps):
        collector.step(np.zeros((vector.num_envs, 1), np.float32))


class Misfit(Diary):
    """Returns the reward `reward` in each step, and the observation `returned` in the second."""

    returned: Any = None
    reward: Any = 0.0

    def step(self, action: Any) -> Any:
        obs, _, *rest = super().step(action)
        return (obs if self.returned is None or self.t < 2 else self.returned), self.reward, *rest


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium warns about an exception in a worker
@pytest.mark.parametrize("workers", ["sync", "async"])
@pytest.mark.parametrize(
    ("returned", "words"),
    [(np.zeros(3, np.float32), "observation of 3 numbers"), ("abc", "does not fit its space")],
)
def test_observations_that_do_not_fit_raise(workers: str, returned: Any, words: str) -> None:
    def make() -> Any:
        env = Misfit()
        env.returned = returned
        return env

    with pytest.raises(EnvError, match=rf"^the environment returned an [^\n]*{words}[^\n]*$"):
        collect(make_vector(make, 1, workers, 10.0), 3)


def test_array_rewards_raise() -> None:
    env = Misfit()
    env.reward = np.zeros(2)
    flat = FlatEnv(env)
    flat.reset()
    with pytest.raises(EnvError, match=r"reward of shape \(2,\): return a plain number"):
        flat.step(np.zeros(1))


def test_vector_rewards_of_another_shape_than_num_envs_raise() -> None:
    class Columns(SyncVectorEnv):
        def step(self, actions: Any) -> Any:
            obs, rewards, *rest = super().step(actions)
            return obs, rewards[:, None], *rest

    line = r"^the environment returned rewards of shape \(2, 1\): return one plain number per [^\n]*\(2,\)$"
    with pytest.raises(EnvError, match=line):
        collect(make_vector(lambda: Columns([Diary] * 2), 1, "sync", 10.0), 2)


leaves = st.sampled_from(
    [
        Box(-1, 1, (2,)), Box(-1, 1, (2, 2), np.float64), Box(0, 9, (), np.int64), Discrete(3, start=2),
        MultiBinary(2), MultiDiscrete([2, 3]),
    ]
)  # fmt: skip
spaces = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Tuple(tuple(parts))),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3).map(Dict),
    ),
    max_leaves=5,
)


@given(space=spaces, num_envs=st.integers(1, 4))
def test_a_flattened_batch_equals_flattened_observations(space: Any, num_envs: int) -> None:
    space = copy.deepcopy(space)
    space.seed(0)
    rows = [space.sample() for _ in range(num_envs)]
    wanted = np.stack([gym.spaces.utils.flatten(space, row) for row in rows]).astype(np.float32)
    batch = gym.vector.utils.concatenate(space, rows, create_empty_array(space, num_envs))
    assert np.array_equal(flatten_batch(space, batch, num_envs), wanted)
    assert np.array_equal(flatten_batch(space, rows, num_envs), wanted)


class OldStep(Diary):
    """Its step returns `done`, as in Gym before 0.26."""

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = super().step(action)
        return obs, reward, terminated or truncated, info


class OldReset(Diary):
    """Its reset returns the observation alone."""

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return super().reset(seed=seed)[0]


class UnseededReset(Diary):
    """Its reset takes no seed."""

    def reset(self) -> Any:  # type: ignore[override]
        return super().reset()[0]


@pytest.mark.filterwarnings("ignore")  # Gymnasium's own
@pytest.mark.parametrize("registered", [False, True])
@pytest.mark.parametrize("workers", ["sync", "async"])
@pytest.mark.parametrize(
    ("kind", "fault", "remedy"),
    [
        (OldStep, "step returned 4 values", "return observation, reward, terminated, truncated, info"),
        (OldReset, "reset did not return a pair", "return observation, info"),
        (UnseededReset, "reset takes no 'seed'", "define reset"),
    ],
)
def test_environments_of_the_old_gym_are_named_as_such(
    kind: Any, fault: str, remedy: str, workers: str, registered: bool
) -> None:
    gym.register("Old-v0", kind, max_episode_steps=5)
    make = (lambda: gym.make("Old-v0")) if registered else kind
    try:
        with pytest.raises(EnvError, match=rf"^the environment's {fault}, as in Gym before 0\.26: {remedy}"):
            collect(make_vector(make, 1, workers, 10.0), 2)
        with pytest.raises(EnvError, match=r"Gym before 0\.26"):
            run_policy(make(), lambda obs: np.zeros(1), num_episodes=1, render=False)
    finally:
        del gym.registry["Old-v0"]


def test_an_error_of_the_environments_own_is_not_taken_for_the_old_gym() -> None:
    class Faulty(Diary):
        def step(self, action: Any) -> Any:
            raise ValueError("not enough values to unpack (expected 3, got 2)")

    with pytest.raises(
        EnvError, match=r"raised ValueError: not enough values to unpack \(expected 3, got 2\)"
    ):
        collect(make_vector(Faulty, 1, "sync", 10.0), 1)
