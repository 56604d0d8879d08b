"""Statistics that wrappers keep across episodes."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from helpers import Diary

from spinup.envs.episode_replay import read_statistics, write_statistics


class Table:
    """Has the methods of a pandas DataFrame that share their names with running moments."""

    def mean(self) -> float:
        """A mean, computed when called."""
        return 0.0

    def var(self) -> float:
        """A variance, computed when called."""
        return 1.0

    def count(self) -> int:
        """A length, computed when called."""
        return 2


def test_a_data_frame_is_not_taken_for_running_moments() -> None:
    env: Any = gym.wrappers.NormalizeObservation(Diary())
    env.unwrapped.df = table = Table()
    env.reset()
    found = read_statistics(env)
    assert list(found) == ["0 NormalizeObservation"]
    assert found["0 NormalizeObservation"]["obs_rms"]["count"] > 1.0
    write_statistics(
        env, {**found, "1 Diary": {"df": {"mean": np.zeros(2), "var": np.ones(2), "count": 3.0}}}
    )
    assert env.unwrapped.df is table
    assert table.mean() == 0.0
