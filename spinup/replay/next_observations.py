"""Stores the next observation of each row only if it is not the observation of a later row."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.typing import NDArray


@final
class NextObservations:
    """Next observations of the rows of a ring, most of them as references to the observations of later rows.

    Within an episode, the next observation of a row is the observation of the next row of the same
    environment. A row refers to the first later row whose observation has the same bytes; that row stays in
    the ring longer. Until such a row is added, and at the ends of episodes, the row keeps a copy. Rows are
    matched by content, so their order in the ring does not matter.

    Args:
        obs: the observations of the ring, (capacity, *shape); the caller writes them.
    """

    def __init__(self, obs: NDArray[Any]) -> None:
        self._obs = obs
        # The position of the row that a row refers to, or ~k if it keeps the k-th copy.
        self._source: NDArray[np.signedinteger[Any]]
        self._source = np.zeros(len(obs), np.int32 if len(obs) <= 2**31 else np.int64)
        self._copies = np.empty((16, *obs.shape[1:]), obs.dtype)
        self.clear()

    @property
    def nbytes(self) -> int:
        """Memory of references and copies, in bytes."""
        return self._source.nbytes + self._copies.nbytes

    def clear(self) -> None:
        """Remove all rows."""
        self._source.fill(0)
        self._free = list(range(len(self._copies)))
        self._waiting: dict[int, int] = {}  # positions of the newest rows with a copy, by its hash
        self._keep = 0

    def add(self, start: int, obs: NDArray[Any], next_obs: NDArray[Any]) -> None:
        """Write rows at positions from `start` on, replacing those there; both (N, *shape)."""
        # Enough for all rows of one step and for copies from ends of episodes, which no later row matches.
        self._keep = max(self._keep, 2 * len(obs))
        for at, (first, last) in enumerate(zip(obs, next_obs, strict=True), start):
            self._release(at)
            self._refer(first.tobytes(), at)
            if not self._free:
                self._grow()
            slot = self._free.pop()
            self._copies[slot] = last
            self._source[at] = ~slot
            self._waiting[hash(last.tobytes())] = at
        while len(self._waiting) > self._keep:
            del self._waiting[next(iter(self._waiting))]

    def take(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """The next observations at positions `index`, (*index.shape, *shape)."""
        source: NDArray[np.signedinteger[Any]] = self._source.take(index)
        taken: NDArray[Any] = self._obs.take(np.maximum(source, 0), axis=0)
        copied = source < 0
        if copied.any():
            taken[copied] = self._copies[~source[copied]]
        return taken

    def _refer(self, content: bytes, at: int) -> None:
        """If a row with a copy waits for this observation, let it refer to position `at` instead."""
        before = self._waiting.pop(hash(content), None)
        if before is None:
            return
        slot = ~int(self._source[before])
        if self._copies[slot].tobytes() == content:
            self._free.append(slot)
            self._source[before] = at

    def _release(self, at: int) -> None:
        """Free the copy of a row that is overwritten."""
        slot = ~int(self._source[at])
        if slot >= 0:
            key = hash(self._copies[slot].tobytes())
            if self._waiting.get(key) == at:
                del self._waiting[key]
            self._free.append(slot)

    def _grow(self) -> None:
        count = len(self._copies)
        more = np.empty((min(count, len(self._obs)), *self._copies.shape[1:]), self._copies.dtype)
        self._copies = np.concatenate([self._copies, more])
        self._free = list(range(count, len(self._copies)))
