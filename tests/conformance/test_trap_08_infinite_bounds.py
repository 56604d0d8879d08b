"""Trap 8: infinite bounds replaced by +-100: returns of minus trillions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.wrappers import TransformAction
from helpers import Point

from spinup.errors import EnvError


@pytest.mark.parametrize(("low", "high"), [(-np.inf, np.inf), (0.0, np.inf), (-np.inf, 0.0)])
def test_bounds_that_are_not_finite_are_refused(run: Any, low: float, high: float) -> None:
    with pytest.raises(
        EnvError, match=r"^action space Box[^\n]*is not bounded on every side: declare finite bounds"
    ):
        run(lambda: Point(low, high))


def test_the_remedy_in_the_message_works(run: Any) -> None:
    bounds = Box(np.float32([-2.0]), np.float32([2.0]))
    run(lambda: TransformAction(Point(-np.inf, np.inf), lambda action: action, bounds))
