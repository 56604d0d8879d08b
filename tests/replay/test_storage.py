"""The replay ring against a plain list, and blocks drawn from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinup.errors import ConfigError
from spinup.replay import storage as replay_module
from spinup.replay.storage import Layout, ReplayBuffer

LAYOUT = Layout(obs_dim=2, act_dim=1)


def numbered(start: int, stop: int) -> np.ndarray:
    """Rows that say which row they are, counted from 1, in every column."""
    return np.repeat(np.arange(start + 1, stop + 1, dtype=np.float32)[:, None], LAYOUT.width, 1)


def held(buffer: ReplayBuffer) -> list[int]:
    """The numbers of the rows that sampling can reach."""
    block = buffer.sample(40, 50, np.random.default_rng(0))
    assert (block.rows == block.rows[..., :1]).all()
    return sorted({int(v) for v in block.rows[..., 0].ravel()})


@given(capacity=st.integers(1, 12), sizes=st.lists(st.integers(0, 30), min_size=1, max_size=12))
def test_ring_holds_the_last_rows_like_a_list(capacity: int, sizes: list[int]) -> None:
    buffer, model = ReplayBuffer(LAYOUT, capacity), []
    for size in sizes:
        written = buffer.total
        buffer.add(numbered(written, written + size))
        model = (model + list(range(written + 1, written + size + 1)))[-capacity:]
        assert len(buffer) == len(model)
        assert buffer.total == written + size
        if model:
            assert held(buffer) == model
            first = buffer.total - len(buffer)
            assert buffer.read(first, buffer.total)[:, 0].tolist() == model


@given(capacity=st.integers(1, 9), total=st.integers(1, 40), more=st.integers(0, 15))
def test_restored_ring_continues_like_the_first(capacity: int, total: int, more: int) -> None:
    first, second = ReplayBuffer(LAYOUT, capacity), ReplayBuffer(LAYOUT, capacity)
    for k in range(total):
        first.add(numbered(k, k + 1))
    start = first.total - len(first)
    second.restore(start, first.read(start, first.total))
    for buffer in (first, second):
        buffer.add(numbered(total, total + more))
    a, b = (buf.sample(3, 7, np.random.default_rng(1)) for buf in (first, second))
    assert (a.rows == b.rows).all()


def test_layout_columns_do_not_overlap_and_keep_their_order() -> None:
    layout = Layout(3, 2)
    o, a, o2 = np.full((1, 3), 1.0), np.full((1, 2), 2.0), np.full((1, 3), 3.0)
    row = layout.rows(o, a, np.array([4.0]), np.array([1.0]), o2)  # type: ignore[arg-type]
    assert row.dtype == np.float32
    assert row.tolist() == [[3, 3, 3, 1, 1, 1, 2, 2, 4, 1]]
    assert layout.width == 10
    assert row[0, layout.o].tolist() == [1, 1, 1]
    assert row[0, layout.a].tolist() == [2, 2]
    assert row[0, layout.o2].tolist() == [3, 3, 3]
    assert (row[0, layout.r], row[0, layout.d]) == (4, 1)


def test_block_shapes_dtypes_and_independent_noise() -> None:
    buffer = ReplayBuffer(Layout(3, 2), 100)
    buffer.add(np.ones((60, 10), np.float32))
    block = buffer.sample(4, 5, np.random.default_rng(0))
    assert len(block) == 4
    assert (block.rows.shape, block.noise.shape) == ((4, 5, 10), (4, 2, 5, 2))
    assert block.rows.dtype == block.noise.dtype == np.float32
    assert len(np.unique(block.noise)) == block.noise.size


def test_sampling_is_uniform_with_replacement() -> None:
    buffer = ReplayBuffer(LAYOUT, 10)
    buffer.add(numbered(0, 13))
    rows = buffer.sample(500, 20, np.random.default_rng(0)).rows[..., 0].astype(int)
    counts = np.bincount(rows.ravel(), minlength=14)
    assert (counts[:4] == 0).all()
    expected = 10_000 / 10
    assert (((counts[4:] - expected) ** 2) / expected).sum() < 27.9  # chi-square, 9 degrees, p = 0.001
    assert any(len(set(batch)) < 20 for batch in rows.tolist())


def test_a_replay_beyond_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "machine_memory", lambda: 2**20)
    with pytest.raises(
        ConfigError, match=r"^replay_size=1000000 needs [^\n]*: replay_size=\d+ would fit$"
    ) as e:
        ReplayBuffer(LAYOUT, 1_000_000)
    ReplayBuffer(LAYOUT, int(str(e.value).split("replay_size=")[-1].split()[0]))


def test_memory_that_is_unknown_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_module, "machine_memory", lambda: 0)
    assert len(ReplayBuffer(LAYOUT, 10)) == 0


def test_machine_memory_is_plausible() -> None:
    assert 2**26 < replay_module.machine_memory() < 2**50
