"""Trap 3: a true terminal at exactly max_ep_len erased; an env's time limit stored as a terminal."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from helpers import Diary

from spinup.collect.collector import EnvCollector
from spinup.envs.make import make_vector


def terminals(env_fn: Any, max_ep_len: int, steps: int = 12) -> list[float]:
    """The field `terminated` of so many transitions."""
    vector = make_vector(env_fn, 1, "sync", 10.0)
    collector = EnvCollector(vector, seed=0, stream=1, max_ep_len=max_ep_len)
    collector.start()
    rows = [collector.step(np.zeros((1, 1), np.float32))[0] for _ in range(steps)]
    return [float(row["terminated"][0]) for row in rows]


class Ends(Diary):
    """Terminates, or is truncated, after three steps, always."""

    def __init__(self, terminated: bool, truncated: bool) -> None:
        super().__init__((3,))
        self.flags = terminated, truncated

    def step(self, action: Any) -> Any:
        obs, r, *_ = super().step(action)
        return obs, r, *(flag and self.t == 3 for flag in self.flags), {}


@pytest.mark.parametrize("max_ep_len", [3, 4, 1000])
def test_a_terminal_is_a_terminal_also_at_max_ep_len(max_ep_len: int) -> None:
    assert terminals(lambda: Ends(True, False), max_ep_len) == [0, 0, 1] * 4
    assert terminals(lambda: Ends(True, True), max_ep_len) == [0, 0, 1] * 4


@pytest.mark.parametrize("max_ep_len", [3, 4, 1000])
def test_a_time_limit_of_the_env_is_not(max_ep_len: int) -> None:
    assert terminals(lambda: Ends(False, True), max_ep_len) == [0] * 12


def test_neither_is_a_time_limit_by_wrapper_or_by_max_ep_len() -> None:
    assert terminals(lambda: gym.wrappers.TimeLimit(Diary((100,)), 3), 1000) == [0] * 12
    assert terminals(lambda: Diary((100,)), 3) == [0] * 12


class Reusing(SyncVectorEnv):
    """A user's vector that returns its own arrays, and clears the flags of what it resets."""

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        result = super().reset(seed=seed, options=options)
        if hasattr(self, "kept") and options:
            self.kept[options["reset_mask"]] = False
        return result

    def step(self, actions: Any) -> Any:
        obs, r, terminated, truncated, infos = super().step(actions)
        self.kept = np.array(terminated)
        return obs, r, self.kept, truncated, infos


def test_a_terminal_outlives_a_vector_that_reuses_its_arrays() -> None:
    def make() -> Any:
        return Reusing([lambda: Ends(True, False)], autoreset_mode=AutoresetMode.DISABLED)

    assert terminals(make, 1000) == [0, 0, 1] * 4
