"""Streamed statistics: mean, spread and range of values that are never kept."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt


class RunningStats:
    """Count, mean, spread and range of a stream of numbers, in float64.

    Chunks are merged by the pairwise formula of Chan, Golub and LeVeque (1979), in the order in which they
    come: the same chunks in the same order give the same bits. Until a value comes, all four are nan.
    """

    def __init__(self) -> None:
        self.count = 0
        self._mean = 0.0
        self._m2 = 0.0
        self._min = math.nan
        self._max = math.nan

    def add(self, values: npt.ArrayLike) -> None:
        """Merge a number or an array of any shape; an empty array changes nothing."""
        x = np.asarray(values, dtype=np.float64).ravel()
        if x.size == 0:
            return
        # An infinite or NaN value makes the statistics nan or inf; that is the answer, not a fault.
        with np.errstate(all="ignore"):
            mean = x.mean() if x.size > 1 else x[0]
            m2 = np.square(x - mean).sum()
            low, high = x.min(), x.max()
        self._merge(x.size, float(mean), float(m2), float(low), float(high))

    def _merge(self, count: int, mean: float, m2: float, low: float, high: float) -> None:
        if self.count == 0:
            self.count, self._mean, self._m2, self._min, self._max = count, mean, m2, low, high
            return
        total = self.count + count
        delta = mean - self._mean
        self._m2 += m2 + delta * delta * (self.count * count / total)
        self._mean += delta * (count / total)
        self.count = total
        # np.minimum, unlike min(), gives nan for a nan in either place.
        self._min = float(np.minimum(self._min, low))
        self._max = float(np.maximum(self._max, high))

    @property
    def mean(self) -> float:
        """Mean of the values."""
        return self._mean if self.count else math.nan

    @property
    def std(self) -> float:
        """Standard deviation of the values, taken as the whole population (divisor n)."""
        return math.sqrt(self._m2 / self.count) if self.count else math.nan

    @property
    def min(self) -> float:
        """Smallest value."""
        return self._min

    @property
    def max(self) -> float:
        """Largest value."""
        return self._max

    def summary(self) -> list[float]:
        """[mean, std, min, max]."""
        return [self.mean, self.std, self.min, self.max]

    def state(self) -> list[Any]:
        """The state as a list of five numbers for JSON; `from_state` restores it bit for bit."""
        if not self.count:
            return [0, 0.0, 0.0, 0.0, 0.0]
        return [self.count, self._mean, self._m2, self._min, self._max]

    @classmethod
    def from_state(cls, state: list[Any]) -> RunningStats:
        """The statistics whose `state()` this is."""
        stats = cls()
        if state[0]:
            stats.count = int(state[0])
            stats._mean, stats._m2, stats._min, stats._max = (float(number) for number in state[1:])
        return stats
