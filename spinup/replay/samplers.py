"""Samplers: which stored rows form a batch."""

from __future__ import annotations

import abc
from typing import Any, final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.replay.builders import BATCH_FIELDS, TransitionBuilder
from spinup.replay.storage import Storage
from spinup.replay.transition import Batches, Transitions


class Sampler(abc.ABC):
    """Draws batches of transitions from a storage.

    Attributes:
        stored_fields: the fields that the storage must have.
        batch_fields: the fields of a batch.
    """

    stored_fields: tuple[str, ...]
    batch_fields: tuple[str, ...] = BATCH_FIELDS

    def reset(self, capacity: int) -> None:
        """Remove all rows; those added later are stored in a ring of `capacity` rows."""

    def added(self, start: int, transitions: Transitions) -> None:
        """Called after rows, numbered from `start`, were appended to the storage.

        Row number i is at position i modulo the capacity.
        """

    @abc.abstractmethod
    def sample(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> Batches:
        """`count` batches of `batch_size` transitions, each field (count, batch_size, *shape).

        The storage has at least one row.
        """

    @abc.abstractmethod
    def sample_uniform(self, storage: Storage, batch_size: int, rng: Generator) -> Batches:
        """One batch of uniform rows, each field (1, batch_size, *shape); it does not affect later batches.

        The batch is empty if there are no rows, and has no field `weight`.
        """

    def update_priorities(self, td_errors: NDArray[Any]) -> None:
        """Receive the absolute TD errors, (count, batch_size), of the batches sampled last.

        It is called only if batches have the field `weight`.
        """

    def state_dict(self) -> dict[str, Any]:
        """The state that later batches depend on, besides rows and random generator: arrays and numbers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict()`; the rows must be restored first."""

    def invalid_entry(self, state: dict[str, Any], rows: int) -> str | None:
        """The first entry of a `state_dict()` whose value is impossible for `rows` stored rows, or None.

        The caller has checked names and types of entries, and dtypes and numbers of dimensions of arrays.
        """
        return None


class RowSampler(Sampler):
    """Base class of samplers that choose rows, from which a builder makes transitions.

    Args:
        builder: makes transitions, including n-step returns, and determines `stored_fields`.
    """

    def __init__(self, builder: TransitionBuilder) -> None:
        self.builder, self.stored_fields = builder, builder.stored_fields

    def reset(self, capacity: int) -> None:
        self.builder.reset(capacity)

    def added(self, start: int, transitions: Transitions) -> None:
        self.builder.added(start, transitions)

    @abc.abstractmethod
    def rows(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> NDArray[np.int64]:
        """Positions of rows, (count, batch_size), each in [0, len(storage))."""

    def sample(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> Batches:
        return self.builder.build(storage, self.rows(storage, count, batch_size, rng))

    def sample_uniform(self, storage: Storage, batch_size: int, rng: Generator) -> Batches:
        if not len(storage):
            return {}
        return self.builder.build(storage, rng.integers(len(storage), size=(1, batch_size)))


@final
class UniformSampler(RowSampler):
    """Draws all rows with the same probability, with replacement."""

    def rows(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> NDArray[np.int64]:
        return rng.integers(len(storage), size=(count, batch_size))
