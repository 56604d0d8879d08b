"""The ring of rows against a plain list, and batches drawn from it."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import numbered, replay_buffer
from hypothesis import given
from hypothesis import strategies as st

from spinup.errors import ConfigError
from spinup.replay import storage
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.storage import HostStorage
from spinup.replay.transition import bytes_per_row, transition_fields

FIELDS = tuple(transition_fields(2, 1).values())


def held(buffer: ReplayBuffer) -> list[int]:
    """The numbers of the rows that sampling can reach."""
    batches = buffer.sample(40, 50, np.random.default_rng(0))
    for name in ("obs", "action", "next_obs"):
        assert (batches[name] == batches["reward"][..., None]).all()
    return sorted({int(v) for v in batches["reward"].ravel()})


@given(capacity=st.integers(1, 12), sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_ring_holds_the_last_rows_like_a_list(capacity: int, sizes: list[int]) -> None:
    buffer, model = replay_buffer(capacity), []
    for size in sizes:
        written = buffer.total
        buffer.add(numbered(written, written + size))
        model = (model + list(range(written + 1, written + size + 1)))[-capacity:]
        assert len(buffer) == len(model)
        assert buffer.total == written + size
        if model:
            assert held(buffer) == model
            first = buffer.total - len(buffer)
            assert buffer.read(first, buffer.total)["reward"].tolist() == model


@given(capacity=st.integers(1, 9), total=st.integers(1, 40), more=st.integers(0, 15))
def test_restored_ring_continues_like_the_first(capacity: int, total: int, more: int) -> None:
    first, second = replay_buffer(capacity), replay_buffer(capacity)
    for k in range(total):
        first.add(numbered(k, k + 1))
    start = first.total - len(first)
    second.restore(start, first.read(start, first.total))
    for buffer in (first, second):
        buffer.add(numbered(total, total + more))
    a, b = (buf.sample(3, 7, np.random.default_rng(1)) for buf in (first, second))
    assert all((a[name] == b[name]).all() for name in a)


def test_batches_have_the_declared_shapes_and_dtypes() -> None:
    buffer = replay_buffer(100, obs_dim=3, act_dim=2)
    buffer.add(numbered(0, 60, 3, 2))
    batches = buffer.sample(4, 5, np.random.default_rng(0))
    shapes = {"obs": (3,), "action": (2,), "reward": (), "discount": (), "next_obs": (3,)}
    assert tuple(sorted(batches)) == tuple(sorted(buffer.sampler.batch_fields)) == tuple(sorted(shapes))
    for name, shape in shapes.items():
        assert batches[name].shape == (4, 5, *shape)
        assert batches[name].dtype == np.float32


def test_only_the_fields_that_the_sampler_needs_are_stored() -> None:
    assert [field.name for field in replay_buffer(4).fields] == [
        "obs", "action", "reward", "terminated", "next_obs",
    ]  # fmt: skip
    assert bytes_per_row(replay_buffer(4, 17, 6).fields) == 4 * (17 + 6 + 1 + 17) + 1


def test_sampling_is_uniform_with_replacement() -> None:
    buffer = replay_buffer(10)
    buffer.add(numbered(0, 13))
    rows = buffer.sample(500, 20, np.random.default_rng(0))["reward"].astype(int)
    counts = np.bincount(rows.ravel(), minlength=14)
    assert (counts[:4] == 0).all()
    expected = 10_000 / 10
    assert (((counts[4:] - expected) ** 2) / expected).sum() < 27.9  # chi-square, 9 degrees, p = 0.001
    assert any(len(set(batch)) < 20 for batch in rows.tolist())


def test_a_replay_beyond_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "machine_memory", lambda: 2**20)
    with pytest.raises(
        ConfigError, match=r"^replay_size=1000000 needs [^\n]*: replay_size=\d+ would fit$"
    ) as e:
        HostStorage(FIELDS, 1_000_000)
    HostStorage(FIELDS, int(str(e.value).split("replay_size=")[-1].split()[0]))


def test_memory_that_is_unknown_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "machine_memory", lambda: 0)
    assert len(HostStorage(FIELDS, 10)) == 0


def test_machine_memory_is_plausible() -> None:
    assert 2**26 < storage.machine_memory() < 2**50
