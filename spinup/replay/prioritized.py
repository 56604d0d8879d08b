"""Prioritized replay (Schaul et al. 2016, proportional variant): rows are drawn by their latest TD error."""

from __future__ import annotations

import math
from typing import Any, final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.replay.builders import BATCH_FIELDS, TransitionBuilder
from spinup.replay.samplers import RowSampler
from spinup.replay.storage import Storage
from spinup.replay.transition import Batches, Transitions

EPSILON = 1e-6  # added to |TD error|, so that every row can be drawn


class BlockSums:
    """Priorities of rows and their sums by block, to draw positions in proportion to priorities.

    A draw searches the cumulative sums of blocks, then those within a block; both searches are vectorized
    over all draws. Sums are recomputed from priorities, never adjusted by differences, so they depend only
    on the current priorities.

    Args:
        capacity: number of positions; all priorities are initially 0.
    """

    BLOCK = 32

    def __init__(self, capacity: int) -> None:
        blocks = -(-capacity // self.BLOCK)
        self._rows = np.zeros((blocks, self.BLOCK))
        self._sums = np.zeros(blocks)
        self.priorities = self._rows.reshape(-1)  # float64, by position; a view

    @property
    def total(self) -> float:
        """The sum of all priorities."""
        return float(self._sums.cumsum()[-1])

    def set(self, index: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        """Set the priorities at positions `index`, (n,); for repeated positions, the last value counts."""
        self.priorities[index] = values
        blocks = index // self.BLOCK
        self._sums[blocks] = self._rows[blocks].sum(1)

    def find(self, fractions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Positions at which the cumulative sum of priorities exceeds these fractions of the total.

        The result has the shape of `fractions`. Fractions uniform in [0, 1) yield each position with
        probability priority / total. A position with priority 0 is never returned, even with rounding errors.
        """
        above = self._sums.cumsum()
        target = fractions.reshape(-1) * above[-1]
        block = np.searchsorted(above, target, side="right")
        if block.max(initial=0) == len(above):
            block = np.minimum(block, np.flatnonzero(self._sums)[-1])
        # Not above[block] - sums[block], which can exceed the target by rounding.
        target -= np.where(block > 0, above[block - 1], 0.0)
        rows = self._rows[block]
        sums = rows.cumsum(1)
        column = (sums > target[:, None]).argmax(1)
        # If no sum exceeds the target because of rounding, the last positive priority of the block is taken.
        over = np.flatnonzero(sums[:, -1] <= target)
        column[over] = self.BLOCK - 1 - (rows[over, ::-1] > 0).argmax(1)
        found: NDArray[np.int64] = block * self.BLOCK + column
        return found.reshape(fractions.shape)


@final
class PrioritizedSampler(RowSampler):
    """Draws row i with probability P(i) = p_i^a / sum_j p_j^a, p_i = |TD error| + 1e-6.

    A new row gets the largest priority so far, so that it is drawn soon. The field `weight` of a batch is
    (N P(i))^-beta, divided by its maximum in the batch; beta rises linearly to 1. All batches of a block of
    updates are drawn from the same priorities, which are updated from the TD errors after the block.

    Args:
        builder: makes transitions from rows.
        exponent: a; 0 is uniform.
        beta: beta at the first gradient step.
        beta_updates: gradient steps until beta is 1.
    """

    batch_fields = (*BATCH_FIELDS, "weight")

    def __init__(self, builder: TransitionBuilder, exponent: float, beta: float, beta_updates: int) -> None:
        super().__init__(builder)
        self.exponent, self.beta, self.beta_updates = exponent, beta, beta_updates
        self.reset(0)

    def reset(self, capacity: int) -> None:
        super().reset(capacity)
        self._capacity, self._sums = capacity, BlockSums(capacity)
        self._largest = 1.0  # largest p_i^a so far
        self._total = self._known = 0  # number of rows ever added, and of rows with a priority
        self._updates = 0
        self._drawn: NDArray[np.int64] = np.zeros(0, np.int64)

    def added(self, start: int, transitions: Transitions) -> None:
        super().added(start, transitions)
        if not self._total:
            self._known = start
        self._total = start + len(transitions["reward"])

    def rows(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> NDArray[np.int64]:
        self._initialize_new_rows()
        return self._sums.find(rng.random((count, batch_size)))

    def sample(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> Batches:
        self._drawn = self.rows(storage, count, batch_size, rng)
        batches = self.builder.build(storage, self._drawn)
        share = self._sums.priorities[self._drawn] / self._sums.total
        done = np.minimum((self._updates + np.arange(count)) / self.beta_updates, 1.0)
        beta = self.beta + (1.0 - self.beta) * done
        weight = (len(storage) * share) ** -beta[:, None]
        weight /= weight.max(1, keepdims=True)
        batches["weight"] = storage.to_batch(weight.astype(np.float32))
        self._updates += count
        return batches

    def update_priorities(self, td_errors: NDArray[Any]) -> None:
        priorities = (td_errors.astype(np.float64).reshape(-1) + EPSILON) ** self.exponent
        self._sums.set(self._drawn.reshape(-1), priorities)
        self._largest = max(self._largest, float(priorities.max()))

    def state_dict(self) -> dict[str, Any]:
        """p_i^a of the stored rows, oldest first, its maximum so far, and the number of gradient steps."""
        self._initialize_new_rows()
        kept = self._positions(max(self._total - self._capacity, 0))
        return {
            "priorities": self._sums.priorities[kept].copy(),
            "largest": self._largest,
            "updates": self._updates,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._largest, self._updates, self._known = state["largest"], state["updates"], self._total
        self._sums.set(self._positions(self._total - len(state["priorities"])), state["priorities"])

    def invalid_entry(self, state: dict[str, Any], rows: int) -> str | None:
        priorities = state["priorities"]
        if len(priorities) != rows or not np.isfinite(priorities).all() or not (priorities > 0).all():
            return "priorities"
        if not 0 < state["largest"] < math.inf:
            return "largest"
        return "updates" if state["updates"] < 0 else None

    def _initialize_new_rows(self) -> None:
        """Assign a priority to the rows that were added since the last call."""
        new = self._positions(max(self._known, self._total - self._capacity))
        if len(new):
            self._sums.set(new, np.full(len(new), self._largest))
        self._known = self._total

    def _positions(self, start: int) -> NDArray[np.int64]:
        """The positions of the rows from number `start` to the newest."""
        return np.arange(start, self._total) % max(self._capacity, 1)
