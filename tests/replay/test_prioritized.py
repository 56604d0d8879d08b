"""Prioritized replay: exact probabilities and weights, hand-computed; sums after any history; restoring."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from helpers import Batches, numbered, replay_buffer
from hypothesis import given
from hypothesis import strategies as st

from spinup.config import SACConfig
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.builders import BATCH_FIELDS, NStepBuilder
from spinup.replay.prioritized import EPSILON, BlockSums, PrioritizedSampler
from spinup.replay.registry import make_sampler


def sums_of(priorities: list[int], capacity: int | None = None) -> BlockSums:
    """Sums with these priorities at the first positions."""
    sums = BlockSums(capacity or len(priorities))
    sums.set(np.arange(len(priorities)), np.array(priorities, np.float64))
    return sums


@pytest.mark.parametrize("size", [1, 3, 64, 65, 300])
def test_positions_have_exactly_the_probabilities_of_their_priorities(size: int) -> None:
    rng = np.random.default_rng(size)
    priorities = rng.integers(0, 9, size)
    priorities[0] = 3
    sums, total = sums_of(priorities.tolist(), 400), int(priorities.sum())
    assert sums.total == total
    # Every interval [k / total, (k + 1) / total) belongs to one position, which has as many as its priority.
    for offset in (0.0, 0.3, 0.999):
        found = sums.find((np.arange(total) + offset) / total + 1e-15)
        assert np.array_equal(np.bincount(found, minlength=size), priorities)
        assert (np.diff(found) >= 0).all()


def test_a_thousand_times_the_total_of_draws() -> None:
    sums = sums_of([1, 0, 2, 5])
    shares = np.bincount(sums.find(np.random.default_rng(0).random(80_000)), minlength=4) / 80_000
    wanted = [Fraction(1, 8), 0, Fraction(2, 8), Fraction(5, 8)]
    assert shares[1] == 0
    for share, exact in zip(shares, wanted, strict=True):
        assert abs(share - exact) < 4 * np.sqrt(0.25 / 80_000)


@given(
    capacity=st.integers(1, 200),
    changes=st.lists(st.tuples(st.integers(0, 199), st.floats(1e-8, 1e8)), min_size=1, max_size=60),
    fractions=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
)
def test_sums_follow_from_the_priorities_alone(
    capacity: int, changes: list[tuple[int, float]], fractions: list[float]
) -> None:
    changed = BlockSums(capacity)
    for position, value in changes:
        changed.set(np.array([position % capacity]), np.array([value]))
    held = np.flatnonzero(changed.priorities)
    anew = BlockSums(capacity)
    anew.set(held, changed.priorities[held])
    found = changed.find(np.array(fractions))
    assert changed.total == anew.total
    assert np.array_equal(found, anew.find(np.array(fractions)))
    assert (changed.priorities[found] > 0).all()


def test_a_position_without_priority_is_never_found_at_the_largest_fraction() -> None:
    # Sums of thirds round, so that no running sum may exceed the target.
    for count in range(1, 200):
        sums = BlockSums(256)
        sums.set(np.arange(count), np.full(count, 1 / 3))
        assert sums.find(np.array([np.nextafter(1.0, 0.0)]))[0] == count - 1


def filled(rows: int, capacity: int = 100, **config: Any) -> tuple[ReplayBuffer, PrioritizedSampler]:
    """A prioritized buffer with numbered rows."""
    buffer = replay_buffer(capacity, sampler="per", **config)
    buffer.add(numbered(0, rows))
    sampler = buffer.sampler
    assert isinstance(sampler, PrioritizedSampler)
    return buffer, sampler


def draw(buffer: ReplayBuffer, count: int = 1, size: int = 8, seed: int = 0) -> Batches:
    """Batches of a new generator."""
    return buffer.sample(count, size, np.random.default_rng(seed))


def set_errors(buffer: ReplayBuffer, errors: dict[int, float], size: int = 400) -> None:
    """Draw until every row was drawn, and give row k the error of k."""
    rows = draw(buffer, 1, size)["reward"] - 1
    assert set(np.unique(rows)) == set(errors)
    buffer.sampler.update_priorities(np.vectorize(errors.__getitem__)(rows.astype(int)))


def test_new_rows_are_equally_likely_and_weigh_one() -> None:
    buffer, _ = filled(4)
    batch = draw(buffer, 2, 400)
    assert (batch["weight"] == 1).all()
    assert batch["weight"].dtype == np.float32
    assert min(np.bincount(batch["reward"].astype(int).ravel())[1:]) > 150


def test_probabilities_and_weights_by_hand() -> None:
    buffer, sampler = filled(3, priority_exponent=0.5, priority_beta=0.5, priority_beta_updates=10)
    set_errors(buffer, {0: 1.0, 1: 4.0, 2: 9.0})
    # p^0.5 = 1, 2, 3: P = 1/6, 2/6, 3/6
    kept = sampler.state_dict()
    np.testing.assert_allclose(kept["priorities"], [1, 2, 3], rtol=1e-5)
    np.testing.assert_allclose(kept["largest"], 3, rtol=1e-5)
    assert kept["updates"] == 1
    batch = draw(buffer, 6, 600)
    shares = np.bincount(batch["reward"].astype(int).ravel())[1:] / 3600
    np.testing.assert_allclose(shares, [1 / 6, 2 / 6, 3 / 6], atol=0.03)
    for k, beta in enumerate(0.5 + 0.5 * np.arange(1, 7) / 10):
        raw = (3 * np.array([1, 2, 3]) / 6) ** -beta
        np.testing.assert_allclose(
            batch["weight"][k], (raw / raw.max())[batch["reward"][k].astype(int) - 1], rtol=1e-4
        )
    late = draw(buffer, 5, 600)
    np.testing.assert_allclose(np.unique(late["weight"][-1]), [1 / 3, 1 / 2, 1], rtol=1e-4)  # beta = 1


def test_the_expectation_of_weighted_batches_at_beta_one_is_that_of_uniform_ones() -> None:
    buffer, _ = filled(3, priority_exponent=1.0, priority_beta=1.0)
    set_errors(buffer, {0: 1.0, 1: 2.0, 2: 5.0})
    batch = draw(buffer, 1, 200_000)
    mean = (batch["weight"] * batch["reward"]).sum() / batch["weight"].sum()
    assert mean == pytest.approx(2.0, abs=0.03)


def test_exponent_zero_is_uniform() -> None:
    buffer, _ = filled(3, priority_exponent=0.0)
    set_errors(buffer, {0: 1.0, 1: 20.0, 2: 500.0})
    batch = draw(buffer, 1, 3000)
    assert (batch["weight"] == 1).all()
    np.testing.assert_allclose(np.bincount(batch["reward"].astype(int).ravel())[1:], 1000, atol=110)


def test_a_new_row_has_the_largest_priority_so_far_and_takes_over_an_old_ones_place() -> None:
    buffer, sampler = filled(3, capacity=3, priority_exponent=1.0)
    set_errors(buffer, {0: 1.0, 1: 7.0, 2: 0.0})
    buffer.add(numbered(3, 5))  # in the places of rows 0 and 1
    np.testing.assert_allclose(sampler.state_dict()["priorities"], [EPSILON, 7 + EPSILON, 7 + EPSILON])
    assert set(np.unique(draw(buffer, 1, 300)["reward"])) <= {3, 4, 5}


def test_the_last_error_of_a_row_drawn_twice_holds() -> None:
    buffer, sampler = filled(1, priority_exponent=1.0)
    draw(buffer, 2, 2)
    sampler.update_priorities(np.array([[1.0, 2.0], [3.0, 4.0]]))
    np.testing.assert_allclose(sampler.state_dict()["priorities"], [4 + EPSILON])


@pytest.mark.parametrize("rows", [1, 30, 60, 61, 90])
def test_a_restored_sampler_draws_the_same_batches(rows: int) -> None:
    buffer, sampler = filled(rows, capacity=60, n_step=2)
    for seed in range(3):
        draw(buffer, 2, 20, seed)
        sampler.update_priorities(np.random.default_rng(seed).exponential(1, (2, 20)))
    buffer.add(numbered(rows, rows + 5))
    copy, other = filled(1, capacity=60, n_step=2)
    first = buffer.total - len(buffer)
    half = (first + buffer.total) // 2
    copy.restore(first, buffer.read(first, half))
    copy.append(buffer.read(half, buffer.total))
    other.load_state_dict(sampler.state_dict())
    for seed in range(3):
        wanted, got = (draw(b, 2, 20, seed) for b in (buffer, copy))
        for name, values in wanted.items():
            assert np.array_equal(values, got[name]), name
        for s in (sampler, other):
            s.update_priorities(np.random.default_rng(seed).exponential(1, (2, 20)))
        for b in (buffer, copy):
            b.add(numbered(b.total, b.total + 3))
    assert str(sampler.state_dict()) == str(other.state_dict())


def test_windows_are_those_of_the_builder() -> None:
    sampler = make_sampler(SACConfig(sampler="per", n_step=3))
    assert isinstance(sampler, PrioritizedSampler)
    assert type(sampler.builder) is NStepBuilder
    assert sampler.batch_fields == (*BATCH_FIELDS, "weight")
    assert sampler.stored_fields == NStepBuilder.stored_fields
