"""Trap 15: rows never written are sampled; wrap at capacity mixes episodes; observations cast wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers import Diary, check_diary, joined, numbered, replay_buffer

from spinup.collect.collector import EnvCollector
from spinup.envs.make import make_vector
from spinup.replay.storage import HostStorage
from spinup.replay.transition import Field


def test_rows_never_written_are_never_drawn() -> None:
    buffer = replay_buffer(1000)
    for k in range(1, 8):
        buffer.add(numbered(k - 1, k))
        drawn = buffer.sample(20, 20, np.random.default_rng(k))
        for name in ("obs", "action", "reward", "next_obs"):
            assert set(np.unique(drawn[name])) == set(range(1, k + 1))


def test_rows_stay_whole_across_the_wrap() -> None:
    collector = EnvCollector(make_vector(Diary, 3, "sync", 10.0), seed=0, stream=1, max_ep_len=1000)
    collector.start()
    buffer = replay_buffer(10)  # three at a time do not divide ten
    written = []
    for _ in range(25):
        written.append(collector.step(np.zeros((3, 1), np.float32))[0])
        buffer.add(written[-1])
    kept, wanted = buffer.read(buffer.total - 10, buffer.total), joined(written)
    for name, column in kept.items():
        assert np.array_equal(column, wanted[name][-10:])
    episode, t = kept["next_obs"].T
    assert (kept["obs"][:, 0] == episode).all()
    assert (kept["obs"][:, 1] + 1 == t).all()
    assert (kept["reward"] == 100 * episode + t).all()


def test_each_field_keeps_its_dtype_and_shape() -> None:
    image = Field("image", (2, 3), np.dtype(np.uint8))
    flag = Field("flag", (), np.dtype(np.bool_))
    storage = HostStorage([image, flag], 4)
    images = np.arange(36, dtype=np.uint8).reshape(6, 2, 3) + 200
    flags = np.arange(6) % 2 == 0
    storage.append({"image": images, "flag": flags})
    gathered = storage.gather(np.array([[0, 1], [2, 3]]), ("image", "flag"))
    assert (gathered["image"].dtype, gathered["flag"].dtype) == (np.uint8, np.bool_)
    assert (gathered["image"].shape, gathered["flag"].shape) == ((2, 2, 2, 3), (2, 2))
    kept = storage.read(2, 6)
    assert np.array_equal(kept["image"], images[2:])
    assert np.array_equal(kept["flag"], flags[2:])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64])
def test_observations_of_other_types_keep_their_values(dtype: Any) -> None:
    class Typed(Diary):
        """A Diary in another type; past 2 ** 7 a signed byte would wrap."""

        observation_space = Box(0, 200, (2,), dtype)

        def observe(self) -> Any:
            return np.array([self.episode, self.t], dtype)

    collector = EnvCollector(make_vector(Typed, 1, "sync", 10.0), seed=0, stream=1, max_ep_len=1000)
    collector.start()
    rows = joined([collector.step(np.zeros((1, 1), np.float32))[0] for _ in range(500)])
    assert rows["obs"].dtype == np.float32
    assert rows["obs"][-1, 0] > 128
    check_diary(rows)
