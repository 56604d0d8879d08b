"""Trap 20: logging raises when an epoch finished no episode or ran no update."""

from __future__ import annotations

from typing import Any

from helpers import Point


def test_epochs_without_episodes_updates_or_tests_log_nan(run: Any, engine: str) -> None:
    rows = run(
        Point,
        engine=engine,
        steps_per_epoch=10,
        epochs=4,
        update_after=30,
        update_every=10,
        num_test_episodes=0,
    )[1]
    assert [row["AverageEpRet"] == "nan" for row in rows] == [True, False, False, True]  # ends at 15 and 30
    assert [row["LossQ"] == "nan" for row in rows] == [True, True, False, False]
    assert all(row["AverageTestEpRet"] == row["MaxTestEpRet"] == row["TestEpLen"] == "nan" for row in rows)
    assert [row["TotalEnvInteracts"] for row in rows] == ["10", "20", "30", "40"]
