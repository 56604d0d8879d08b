"""Trap 6: the automatic target entropy is always -1, or the value given is ignored."""

from __future__ import annotations

import math
from typing import Any

import pytest
from gymnasium.spaces import Box
from helpers import Point
from rooms import Rooms


class Wide(Point):
    """Point with three action dimensions, of which it uses the first."""

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Box(-2.0, 2.0, (3,))


CASES = [(Point, "auto", -1.0), (Wide, "auto", -3.0), (Wide, -7.5, -7.5), (Wide, 0.0, 0.0)]
DISCRETE_CASES = [("auto", 0.3 * math.log(3)), (0.9, 0.9)]


@pytest.mark.parametrize(("env", "given", "wanted"), CASES)
def test_the_target_is_the_one_given(run: Any, engine: str, env: Any, given: Any, wanted: float) -> None:
    _, rows = run(env, engine=engine, epochs=1, alpha="auto", target_entropy=given)
    assert float(rows[-1]["TargetEntropy"]) == pytest.approx(wanted)


@pytest.mark.parametrize(("given", "wanted"), DISCRETE_CASES)
def test_the_target_of_discrete_actions_is_the_one_given(run: Any, given: Any, wanted: float) -> None:
    _, rows = run(Rooms, epochs=1, alpha="auto", target_entropy=given)
    assert float(rows[-1]["TargetEntropy"]) == pytest.approx(wanted)


@pytest.mark.parametrize("env", [Point, Wide])
def test_alpha_moves_towards_the_target_given(run: Any, engine: str, env: Any) -> None:
    check_moves(run, env, -50.0, 50.0, engine=engine)


def test_alpha_of_discrete_sac_moves_towards_the_target_given(run: Any) -> None:
    check_moves(run, Rooms, 0.0, 1.0985)


def test_alpha_of_sac_v1_moves_towards_the_target_given(run: Any) -> None:
    check_moves(run, Wide, -50.0, 50.0, variant="sac_v1")


def check_moves(run: Any, env: Any, low: float, high: float, **options: Any) -> None:
    """A target below every reachable entropy makes alpha fall, one above makes it rise."""
    ends = []
    for target in (low, high):
        _, rows = run(env, alpha="auto_0.2", target_entropy=target, lr=0.01, **options)
        ends.append([float(row["Alpha"]) for row in rows])
    assert ends[0][1] < ends[0][0] < 0.2
    assert ends[1][1] > ends[1][0] > 0.2
