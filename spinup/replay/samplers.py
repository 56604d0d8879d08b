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
        """One batch of uniform rows, each field (1, batch_size, *shape), without an effect on later batches.

        It is empty if there are no rows, and has no field `weight`.
        """

    def update_priorities(self, td_errors: NDArray[Any]) -> None:
        """Receive the absolute TD errors, (count, batch_size), of the batches sampled last.

        It is called only if batches have the field `weight`.
        """

    def state_dict(self) -> dict[str, Any]:
        """What later batches depend on besides the rows and the random generator, as arrays and numbers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`, after its rows were restored."""

    def invalid_entry(self, state: dict[str, Any], rows: int) -> str | None:
        """The first entry of a `state_dict()` with an impossible value for `rows` stored rows, or None.

        The names and types of entries, and dtypes and numbers of dimensions of arrays, are checked already.
        """
        return None


class RowSampler(Sampler):
    """Samplers that choose rows; a builder makes transitions from these.

    Args:
        builder: makes transitions; it implements n-step returns. `stored_fields` are those that it needs.
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
