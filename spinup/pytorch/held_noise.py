"""Exploration noise that is held over several steps."""

from __future__ import annotations

from typing import Any, Protocol, final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray


class NoiseSource(Protocol):
    """A source of standard normal noise for policies, such as a NumPy Generator."""

    def standard_normal(self, size: Any, dtype: Any) -> NDArray[Any]:
        """Noise of shape `size`."""
        ...


@final
class HeldNoise:
    """Standard normal noise, each row held for a random number of steps.

    The number is k with probability proportional to k^-2, 1 <= k <= longest: a truncated zeta distribution
    with exponent 2, as in FlashSAC. Its heavy tail correlates actions over many steps.

    Args:
        rng: generator of the noise and of the numbers of steps.
        longest: maximum number of steps.
        rows: number of environments.
        size: length of a row, act_dim.
    """

    EXPONENT = 2.0

    def __init__(self, rng: Generator, longest: int, rows: int, size: int) -> None:
        self.rng = rng
        self.noise = np.zeros((rows, size), np.float32)
        self.left = np.zeros(rows, np.int64)
        weights = np.arange(1, longest + 1, dtype=np.float64) ** -self.EXPONENT
        self._cumulative = np.cumsum(weights) / weights.sum()
        self._cumulative[-1] = 1.0

    def standard_normal(self, size: Any, dtype: Any = np.float32) -> NDArray[Any]:
        """The noise of the next step; `size` must be (rows, act_dim)."""
        ended = np.flatnonzero(self.left == 0)
        if len(ended):
            self.noise[ended] = self.rng.standard_normal((len(ended), self.noise.shape[1]), np.float32)
            self.left[ended] = 1 + np.searchsorted(self._cumulative, self.rng.random(len(ended)), "right")
        self.left -= 1
        assert self.noise.shape == tuple(size)
        return self.noise.astype(dtype)

    def state_dict(self) -> dict[str, Any]:
        """The noise and the remaining steps of each row, without the generator's state."""
        return {"noise": self.noise.copy(), "left": self.left.copy()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        self.noise[:], self.left[:] = state["noise"], state["left"]
