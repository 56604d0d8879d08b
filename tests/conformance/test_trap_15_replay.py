"""Trap 15: rows never written are sampled; wrap at capacity mixes episodes; observations cast wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers import Diary, check_diary

from spinup.collect.collector import Collector
from spinup.envs.make import make_vector
from spinup.replay.storage import Layout, ReplayBuffer


def test_rows_never_written_are_never_drawn() -> None:
    buffer = ReplayBuffer(Layout(2, 1), 1000)
    for k in range(1, 8):
        buffer.add(np.full((1, 7), k, np.float32))
        drawn = buffer.sample(20, 20, np.random.default_rng(k)).rows
        assert set(np.unique(drawn)) == set(range(1, k + 1))


def test_rows_stay_whole_across_the_wrap() -> None:
    collector = Collector(make_vector(Diary, 3, "sync", 10.0), seed=0, stream=1, max_ep_len=1000)
    collector.start()
    buffer = ReplayBuffer(collector.layout, 10)  # three at a time do not divide ten
    written: list[list[float]] = []
    for _ in range(25):
        rows = collector.step(np.zeros((3, 1), np.float32))[0]
        buffer.add(rows)
        written += rows.tolist()
    kept = buffer.read(buffer.total - 10, buffer.total)
    assert kept.tolist() == written[-10:]
    assert (kept[:, collector.layout.o][:, 0] == kept[:, collector.layout.o2][:, 0]).all()
    assert (kept[:, collector.layout.o][:, 1] + 1 == kept[:, collector.layout.o2][:, 1]).all()
    assert (kept[:, collector.layout.r] == 100 * kept[:, collector.layout.o2][:, 0] + kept[:, 1]).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_observations_of_other_types_keep_their_values(dtype: Any) -> None:
    class Typed(Diary):
        """A Diary in another type; past 2 ** 7 a signed byte would wrap."""

        observation_space = Box(0, 200, (2,), dtype)

        def observe(self) -> Any:
            return np.array([self.episode, self.t], dtype)

    collector = Collector(make_vector(Typed, 1, "sync", 10.0), seed=0, stream=1, max_ep_len=1000)
    collector.start()
    rows = [collector.step(np.zeros((1, 1), np.float32))[0][0] for _ in range(500)]
    assert rows[-1].dtype == np.float32
    assert rows[-1][0] > 128
    check_diary(rows)
