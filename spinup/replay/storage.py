"""The replay buffer: whole rows in one array, gathered a block of batches at a time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.errors import ConfigError

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """Columns of a row, in the order the nets read them: o2, o, a, r, d (so [o, a] is one slice)."""

    obs_dim: int
    act_dim: int

    @property
    def width(self) -> int:
        """Columns of a row."""
        return 2 * self.obs_dim + self.act_dim + 2

    @property
    def o2(self) -> slice:
        """Next observation."""
        return slice(0, self.obs_dim)

    @property
    def o(self) -> slice:
        """Observation."""
        return slice(self.obs_dim, 2 * self.obs_dim)

    @property
    def a(self) -> slice:
        """Action, in the environment's units."""
        return slice(2 * self.obs_dim, 2 * self.obs_dim + self.act_dim)

    @property
    def r(self) -> int:
        """Reward."""
        return self.width - 2

    @property
    def d(self) -> int:
        """1 where the MDP terminates, else 0."""
        return self.width - 1

    def rows(self, o: Float, a: Float, r: Float, d: Float, o2: Float) -> Float:
        """Transitions as rows, (N, width) float32."""
        return np.concatenate([o2, o, a, r[:, None], d[:, None]], axis=1, dtype=np.float32)


@dataclass(frozen=True)
class Block:
    """n batches of B rows with the noise of both policy draws: what one `Learner.update` takes.

    rows: (n, B, layout.width) float32; noise: (n, 2, B, act_dim) float32, index 0 for the draw at o2,
    1 for the draw at o.
    """

    layout: Layout
    rows: Float
    noise: Float

    def __len__(self) -> int:
        return len(self.rows)

    def arrays(self, k: int) -> dict[str, Float]:
        """The k-th batch by name: o, a, r, d, o2 and the noise."""
        rows, layout = self.rows[k], self.layout
        named = {name: rows[:, getattr(layout, name)] for name in ("o", "a", "r", "d", "o2")}
        return {**named, "noise": self.noise[k]}


class ReplayBuffer:
    """A ring of the last `capacity` transitions.

    Rows are addressed by the count of rows ever written, so that row k lies at k modulo capacity; only
    rows that were written can be drawn.

    Raises:
        ConfigError: when `capacity` rows cannot fit in this machine's memory.
    """

    def __init__(self, layout: Layout, capacity: int) -> None:
        _check_memory(layout, capacity)
        self.layout, self.capacity, self.total = layout, capacity, 0
        self._rows: Float = np.zeros((capacity, layout.width), np.float32)

    def __len__(self) -> int:
        return min(self.total, self.capacity)

    def add(self, rows: Float) -> None:
        """Append rows, (N, width) float32, over the oldest ones when full."""
        self.total += len(rows)
        rows = rows[-self.capacity :]
        at = (self.total - len(rows)) % self.capacity
        first = min(len(rows), self.capacity - at)
        self._rows[at : at + first] = rows[:first]
        self._rows[: len(rows) - first] = rows[first:]

    def sample(self, count: int, batch_size: int, rng: Generator) -> Block:
        """Draw `count` batches, uniform with replacement, and the noise of their policy draws."""
        index = rng.integers(len(self), size=(count, batch_size))
        noise = rng.standard_normal((count, 2, batch_size, self.layout.act_dim), dtype=np.float32)
        return Block(self.layout, self._rows.take(index, axis=0), noise)

    def read(self, start: int, stop: int) -> Float:
        """A copy of the rows written as number start up to stop, which must still be held."""
        return self._rows.take(range(start, stop), axis=0, mode="wrap")

    def restore(self, start: int, rows: Float) -> None:
        """Make the buffer hold `rows` as those written as number start and on, and no others."""
        self.total = start
        self.add(rows)


def _check_memory(layout: Layout, capacity: int) -> None:
    need = capacity * layout.width * 4
    have = machine_memory()
    if have and need > 0.9 * have:
        fit = int(0.5 * have / (layout.width * 4))
        raise ConfigError(
            f"replay_size={capacity} needs {need / 2**30:.1f} GiB for rows of {layout.width} floats, and "
            f"this machine has {have / 2**30:.1f} GiB: replay_size={fit} would fit"
        )


def machine_memory() -> int:
    """Bytes of memory that this process may use: the machine's, or its control group's; 0 if unknown."""
    try:
        have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0
    limit = Path("/sys/fs/cgroup/memory.max")
    try:
        return min(have, int(limit.read_text()))
    except (OSError, ValueError):
        return have
