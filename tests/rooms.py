"""A small environment with discrete actions that many tests share."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.spaces import Discrete


class Rooms(gym.Env[Any, Any]):
    """Two rooms; action `start` + 1 changes the room, the other two stay; the second room pays 1."""

    observation_space = Discrete(2)

    def __init__(self, start: int = 0) -> None:
        self.action_space: Any = Discrete(3, start=start)
        self.start = start

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.room, self.t = 0, 0
        return self.room, {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.t += 1
        self.room = 1 - self.room if action == self.start + 1 else self.room
        return self.room, float(self.room), False, self.t >= 10, {}
