"""Running mean, standard deviation, minimum and maximum, without storing the values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


class RunningStats:
    """Count, mean, standard deviation, minimum and maximum of a stream of numbers, in float64.

    Chunks are merged with the pairwise formula of Chan, Golub and LeVeque (1979); the same chunks in the same
    order give bit-identical results. Without values, all but the count are nan.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = 0.0
        self._m2 = 0.0
        self.min = math.nan
        self.max = math.nan

    def add(self, values: npt.ArrayLike) -> None:
        """Add a number or an array of any shape."""
        x = np.asarray(values, dtype=np.float64).ravel()
        if x.size == 0:
            return
        if x.size == 1:
            number = float(x[0])
            self._merge(1, number, 0.0 if math.isfinite(number) else math.nan, number, number)
            return
        # NaN and infinite values make the statistics nan or inf, which is intended.
        with np.errstate(all="ignore"):
            mean = x.mean()
            m2 = np.square(x - mean).sum()
            low, high = x.min(), x.max()
        self._merge(x.size, float(mean), float(m2), float(low), float(high))

    def _merge(self, count: int, mean: float, m2: float, low: float, high: float) -> None:
        if self.count == 0:
            self.count, self._mean, self._m2, self.min, self.max = count, mean, m2, low, high
            return
        total = self.count + count
        delta = mean - self._mean
        self._m2 += m2 + delta * delta * (self.count * count / total)
        self._mean += delta * (count / total)
        self.count = total
        # np.minimum, unlike min(), returns nan if either argument is nan.
        self.min = float(np.minimum(self.min, low))
        self.max = float(np.maximum(self.max, high))

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return self._mean if self.count else math.nan

    @property
    def std(self) -> float:
        """Population standard deviation of the values (divisor n)."""
        return math.sqrt(self._m2 / self.count) if self.count else math.nan

    def summary(self) -> list[float]:
        """[mean, std, min, max]."""
        return [self.mean, self.std, self.min, self.max]

    def state(self) -> list[Any]:
        """The state as five numbers for JSON; `from_state` restores it bit-identically."""
        if not self.count:
            return [0, 0.0, 0.0, 0.0, 0.0]
        return [self.count, self._mean, self._m2, self.min, self.max]

    @classmethod
    def from_state(cls, state: list[Any]) -> RunningStats:
        """The statistics with this `state()`."""
        stats = cls()
        if state[0]:
            stats.count = int(state[0])
            stats._mean, stats._m2, stats.min, stats.max = (float(number) for number in state[1:])
        return stats
