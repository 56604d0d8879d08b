"""Environments with goals: one whose stored rows can be checked, and a point that must reach a place."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict


class GoalDiary(gym.Env[Any, Any]):
    """Observes 1000 * episode + step, also as the achieved goal; the desired goal is -1 - episode.

    Episode k lasts `lengths[k % len(lengths)]` steps and is truncated then.
    """

    observation_space = Dict(
        {
            "observation": Box(-np.inf, np.inf, (2,), np.float32),
            "achieved_goal": Box(-np.inf, np.inf, (1,), np.float32),
            "desired_goal": Box(-np.inf, np.inf, (1,), np.float32),
        }
    )
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self, lengths: tuple[int, ...] = (3, 5, 1, 4)) -> None:
        self.lengths, self.episode, self.t = lengths, -1, 0

    def observe(self) -> Any:
        """The observation of this moment."""
        now = np.array([1000 * self.episode + self.t], np.float32)
        return {
            "observation": np.array([self.episode, self.t], np.float32),
            "achieved_goal": now,
            "desired_goal": np.array([-1 - self.episode], np.float32),
        }

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """Minus the distance: it tells which goals were compared."""
        return -np.abs(achieved_goal - desired_goal)[..., 0]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.episode, self.t = self.episode + 1, 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        seen = self.observe()
        reward = float(self.compute_reward(seen["achieved_goal"], seen["desired_goal"], {}))
        over = self.t >= self.lengths[self.episode % len(self.lengths)]
        return seen, reward, False, over, {}


class PointReach(gym.Env[Any, Any]):
    """A point in the square [-1, 1]^2 moves by at most 0.1 a step and pays 1 per step away from its goal.

    Place and goal are uniform; the goal is a disk of radius 0.05, 1/500 of the square.
    """

    observation_space = Dict(
        {
            "observation": Box(-1.0, 1.0, (2,), np.float32),
            "achieved_goal": Box(-1.0, 1.0, (2,), np.float32),
            "desired_goal": Box(-1.0, 1.0, (2,), np.float32),
        }
    )
    action_space = Box(-1.0, 1.0, (2,), np.float32)

    def __init__(self, steps: int = 50) -> None:
        self.steps = steps

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """0 within 0.05 of the goal, else -1."""
        return np.where(np.linalg.norm(achieved_goal - desired_goal, axis=-1) < 0.05, 0.0, -1.0)

    def observe(self) -> Any:
        """The observation of this moment."""
        place = self.place.astype(np.float32)
        return {"observation": place, "achieved_goal": place, "desired_goal": self.goal.astype(np.float32)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.place, self.goal = self.np_random.uniform(-1, 1, (2, 2))
        self.t = 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        self.place = np.clip(self.place + 0.1 * np.asarray(action, np.float64), -1, 1)
        seen = self.observe()
        reward = float(self.compute_reward(seen["achieved_goal"], seen["desired_goal"], {}))
        return seen, reward, False, self.t >= self.steps, {}


# For `python benchmarks/learning.py --env goals:PointReach-v0`.
gym.register("PointReach-v0", PointReach)
