"""Storage: a ring of the newest transitions, one array per field."""

from __future__ import annotations

import abc
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from spinup.errors import ConfigError
from spinup.replay.next_observations import NextObservations
from spinup.replay.transition import Batches, Field, Transitions, bytes_per_row


class Storage(abc.ABC):
    """The newest `capacity` transitions.

    Rows are numbered in the order in which they are written; row k is at position k modulo `capacity`.

    Args:
        fields: the fields to store; other fields of appended transitions are dropped.
        capacity: maximum number of rows.
    """

    def __init__(self, fields: Sequence[Field], capacity: int) -> None:
        self.fields, self.capacity, self.total = tuple(fields), capacity, 0

    def __len__(self) -> int:
        return min(self.total, self.capacity)

    @abc.abstractmethod
    def append(self, transitions: Transitions) -> None:
        """Add rows, overwriting the oldest when full; arrays (N, *shape) by field."""

    @abc.abstractmethod
    def gather(self, index: NDArray[np.int64], names: Iterable[str]) -> Batches:
        """The named fields at positions `index`, each (*index.shape, *shape)."""

    @abc.abstractmethod
    def to_batch(self, array: NDArray[Any]) -> Any:
        """Convert a host array to the type that `gather` returns, for arithmetic with its results."""

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> Transitions:
        """A copy, on the host, of the rows numbered start to stop - 1, which must still be stored."""

    def clear(self, total: int) -> None:
        """Remove all rows; the next one appended has number `total`."""
        self.total = total


class RowStorage(Storage):
    """Stores rows in host memory, as one array per field, except for fields that subclasses store themselves.

    Args:
        fields: the fields to store.
        capacity: maximum number of rows.
        elsewhere: names of the fields that the subclass stores.
        needs: fields from which the memory of a row is computed; `fields` if None.

    Raises:
        ConfigError: if `capacity` rows do not fit in memory.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        capacity: int,
        elsewhere: tuple[str, ...],
        needs: Sequence[Field] | None = None,
    ) -> None:
        super().__init__(fields, capacity)
        check_memory(needs or fields, capacity, machine_memory(), "this machine has")
        self._columns: dict[str, NDArray[Any]] = {
            field.name: np.zeros((capacity, *field.shape), field.dtype)
            for field in fields
            if field.name not in elsewhere
        }

    @abc.abstractmethod
    def _put(self, at: int, rows: Transitions) -> None:
        """Write the subclass's fields of `rows` at positions from `at` on; the others are already written."""

    @abc.abstractmethod
    def _take(self, index: NDArray[np.int64], name: str) -> NDArray[Any]:
        """A field that the subclass stores, see `gather`."""

    @property
    def nbytes(self) -> int:
        """Memory of all rows, including unused capacity, in bytes."""
        return sum(column.nbytes for column in self._columns.values())

    def append(self, transitions: Transitions) -> None:
        count = len(transitions[self.fields[0].name])
        start, self.total = self.total, self.total + count
        for part, at in ring_slices(start, count, self.capacity):
            rows = {field.name: transitions[field.name][part] for field in self.fields}
            for name, column in self._columns.items():
                column[at] = rows[name]
            self._put(at.start, rows)

    def gather(self, index: NDArray[np.int64], names: Iterable[str]) -> Batches:
        columns = self._columns
        return {
            name: columns[name].take(index, axis=0) if name in columns else self._take(index, name)
            for name in names
        }

    def to_batch(self, array: NDArray[Any]) -> Any:
        return array

    def read(self, start: int, stop: int) -> Transitions:
        return self.gather(np.arange(start, stop) % self.capacity, (field.name for field in self.fields))


@final
class HostStorage(RowStorage):
    """Stores rows in host memory; an observation that two rows share is stored once.

    Raises:
        ConfigError: if `capacity` rows do not fit in memory.
    """

    def __init__(self, fields: Sequence[Field], capacity: int) -> None:
        super().__init__(fields, capacity, ("next_obs",))
        self._shares = any(field.name == "next_obs" for field in fields)
        self._next_obs = NextObservations(self._columns.get("obs", np.zeros((0, 0), np.float32)))

    @property
    def nbytes(self) -> int:
        return super().nbytes + self._next_obs.nbytes

    def clear(self, total: int) -> None:
        self._next_obs.clear()
        super().clear(total)

    def _put(self, at: int, rows: Transitions) -> None:
        if self._shares:
            self._next_obs.add(at, rows["obs"], rows["next_obs"])

    def _take(self, index: NDArray[np.int64], name: str) -> NDArray[Any]:
        return self._next_obs.take(index)


def ring_slices(start: int, count: int, capacity: int) -> list[tuple[slice, slice]]:
    """Pairs of slices: a slice of `count` new rows, numbered from `start`, and their positions in a ring.

    There are two pairs if the rows wrap around; of more than `capacity` rows, only the last are included.
    """
    kept = min(count, capacity)
    at = (start + count - kept) % capacity
    first = min(kept, capacity - at)
    cut = count - kept + first
    pairs = [(slice(count - kept, cut), slice(at, at + first))]
    if first < kept:
        pairs.append((slice(cut, count), slice(0, kept - first)))
    return pairs


def check_memory(
    fields: Sequence[Field], capacity: int, available: int, owner: str, remedy: str = ""
) -> None:
    """Refuse a storage that needs more than 90% of `available` bytes; 0 means unknown.

    `owner` and `remedy` are parts of the message.

    Raises:
        ConfigError: naming a `replay_size` that fits.
    """
    row = bytes_per_row(fields)
    if available and capacity * row > 0.9 * available:
        raise ConfigError(
            f"replay_size={capacity} needs {capacity * row / 2**30:.1f} GiB at {row} bytes per transition, "
            f"and {owner} {available / 2**30:.1f} GiB: replay_size={int(0.5 * available / row)} would fit"
            f"{remedy}"
        )


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's or its control group's; 0 if unknown."""
    try:
        have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0
    limit = Path("/sys/fs/cgroup/memory.max")
    try:
        return min(have, int(limit.read_text()))
    except (OSError, ValueError):
        return have
