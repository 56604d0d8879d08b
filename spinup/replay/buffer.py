"""The replay buffer: a storage and the sampler that draws batches from it, with their interfaces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.replay.transition import Batches, Field, Transitions


class Storage(Protocol):
    """Rows of transitions, numbered by the count of rows ever written; row k lies at k modulo `capacity`."""

    fields: tuple[Field, ...]
    capacity: int
    total: int

    def __len__(self) -> int: ...

    def append(self, transitions: Transitions) -> None:
        """Add rows, overwriting the oldest when full."""
        ...

    def gather(self, index: NDArray[np.int64], names: Iterable[str]) -> Batches:
        """The named fields at positions `index`, each (*index.shape, *shape)."""
        ...

    def to_batch(self, array: NDArray[Any]) -> Any:
        """An array of the host where gathered fields are, for arithmetic with them."""
        ...

    def read(self, start: int, stop: int) -> Transitions:
        """A copy, on the host, of the rows numbered start to stop - 1."""
        ...

    def clear(self, total: int) -> None:
        """Drop all rows; the next one appended has number `total`."""
        ...


class Sampler(Protocol):
    """Draws batches from a storage. gamma and n-step returns are known here and nowhere else."""

    @property
    def stored_fields(self) -> tuple[str, ...]:
        """The fields of a transition that it needs stored."""
        ...

    @property
    def batch_fields(self) -> tuple[str, ...]:
        """The fields of its batches: obs, action, reward, discount, next_obs, optionally weight or others."""
        ...

    def reset(self, capacity: int) -> None:
        """Forget all rows; those that follow are stored in a ring of `capacity`."""
        ...

    def added(self, start: int, transitions: Transitions) -> None:
        """Note the rows that were appended, numbered from `start`."""
        ...

    def sample(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> Batches:
        """`count` batches of `batch_size` transitions, each field (count, batch_size, *shape)."""
        ...


class ReplayBuffer:
    """Stores transitions and draws batches.

    Args:
        storage: where rows are held, in host memory or on a device.
        sampler: which rows form a batch.
    """

    def __init__(self, storage: Storage, sampler: Sampler) -> None:
        self.storage, self.sampler = storage, sampler
        self.sampler.reset(storage.capacity)

    def __len__(self) -> int:
        return len(self.storage)

    @property
    def total(self) -> int:
        """Rows ever written; the last `len` of them are held."""
        return self.storage.total

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields that are stored."""
        return self.storage.fields

    def add(self, transitions: Transitions) -> None:
        """Append transitions, arrays (N, *shape) by field."""
        start = self.storage.total
        self.storage.append(transitions)
        self.sampler.added(start, transitions)

    def sample(self, count: int, batch_size: int, rng: Generator) -> Batches:
        """`count` batches of `batch_size` transitions, arrays (count, batch_size, *shape) by field."""
        return self.sampler.sample(self.storage, count, batch_size, rng)

    def read(self, start: int, stop: int) -> Transitions:
        """A copy of the rows numbered start to stop - 1, which must still be held."""
        return self.storage.read(start, stop)

    def restore(self, start: int, transitions: Transitions) -> None:
        """Hold `transitions`, as rows numbered from `start`, and no others."""
        self.storage.clear(start)
        self.sampler.reset(self.storage.capacity)
        self.add(transitions)
