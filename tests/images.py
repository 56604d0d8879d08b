"""Environments that observe images."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete


class Noise(gym.Env[Any, Any]):
    """Random pixels in one of the forms of FORMS; episodes of random length."""

    def __init__(self, form: str = "last", discrete: bool = False) -> None:
        self.observation_space = copy.deepcopy(FORMS[form])  # whose generator is its own
        self.action_space = Discrete(3) if discrete else Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.observation_space.seed(int(self.np_random.integers(2**31)))
        self.steps, self.length = 0, int(self.np_random.integers(1, 9))
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        reward = float(np.sum(action))
        ended = self.steps >= self.length
        return self.observation_space.sample(), reward, ended and self.length % 2 == 0, ended, {}


FORMS: dict[str, Any] = {
    "last": Box(0, 255, (16, 17, 3), np.uint8),
    "first": Box(0, 255, (3, 16, 17), np.uint8),
    "gray": Box(0, 255, (16, 17), np.uint8),
    "dict": Dict(
        camera=Box(0, 255, (16, 17, 1), np.uint8),
        mode=Discrete(3),
        position=Box(-1, 1, (2,), np.float64),
    ),
}

gym.register("Noise-v0", entry_point=Noise)
