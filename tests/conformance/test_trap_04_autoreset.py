"""Trap 4: the stored next observation is the next episode's first; the autoreset step becomes a row."""

from __future__ import annotations

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from helpers import Batches, Diary, check_diary, joined, rows_of

from spinup.collect.collector import EnvCollector
from spinup.collect.make import make_collectors
from spinup.config import SACConfig
from spinup.envs.make import make_vector


def diary_rows(collector: EnvCollector, steps: int) -> list[Batches]:
    """Transitions by environment, each of which receives a different action."""
    collector.start()
    actions = np.arange(collector.num_envs, dtype=np.float32)[:, None] / 10
    rows = joined([collector.step(actions)[0] for _ in range(steps)])
    assert np.allclose(rows["action"][:, 0] * 10, rows["env"])
    return [rows_of(rows, env) for env in range(collector.num_envs)]


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_rows_of_a_vector_are_transitions_of_one_episode(mode: AutoresetMode) -> None:
    vector = make_vector(lambda: SyncVectorEnv([Diary] * 3, autoreset_mode=mode), 1, "sync", 10.0)
    for rows in diary_rows(EnvCollector(vector, seed=0, stream=1, max_ep_len=1000), 25):
        assert len(rows["reward"]) > 15
        check_diary(rows)


def test_rows_of_a_local_vector_are_transitions_of_one_episode() -> None:
    for rows in diary_rows(make_collectors(Diary, SACConfig(num_envs=4))[0], 25):
        check_diary(rows)
