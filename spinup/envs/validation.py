"""What an environment returned, held against its spaces before anything is stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.envs.make import flatten_batch
from spinup.envs.vector import Vector
from spinup.errors import EnvError

Float = NDArray[np.float32]
Where = Callable[[int], str]


def checked_observations(vector: Vector, observations: Any, shape: tuple[int, ...], where: Where) -> Float:
    """Observations flat, (N, obs_dim) float32.

    Args:
        vector: where they come from.
        observations: as it returned them.
        shape: (N, obs_dim).
        where: says for an environment in which step of which episode it is.

    Raises:
        EnvError: for one that does not fit the declared space, or is not finite.
    """
    space = vector.observation_space
    try:
        flat = flatten_batch(space, observations, vector.num_envs)
    except (ValueError, TypeError, KeyError) as error:
        raise EnvError(
            f"the environment returned an observation that does not fit its space {space}: {error}; mend the "
            "space or the observation"
        ) from None
    if flat.shape != shape:
        raise EnvError(
            f"the environment returned observations of {flat.shape[-1]} numbers, but its space {space} "
            f"declares {shape[-1]}: mend one of them"
        )
    if not np.isfinite(flat).all():
        i, j = map(int, np.argwhere(~np.isfinite(flat))[0])
        raise EnvError(
            f"environment {i} returned the observation value {flat[i, j]} at index {j}, {where(i)}: mend the "
            "environment; what was collected before is kept"
        )
    return flat


def checked_rewards(rewards: NDArray[np.float64], num_envs: int, where: Where) -> Float:
    """Rewards (N,) as float32.

    Raises:
        EnvError: for rewards that are no plain numbers, or not finite.
    """
    with np.errstate(over="ignore"):
        r = rewards.astype(np.float32)
    if r.shape != (num_envs,):
        raise EnvError(
            f"the environment returned rewards of shape {r.shape}: return one plain number per environment, "
            f"shape ({num_envs},)"
        )
    if not np.isfinite(r).all():
        i = int(np.flatnonzero(~np.isfinite(r))[0])
        raise EnvError(
            f"environment {i} returned the reward {rewards[i]}, {where(i)}: mend the environment; what was "
            "collected before is kept"
        )
    return r
