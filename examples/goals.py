"""Sparse reward with hindsight goals (HER): python goals.py [EPOCHS]"""

import sys

import gymnasium as gym
import numpy as np

import spinup

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 6
PLACE = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)


class Reach(gym.Env):
    """A point moves to a goal; the reward is 0 within 0.1 of it and -1 elsewhere."""

    observation_space = gym.spaces.Dict(observation=PLACE, achieved_goal=PLACE, desired_goal=PLACE)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def compute_reward(self, achieved_goal, desired_goal, info):
        """Rewards of n pairs of goals, (n, 2) to (n,): HER asks for many at once."""
        return -(np.linalg.norm(achieved_goal - desired_goal, axis=-1) > 0.1).astype(np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.point, self.goal = self.np_random.uniform(-1, 1, (2, 2)).astype(np.float32)
        return self.observed(), {}

    def step(self, action):
        self.point = np.clip(self.point + 0.1 * action, -1, 1).astype(np.float32)
        reward = float(self.compute_reward(self.point, self.goal, {}))
        return self.observed(), reward, False, False, {}

    def observed(self):
        return dict(observation=self.point, achieved_goal=self.point, desired_goal=self.goal)


spinup.sac_pytorch(
    lambda: gym.wrappers.TimeLimit(Reach(), 50),
    ac_kwargs=dict(hidden_sizes=(64, 64)),
    sampler="her",
    gamma=0.95,
    alpha="auto_0.1",
    steps_per_epoch=1000,
    epochs=EPOCHS,
    start_steps=500,
    update_after=500,
    num_test_episodes=20,
    logger_kwargs=dict(output_dir="data/reach"),
)
