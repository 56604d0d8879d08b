"""One environment, its observations flattened and its returned values held against its spaces."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from spinup.envs.spaces import flat_observation_space
from spinup.errors import EnvError


class FlatEnv(gym.Wrapper[Any, Any, Any, Any]):
    """An environment whose observations are flat and whose returned values fit its spaces.

    What a step tells beside these values is dropped: a vector spends longer on collecting it than a small
    environment on its step, and nothing here reads it.

    Raises:
        EnvError: for a space that cannot be flattened, and for an observation or reward that does not fit.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._space = env.observation_space
        flat_observation_space(self._space)
        self.observation_space = gym.spaces.utils.flatten_space(self._space)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = self.env.reset(seed=seed, options=options)
        return self._flat(observation), info

    def step(self, action: Any) -> Any:
        returned: Any = self.env.step(action)
        observation, reward, terminated, truncated, _ = returned
        if np.shape(reward):
            raise EnvError(
                f"the environment returned a reward of shape {np.shape(reward)}: return a plain number"
            )
        return self._flat(observation), reward, terminated, truncated, {}

    def _flat(self, observation: Any) -> NDArray[Any]:
        try:
            flat: Any = gym.spaces.utils.flatten(self._space, observation)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise EnvError(
                f"the environment returned an observation that does not fit its space {self._space} "
                f"({type(error).__name__}: {error}): mend the space or the observation"
            ) from None
        if flat.shape != self.observation_space.shape:
            raise EnvError(
                f"the environment returned an observation of {flat.size} numbers, but its space "
                f"{self._space} declares {math.prod(self.observation_space.shape or ())}: mend one of them"
            )
        return flat  # type: ignore[no-any-return]
