"""Trap 4: the stored next observation is the next episode's first; the autoreset step becomes a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from helpers import Diary, check_diary

from spinup.collect.collector import Collector, make_collectors
from spinup.config import SACConfig
from spinup.envs.make import make_vector


def diary_rows(collector: Collector, steps: int) -> list[list[Any]]:
    """Rows by environment, told apart by their actions."""
    collector.start()
    actions = np.arange(collector.num_envs, dtype=np.float32)[:, None] / 10
    rows: list[list[Any]] = [[] for _ in range(collector.num_envs)]
    for _ in range(steps):
        for row in collector.step(actions)[0]:
            rows[round(float(row[collector.layout.a][0]) * 10)].append(row)
    return rows


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_rows_of_a_vector_are_transitions_of_one_episode(mode: AutoresetMode) -> None:
    vector = make_vector(lambda: SyncVectorEnv([Diary] * 3, autoreset_mode=mode), 1, "sync", 10.0)
    for rows in diary_rows(Collector(vector, seed=0, stream=1, max_ep_len=1000), 25):
        assert len(rows) > 15
        check_diary(rows)


def test_rows_of_our_own_vector_are_transitions_of_one_episode() -> None:
    for rows in diary_rows(make_collectors(Diary, SACConfig(num_envs=4))[0], 25):
        check_diary(rows)
