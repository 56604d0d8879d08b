"""Trap 15: rows never written are sampled; wrap at capacity mixes episodes; observations cast wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers import Diary, check_diary, joined, numbered, replay_buffer
from replay.test_hindsight import buffer_of, check, collected  # type: ignore[import-not-found]

from spinup.collect.collector import EnvCollector
from spinup.envs.make import make_vector
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.storage import HostStorage
from spinup.replay.transition import Field


@pytest.mark.parametrize("sampler", ["uniform", "per"])
def test_rows_never_written_are_never_drawn(sampler: str) -> None:
    buffer = replay_buffer(1000, sampler=sampler)
    for k in range(1, 8):
        buffer.add(numbered(k - 1, k))
        drawn = buffer.sample(20, 20, np.random.default_rng(k))
        buffer.sampler.update_priorities(np.ones((20, 20)))
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


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("config", [{"sampler": "per"}, {"sampler": "per", "n_step": 3}])
def test_prioritized_rows_stay_whole_across_the_wrap(num_envs: int, config: dict[str, Any]) -> None:
    collector = EnvCollector(make_vector(Diary, num_envs, "sync", 10.0), seed=0, stream=1, max_ep_len=1000)
    collector.start()
    buffer = replay_buffer(10, gamma=1.0, **config)
    for k in range(25):
        buffer.add(collector.step(np.zeros((num_envs, 1), np.float32))[0])
        batch = buffer.sample(3, 8, np.random.default_rng(k))
        buffer.sampler.update_priorities(np.random.default_rng(k).exponential(1, (3, 8)))
        oldest = buffer.read(buffer.total - len(buffer), buffer.total)["obs"]
        held = {tuple(row) for row in oldest}
        assert {tuple(row) for row in batch["obs"].reshape(-1, 2)} <= held
        steps = batch["next_obs"][..., 1] - batch["obs"][..., 1]
        assert np.array_equal(batch["obs"][..., 0], batch["next_obs"][..., 0])
        first = 100 * batch["obs"][..., 0] + batch["obs"][..., 1] + 1
        assert np.array_equal(batch["reward"], steps * first + steps * (steps - 1) / 2)


@pytest.mark.parametrize("num_envs", [1, 3])
def test_hindsight_rows_stay_whole_across_the_wrap(num_envs: int) -> None:
    collector, parts = collected(num_envs, 30)
    buffer = buffer_of(collector, 10)
    for k, part in enumerate(parts):
        buffer.add(part)
        held = buffer.read(buffer.total - len(buffer), buffer.total)
        batch = buffer.sample(10, 100, np.random.default_rng(k))
        check(batch, held, 4)
        assert {tuple(row) for row in batch["obs"].reshape(-1, 4)[:, [2, 3]]} <= {
            tuple(row) for row in held["obs"][:, [2, 3]]
        }


def test_a_normalizer_leaves_the_stored_rows_as_they_are(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    buffers = []
    sample = ReplayBuffer.sample

    def spied(self: ReplayBuffer, *args: Any) -> Any:
        buffers.append(self)
        return sample(self, *args)

    monkeypatch.setattr(ReplayBuffer, "sample", spied)
    run(Diary, normalize_observations=True, normalize_rewards=True, max_ep_len=1000)
    check_diary(buffers[-1].read(0, 200))


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
