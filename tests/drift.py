"""A point in wind, for `python benchmarks/learning.py --env drift:PointDrift-v0` and the like."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, MultiDiscrete

STEPS, SPEED, WIND = 50, 0.1, 0.08


class PointDrift(gym.Env[Any, Any]):
    """A point in the square [-1, 1]^2 moves to a goal against a wind that is constant in an episode.

    The reward is minus the distance to the goal. Place, goal and wind are uniform.

    Args:
        wind: whether observations have the key "wind".
        levels: None for actions in a Box, else the number of values that each of two discrete actions has.
    """

    def __init__(self, wind: bool = True, levels: int | None = None) -> None:
        self.shows_wind, self.levels = wind, levels
        spaces = {"place": Box(-1.0, 1.0, (2,), np.float32), "goal": Box(-1.0, 1.0, (2,), np.float32)}
        if wind:
            spaces["wind"] = Box(-WIND, WIND, (2,), np.float32)
        self.observation_space = Dict(spaces)
        self.action_space: Any = (
            Box(-1.0, 1.0, (2,), np.float32) if levels is None else MultiDiscrete([levels, levels])
        )

    def observe(self) -> dict[str, Any]:
        """The current observation."""
        parts = {"place": self.place, "goal": self.goal, "wind": self.wind}
        return {name: parts[name].astype(np.float32) for name in self.observation_space.spaces}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        self.wind = self.np_random.uniform(-WIND, WIND, 2)
        self.t = 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        push = np.asarray(action, np.float64)
        if self.levels is not None:
            push = 2 * push / (self.levels - 1) - 1
        self.place = np.clip(self.place + SPEED * push + self.wind, -1, 1)
        return self.observe(), -float(np.linalg.norm(self.place - self.goal)), False, self.t >= STEPS, {}


gym.register("PointDrift-v0", PointDrift)
gym.register("PointDriftHidden-v0", PointDrift, kwargs={"wind": False})
gym.register("PointDriftDiscrete-v0", PointDrift, kwargs={"levels": 5})
