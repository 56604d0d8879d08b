"""Flattens observations, and checks observations and rewards."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import batch_space, iterate
from numpy.typing import NDArray

from spinup.envs.spaces import flat_observation_space, flatten_observation, image_layout
from spinup.envs.vector import EnvVector
from spinup.errors import EnvError
from spinup.replay.image_layout import ImageLayout

Float = NDArray[np.float32]
Where = Callable[[int], str]  # maps an environment's index to text such as "in step 3 of episode 0"


class FlatEnv(gym.Wrapper[Any, Any, Any, Any]):
    """Flattens observations and checks observations and rewards against the declared spaces.

    The info dict of a step is replaced by an empty one: it is not used, and merging info dicts in a vector
    can take longer than the step of a small environment.

    Raises:
        EnvError: for a space that cannot be flattened, and for an observation or reward that does not fit.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._space = env.observation_space
        flat = flat_observation_space(self._space)
        self._layout = image_layout(self._space)
        # In the space's dtype, which may be wider than float32.
        self.observation_space = flat if self._layout else gym.spaces.utils.flatten_space(self._space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = reset_env(self.env, seed=seed, options=options)
        return self._flatten(observation), info

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, _ = step_env(self.env, action)
        if np.shape(reward):
            raise EnvError(
                f"the environment returned a reward of shape {np.shape(reward)}: return a plain number"
            )
        return self._flatten(observation), reward, terminated, truncated, {}

    def _flatten(self, observation: Any) -> NDArray[Any]:
        try:
            flat = flatten_observation(self._space, self._layout, observation)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise _misfit(self._space, f" ({type(error).__name__}: {error})") from None
        if flat.shape != self.observation_space.shape:
            size = math.prod(self.observation_space.shape or ())
            raise _wrong_size(self._space, "an observation", flat.size, size)
        return flat


_OLD_API = "as in Gym before 0.26"


def reset_env(env: Any, **kwargs: Any) -> tuple[Any, Any]:
    """The observation and info that an environment's reset returns.

    Raises:
        EnvError: if reset has the API of old Gym: it takes no seed or options, or returns no pair.
    """
    try:
        result = env.reset(**kwargs)
    except TypeError as error:
        old = re.search(r"reset\(\) got an unexpected keyword argument ('seed'|'options')$", str(error))
        if old is None:
            raise
        raise EnvError(
            f"the environment's reset takes no {old[1]}, {_OLD_API}: define reset(self, *, seed=None, "
            "options=None) and return observation, info, or wrap the environment with shimmy"
        ) from None
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise EnvError(
            f"the environment's reset did not return a pair, {_OLD_API}: return observation, info, or wrap "
            "the environment with shimmy"
        )
    return result[0], result[1]


def step_env(env: Any, action: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The five values that an environment's step returns.

    Raises:
        EnvError: if the environment or one of its wrappers returns four values, as in the API of old Gym.
    """
    try:
        observation, reward, terminated, truncated, info = env.step(action)
    except ValueError as error:
        if str(error) != "not enough values to unpack (expected 5, got 4)":
            raise
        raise EnvError(
            f"the environment's step returned 4 values, {_OLD_API}: return observation, reward, terminated, "
            "truncated, info, or wrap the environment with shimmy"
        ) from None
    return observation, reward, terminated, truncated, info


def flatten_batch(
    space: gym.Space[Any], observations: Any, num_envs: int, layout: ImageLayout | None = None
) -> NDArray[Any]:
    """Observations of N environments as (N, obs_dim) float32, or as rows of `layout` (N, bytes) uint8.

    Args:
        space: observation space of a single environment.
        observations: batched as Gymnasium does for `space`, or a list of N single observations.
        num_envs: N.
        layout: see `image_layout`; `space` may already be the space of rows, (nbytes,) uint8.
    """
    if layout is not None:
        if isinstance(space, gym.spaces.Box) and space.shape == (layout.nbytes,):
            return np.array(observations)
        single = observations
        if not isinstance(observations, list):
            single = iterate(batch_space(space, num_envs), observations)
        return np.stack([flatten_observation(space, layout, observation) for observation in single])
    if isinstance(observations, np.ndarray):
        if observations.dtype == object or isinstance(space, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
            return _flatten_each(space, observations)
        with np.errstate(over="ignore"):  # overflow gives inf, which the caller rejects
            return observations.reshape(num_envs, -1).astype(np.float32)
    if isinstance(observations, list):  # a batch of a Tuple space is a tuple, never a list
        return _flatten_each(space, observations)
    return _flatten_each(space, iterate(batch_space(space, num_envs), observations))


def checked_observations(
    vector: EnvVector,
    observations: Any,
    shape: tuple[int, ...],
    where: Where,
    layout: ImageLayout | None = None,
) -> NDArray[Any]:
    """Flatten the observations of `vector` to (N, obs_dim) float32, or to rows of `layout`, uint8.

    Args:
        vector: the environments.
        observations: as `vector` returned them.
        shape: (N, obs_dim).
        where: describes the current step of an environment, for messages.
        layout: see `image_layout`.

    Raises:
        EnvError: if an observation does not fit the declared space or is not finite.
    """
    space = vector.observation_space
    try:
        flat = flatten_batch(space, observations, vector.num_envs, layout)
    except (ValueError, TypeError, KeyError) as error:
        raise _misfit(space, f": {error}") from None
    if flat.shape != shape:
        raise _wrong_size(space, "observations", flat.shape[-1], shape[-1])
    numbers = [flat]
    if layout is not None:
        numbers = [a for a, part in zip(layout.unpack(flat), layout.parts, strict=True) if not part.is_image]
    for values in numbers:
        if not np.isfinite(values).all():
            i, j = map(int, np.argwhere(~np.isfinite(values))[0])
            raise _not_finite(i, f"observation value {values[i, j]} at index {j}", where)
    return flat


def checked_rewards(rewards: NDArray[np.float64], num_envs: int, where: Where) -> Float:
    """Rewards (N,) as float32.

    Raises:
        EnvError: if they do not have shape (N,) or are not finite.
    """
    with np.errstate(over="ignore"):
        reward = rewards.astype(np.float32)
    if reward.shape != (num_envs,):
        raise EnvError(
            f"the environment returned rewards of shape {reward.shape}: return one plain number per "
            f"environment, shape ({num_envs},)"
        )
    if not np.isfinite(reward).all():
        i = int(np.flatnonzero(~np.isfinite(reward))[0])
        raise _not_finite(i, f"reward {rewards[i]}", where)
    return reward


def _flatten_each(space: gym.Space[Any], observations: Iterable[Any]) -> Float:
    rows: list[Any] = [gym.spaces.utils.flatten(space, observation) for observation in observations]
    with np.errstate(over="ignore"):
        return np.stack(rows).astype(np.float32)


def _misfit(space: gym.Space[Any], cause: str) -> EnvError:
    return EnvError(
        f"the environment returned an observation that does not fit its space {space}{cause}; fix the space "
        "or the observation"
    )


def _wrong_size(space: gym.Space[Any], what: str, size: int, declared: int) -> EnvError:
    return EnvError(
        f"the environment returned {what} of {size} numbers, but its space {space} declares {declared}: fix "
        "the space or the observation"
    )


def _not_finite(env: int, value: str, where: Where) -> EnvError:
    return EnvError(
        f"environment {env} returned the {value}, {where(env)}: fix the environment; the transitions "
        "collected before are kept"
    )
