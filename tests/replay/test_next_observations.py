"""Next observations stored as references are those of plain arrays, and take little memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from spinup.replay.next_observations import NextObservations
from spinup.replay.storage import HostStorage
from spinup.replay.transition import bytes_per_row, transition_fields


def episodes(rng: np.random.Generator, envs: int, steps: int, cut: float, values: int) -> list[Any]:
    """Rows (obs, next_obs) of `envs` environments in turn; few `values` make equal observations common."""
    current = rng.integers(values, size=(envs, 2)).astype(np.float32)
    blocks = []
    for _ in range(steps):
        following = rng.integers(values, size=(envs, 2)).astype(np.float32)
        blocks.append((current.copy(), following.copy()))
        ended = rng.random(envs) < cut
        current = np.where(ended[:, None], rng.integers(values, size=(envs, 2)), following).astype(np.float32)
    return blocks


@given(
    seed=st.integers(0, 1000),
    envs=st.integers(1, 5),
    capacity=st.integers(1, 23),
    cut=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    values=st.sampled_from([2, 4, 1_000_000]),
    restart=st.integers(0, 30),
)
def test_rows_read_as_written(
    seed: int, envs: int, capacity: int, cut: float, values: int, restart: int
) -> None:
    fields = tuple(transition_fields(2, 1).values())
    storage = HostStorage(fields, capacity)
    written: list[NDArray[Any]] = []
    for k, (obs, next_obs) in enumerate(episodes(np.random.default_rng(seed), envs, 30, cut, values)):
        if k == restart:  # as a resume does it
            first = storage.total - len(storage)
            rows = storage.read(first, storage.total)
            storage.clear(first)
            storage.append(rows)
        rows = {field.name: np.zeros((envs, *field.shape), field.dtype) for field in fields}
        storage.append({**rows, "obs": obs, "next_obs": next_obs})
        written += list(next_obs)
        held = storage.read(storage.total - len(storage), storage.total)["next_obs"]
        assert held.tobytes() == np.stack(written[-len(storage) :]).tobytes()


@pytest.mark.parametrize(("envs", "copies"), [(1, 16), (3, 16), (64, 64)])
def test_within_episodes_an_observation_is_stored_once(envs: int, copies: int) -> None:
    fields = tuple(transition_fields(2, 1).values())
    storage = HostStorage(fields, 2000)
    for obs, next_obs in episodes(np.random.default_rng(0), envs, 4000 // envs, 0.0, 1_000_000):
        rows = {field.name: np.zeros((envs, *field.shape), field.dtype) for field in fields}
        storage.append({**rows, "obs": obs, "next_obs": next_obs})
    others = bytes_per_row(field for field in fields if field.name != "next_obs")
    assert storage.nbytes == 2000 * (others + 4) + copies * 8


def test_episodes_of_one_step_take_a_copy_for_each_row() -> None:
    obs = np.arange(200, dtype=np.float32).reshape(100, 2)
    next_obs = NextObservations(obs)
    next_obs.add(0, obs, -1 - obs)
    assert (next_obs.take(np.arange(100)) == -1 - obs).all()
    assert 100 * 4 + 100 * 8 <= next_obs.nbytes <= 100 * 4 + 128 * 8


def test_a_hash_that_two_observations_share_does_not_confuse_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spinup.replay.next_observations.hash", lambda content: 7, raising=False)
    obs = np.asarray([[1.0], [2.0], [3.0]], np.float32)
    next_obs = NextObservations(obs)
    next_obs.add(0, obs, np.asarray([[2.0], [9.0], [4.0]], np.float32))
    assert next_obs.take(np.asarray([0, 1, 2])).ravel().tolist() == [2.0, 9.0, 4.0]


def test_a_million_steps_of_half_cheetah_take_about_a_hundred_bytes_each() -> None:
    fields = transition_fields(17, 6)
    stored = [fields[name] for name in ("obs", "action", "reward", "terminated", "next_obs")]
    storage = HostStorage(stored, 10_000)
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(10_001, 17)).astype(np.float32)
    rows: dict[str, Any] = {
        "obs": obs[:-1],
        "action": np.zeros((10_000, 6), np.float32),
        "reward": np.zeros(10_000, np.float32),
        "terminated": np.zeros(10_000, np.bool_),
        "next_obs": obs[1:].copy(),
    }
    rows["next_obs"][999::1000] += 1  # the ends of episodes
    storage.append(rows)
    assert 101 <= storage.nbytes / 10_000 < 102
    assert (storage.read(0, 10_000)["next_obs"] == rows["next_obs"]).all()
