"""Ranges and choices, and their distributions in Optuna (extra `tune`)."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from spinup.errors import ConfigError
from spinup.tuning.space import Choice, Range


def test_distributions() -> None:
    distributions = optuna.distributions
    assert Range(1e-4, 1e-2, log=True).distribution(optuna) == distributions.FloatDistribution(
        1e-4, 1e-2, log=True
    )
    assert Range(64, 512, whole=True).distribution(optuna) == distributions.IntDistribution(64, 512)
    choice = Choice([[64, 64], [256, 256]])
    assert choice.distribution(optuna) == distributions.CategoricalDistribution(("[64, 64]", "[256, 256]"))


def test_a_choice_is_stored_by_its_label() -> None:
    choice = Choice([int, float], ["whole", "real"])
    assert choice.value("real") is float
    assert choice.describe() == "whole|real"
    assert Range(1e-4, 1.0, log=True).describe() == "log:0.0001:1.0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 0.5), "the smaller one first"),
        ((0.0, float("inf")), "give two numbers"),
        (("a", 1), "give two numbers"),
        ((0.0, 1.0, True), "begins above 0"),
        ((1, 2.5, False, True), "give whole numbers"),
    ],
)
def test_no_range(arguments: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Range(*arguments)


@pytest.mark.parametrize("values", [[], [1], [1, 1]])
def test_no_choice(values: list[int]) -> None:
    with pytest.raises(ConfigError, match="give two values or more"):
        Choice(values)
