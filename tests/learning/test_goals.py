"""A task with sparse rewards is learned with hindsight, and not without it in the same steps."""

from __future__ import annotations

from typing import Any

import pytest
from goals import PointReach


@pytest.mark.slow
@pytest.mark.parametrize(("sampler", "learns"), [("her", True), ("uniform", False)])
def test_goals_are_reached_with_hindsight_alone(run: Any, sampler: str, learns: bool) -> None:
    _, rows = run(
        PointReach, sampler=sampler, ac_kwargs={"hidden_sizes": (64, 64)}, alpha="auto_0.1", gamma=0.95,
        steps_per_epoch=2500, epochs=2, start_steps=1000, update_after=1000, update_every=50, batch_size=100,
        max_ep_len=50, num_test_episodes=20,
    )  # fmt: skip
    # -50 is never to be there; the way takes about 10 steps. Three seeds: -10 at 4,000 steps, and -50.
    best = max(float(row["AverageTestEpRet"]) for row in rows)
    assert best > -25 if learns else best < -40
