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
