"""The search space: a range or a choice for each parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spinup.errors import ConfigError


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Args:
        low, high: bounds.
        log: sample uniformly on a logarithmic scale, for learning rates and sizes.
        whole: whether values are integers.

    Raises:
        ConfigError: if the bounds are invalid.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def __post_init__(self) -> None:
        ends = (self.low, self.high)
        are_numbers = all(isinstance(end, (int, float)) and not isinstance(end, bool) for end in ends)
        if not are_numbers or not all(map(math.isfinite, ends)) or self.low >= self.high:
            raise ConfigError(f"range {self.low!r} to {self.high!r}: give two numbers, the smaller one first")
        if self.log and self.low <= 0:
            raise ConfigError(f"range {self.low!r} to {self.high!r}: a logarithmic one begins above 0")
        if self.whole and any(end != int(end) for end in ends):
            raise ConfigError(f"range {self.low!r} to {self.high!r}: give whole numbers for this parameter")

    def distribution(self, optuna: Any) -> Any:
        """The distribution of Optuna."""
        if self.whole:
            return optuna.distributions.IntDistribution(int(self.low), int(self.high), log=self.log)
        return optuna.distributions.FloatDistribution(float(self.low), float(self.high), log=self.log)

    def value(self, stored: Any) -> Any:
        """The parameter's value, given the value that Optuna stores."""
        return stored

    def describe(self) -> str:
        """The range as text, which the study stores for comparison with later calls."""
        return f"{'log:' * self.log}{self.low!r}:{self.high!r}"


class Choice:
    """One of several values.

    Args:
        values: at least two values.
        labels: a distinct text for each value, which the study stores; by default `str(value)`.

    Raises:
        ConfigError: if there are fewer than two values, or two with the same label.
    """

    def __init__(self, values: Sequence[Any], labels: Sequence[str] | None = None) -> None:
        self.values = tuple(values)
        self.labels = tuple(map(str, self.values if labels is None else labels))
        if len(self.values) < 2 or len(set(self.labels)) < len(self.values):
            raise ConfigError(f"choice of {' and '.join(self.labels) or 'nothing'}: give two values or more, "
                              "each once")  # fmt: skip

    def distribution(self, optuna: Any) -> Any:
        """The distribution of Optuna."""
        return optuna.distributions.CategoricalDistribution(self.labels)

    def value(self, stored: Any) -> Any:
        """The parameter's value, given the label that Optuna stores."""
        return self.values[self.labels.index(stored)]

    def describe(self) -> str:
        """The labels as text, which the study stores for comparison with later calls."""
        return "|".join(self.labels)


Space = dict[str, Range | Choice]
