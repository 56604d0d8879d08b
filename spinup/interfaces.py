"""What the loop sees of its parts, whatever their framework and engine."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Float = NDArray[np.float32]


class Learner(Protocol):
    """What the loop sees of an algorithm, whatever its framework and engine."""

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        ...

    def update(self, block: Any) -> dict[str, Float]:
        """One gradient step per batch of the block; metrics with leading axis n."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update or action depends on: arrays, numbers and strings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken."""
        ...

    def save(self, folder: Path, name: str) -> None:
        """Write the model for users, as the file or folder of that name."""
        ...


class Replay(Protocol):
    """What the loop sees of a replay buffer, in memory or on a device.

    total: rows ever written; the last `len` of them are held.
    """

    total: int

    def __len__(self) -> int: ...

    def add(self, rows: Float) -> None:
        """Append rows."""
        ...

    def sample(self, count: int, batch_size: int, rng: Generator) -> Any:
        """A block of batches, opaque to the loop but for `arrays(k)`, its k-th batch by name."""
        ...

    def read(self, start: int, stop: int) -> Float:
        """Rows written as number start up to stop."""
        ...

    def restore(self, start: int, rows: Float) -> None:
        """Hold `rows`, as those written as number start and on, and no others."""
        ...


class Watch(Protocol):
    """Who looks at the run between steps: checkpoints, and requests to stop."""

    def after_step(self, trainer: Any) -> None:
        """Called between two steps; what it raises stops the run there."""
        ...

    def within_test(self) -> None:
        """Called before each step of a test; what it raises stops the run before that test."""
        ...


class Unwatched:
    """Nobody looks."""

    def after_step(self, trainer: Any) -> None:
        """Go on."""

    def within_test(self) -> None:
        """Go on."""
