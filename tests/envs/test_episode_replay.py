"""What outlives an episode in a wrapper, and what only looks like it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from helpers import Diary

from spinup.envs.episode_replay import read_statistics, write_statistics


class Table:
    """Columns with the method names of a pandas DataFrame."""

    def mean(self) -> float:
        """Their mean."""
        return 0.0

    def var(self) -> float:
        """Their variance."""
        return 1.0

    def count(self) -> int:
        """Their length."""
        return 2


def test_a_table_of_data_is_no_running_mean() -> None:
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
