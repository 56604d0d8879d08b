"""Fields: the named arrays that transitions and batches are made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Transitions = dict[str, NDArray[Any]]  # by field, (N, *shape)
Batches = dict[str, Any]  # by field, (n, B, *shape): arrays, or tensors on a device


@dataclass(frozen=True)
class Field:
    """One named quantity of a transition, stored in its own shape and dtype."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        """Bytes per transition."""
        return math.prod(self.shape) * self.dtype.itemsize


def transition_fields(obs_dim: int, act_dim: int, obs_dtype: Any = np.float32) -> dict[str, Field]:
    """The fields of the transitions that collectors make.

    | field           | per row    | content                                                               |
    |-----------------|------------|-----------------------------------------------------------------------|
    | `obs`           | (obs_dim,) | observation, float32                                                  |
    | `action`        | (act_dim,) | action in the environment's units, float32 (an index, if discrete)    |
    | `reward`        | ()         | reward, float32                                                       |
    | `terminated`    | ()         | whether the MDP terminates; False at a truncation, bool               |
    | `next_obs`      | (obs_dim,) | observation that the action led to, also at an episode's end, float32 |
    | `env`           | ()         | index of the environment, int32                                       |
    | `episode_start` | ()         | whether this is the first transition of an episode, bool              |

    Observations with images are rows of bytes (see `ImageLayout`): `obs_dtype` is uint8 then.
    """
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "obs": ((obs_dim,), obs_dtype),
        "action": ((act_dim,), np.float32),
        "reward": ((), np.float32),
        "terminated": ((), np.bool_),
        "next_obs": ((obs_dim,), obs_dtype),
        "env": ((), np.int32),
        "episode_start": ((), np.bool_),
    }
    return {name: Field(name, shape, np.dtype(dtype)) for name, (shape, dtype) in shapes.items()}


def to_host(values: Any) -> NDArray[Any]:
    """A field of transitions or batches as an array on the host."""
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)


def bytes_per_row(fields: Iterable[Field]) -> int:
    """Bytes that one transition takes in storage."""
    return sum(field.nbytes for field in fields)
