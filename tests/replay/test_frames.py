"""Images in the replay buffer: each frame is held once, and read back exactly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.wrappers import FrameStackObservation
from images import FORMS, Noise

from spinup.collect.collector import EnvCollector
from spinup.envs.make import make_vector
from spinup.errors import ConfigError
from spinup.replay.builders import OneStepBuilder
from spinup.replay.frames import FramePool, FrameStorage
from spinup.replay.image_layout import ImageLayout, Part
from spinup.replay.random_shift import RandomShift, shift_images
from spinup.replay.transition import transition_fields
from spinup.seeding import TRAIN_STREAM


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("padding", ["reset", "zero"])
def test_rows_are_read_back_exactly(form: str, stack: int, padding: str) -> None:
    """Three environments, episodes of random length, a ring that is overwritten several times."""

    def make() -> Any:
        env = Noise(form)
        if stack == 1 or (padding == "zero" and form == "dict"):
            return env
        return FrameStackObservation(env, stack, padding_type=padding)

    collector = EnvCollector(make_vector(make, 3, "sync", 60.0), seed=0, stream=TRAIN_STREAM, max_ep_len=6)
    fields = [collector.fields[name] for name in (*OneStepBuilder.stored_fields, "env")]
    assert collector.layout is not None
    storage, written = FrameStorage(fields, 50, collector.layout), []
    rng = np.random.default_rng(0)
    collector.start()
    for _ in range(70):
        transitions = collector.collect(lambda obs: collector.actions.sample(rng, len(obs))).transitions
        storage.append(transitions)
        written.append({name: column.copy() for name, column in transitions.items()})
    kept = storage.read(160, 210)
    for field in fields:
        every = np.concatenate([rows[field.name] for rows in written])
        assert np.array_equal(kept[field.name], every[160:]), field.name
    index = rng.integers(50, size=(2, 5))
    ring = np.concatenate([rows["next_obs"] for rows in written])[160:]
    assert np.array_equal(storage.gather(index, ("next_obs",))["next_obs"], ring[(index - 160 % 50) % 50])
    collector.close()


def test_bytes_per_row() -> None:
    """84 x 84 x 3 stacked 3: within 1.2 times the raw frames, with episodes of 100 steps."""
    part = Part("", (3, 84, 84, 3), True)
    pool, rng, frame = FramePool(part, 1000), np.random.default_rng(0), 84 * 84 * 3
    for episode in range(10):
        frames = rng.integers(256, size=(103, frame), dtype=np.uint8)
        frames[:2] = frames[2]  # padding at the start
        stacks = np.stack([frames[:-2], frames[1:-1], frames[2:]], 1).reshape(101, -1)
        for step in range(100):
            pool.add(100 * episode + step, stacks[step : step + 1], stacks[step + 1 : step + 2])
    assert pool.held == 10 * 101
    per_row = (pool.held * frame + pool._refs.nbytes) / 1000
    assert per_row < 1.02 * frame


def test_frames_of_overwritten_rows_are_given_back() -> None:
    pool, rng = FramePool(Part("", (2, 16, 16), True), 4), np.random.default_rng(0)
    for row in range(40):
        pool.add(row % 4, *rng.integers(256, size=(2, 1, 512), dtype=np.uint8))
    assert pool.held == 4 * 2 * pool.frames


def test_a_replay_that_does_not_fit_is_refused() -> None:
    layout = ImageLayout((Part("", (3, 84, 84, 3), True),))
    fields = list(transition_fields(layout.nbytes, 2, np.uint8).values())
    with pytest.raises(ConfigError, match="replay_size=1000000000 needs"):
        FrameStorage(fields, 10**9, layout)


IMAGE = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.uint8)


@pytest.mark.parametrize(
    ("shift", "moved"),
    [
        ((0, 0), [[1, 2, 3], [4, 5, 6], [7, 8, 9]]),
        ((1, 0), [[1, 2, 3], [1, 2, 3], [4, 5, 6]]),
        ((-1, 0), [[4, 5, 6], [7, 8, 9], [7, 8, 9]]),
        ((0, 2), [[1, 1, 1], [4, 4, 4], [7, 7, 7]]),
        ((-1, -1), [[5, 6, 6], [8, 9, 9], [8, 9, 9]]),
    ],
)
def test_shifts_by_hand(shift: tuple[int, int], moved: list[list[int]]) -> None:
    """In every form of an image, all channels and frames by the same shift."""
    shifts, wanted = np.array([shift]), np.array(moved, np.uint8)

    def shifted(image: Any, part: Part) -> Any:
        return shift_images(image[None], shifts, part)[0]

    assert np.array_equal(shifted(IMAGE, Part("", (3, 3), True)), wanted)
    last = np.stack([IMAGE, IMAGE + 10], -1)
    found = shifted(last, Part("", last.shape, True))
    assert np.array_equal(found, np.stack([wanted, wanted + 10], -1))
    first = np.stack([IMAGE, IMAGE + 10])
    assert np.array_equal(shifted(first, Part("", first.shape, True)), np.stack([wanted, wanted + 10]))
    stacked = np.stack([last, last + 20])
    found = shifted(stacked, Part("", stacked.shape, True))
    assert np.array_equal(found[1], np.stack([wanted, wanted + 10], -1) + 20)


def test_shifts_are_uniform_and_independent() -> None:
    """Obs and next_obs differ, every shift up to the limit occurs, vectors stay."""
    layout = ImageLayout((Part("camera", (16, 16), True), Part("v", (2,), False)))
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    rows = layout.pack([np.broadcast_to(image, (2, 400, 16, 16)), np.ones((2, 400, 2), np.float32)])
    batches = RandomShift(layout, 4).apply({"obs": rows, "next_obs": rows}, np.random.default_rng(0))
    obs, vectors = layout.unpack(batches["obs"])
    assert np.array_equal(vectors, np.ones((2, 400, 2)))
    shifts = int(image[8, 8]) - obs[..., 8, 8].astype(int).ravel()
    assert set(np.unique(shifts)) == {16 * y + x for y in range(-4, 5) for x in range(-4, 5)}
    assert not np.array_equal(batches["obs"], batches["next_obs"])
    assert np.array_equal(rows, layout.pack(layout.unpack(rows)))
