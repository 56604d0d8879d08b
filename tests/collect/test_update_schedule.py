"""The schedule: updates due by hand-computed numbers, and the rules of the loop however steps arrive."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from spinup.collect.update_schedule import UpdateSchedule, multiples
from spinup.config import SACConfig


def make(**settings: object) -> UpdateSchedule:
    """A schedule with update_every=5 and update_after=15 unless given otherwise."""
    return UpdateSchedule(SACConfig(**{"update_every": 5, "update_after": 15, **settings}))  # type: ignore[arg-type]


def due(schedule: UpdateSchedule) -> int:
    """Gradient steps that are due and have not been counted."""
    return schedule.config.updates_by(schedule.steps) - schedule.updates


def test_multiples() -> None:
    assert list(multiples(0, 5, 5)) == [5]
    assert list(multiples(5, 9, 5)) == []
    assert list(multiples(4, 16, 5)) == [5, 10, 15]


def test_steps_make_updates_due() -> None:
    schedule = make()
    assert schedule.add_steps(14) == [0, 0]
    assert (due(schedule), schedule.steps_with_updates) == (0, 0)
    assert schedule.add_steps(7) == [5, 5]  # at 15 and 20
    assert (schedule.steps, due(schedule), schedule.steps_with_updates) == (21, 10, 10)
    schedule.add_updates(5)
    assert due(schedule) == 5
    schedule.add_updates(5)
    assert due(schedule) == 0
    assert schedule.config.updates_by(15) == 5
    assert schedule.config.updates_by(24) == 10


def test_fractions_carry_over() -> None:
    schedule = make(update_after=0, updates_per_step=0.3)
    assert [schedule.add_steps(5)[0] for _ in range(4)] == [1, 2, 1, 2]  # floors of 1.5, 3, 4.5 and 6


def test_after_resuming_no_update_is_due() -> None:
    schedule = make()
    schedule.resume(1003)
    assert (schedule.steps, schedule.updates, due(schedule)) == (1003, 990, 0)
    assert schedule.add_steps(2) == [5]


@given(
    parts=st.lists(st.integers(0, 40), max_size=30),
    every=st.integers(1, 20),
    after=st.integers(0, 100),
    ratio=st.sampled_from([0.1, 0.5, 1.0, 1.3, 2.0, 20.0]),
)
def test_the_same_updates_are_due_however_steps_arrive(
    parts: list[int], every: int, after: int, ratio: float
) -> None:
    config = SACConfig(update_every=every, update_after=after, updates_per_step=ratio)
    at_once, bit_by_bit = UpdateSchedule(config), UpdateSchedule(config)
    blocks = [count for part in parts for count in bit_by_bit.add_steps(part)]
    assert at_once.add_steps(sum(parts)) == blocks
    assert sum(blocks) == due(at_once) == sum(config.updates_due(n) for n in range(1, sum(parts) + 1))
    counted = at_once.steps_with_updates
    assert abs(due(at_once) - ratio * counted) < 1.0
    assert due(at_once) == config.updates_by(sum(parts))
    bit_by_bit.add_updates(sum(blocks))
    assert due(bit_by_bit) == 0
    assert math.isfinite(counted)
