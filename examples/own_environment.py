"""Train on an environment of your own: python own_environment.py [EPOCHS]"""

import sys

import gymnasium as gym
import numpy as np
from gymnasium.utils.env_checker import check_env

import spinup

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 8


class Cart(gym.Env):
    """A cart on a line is pushed to a place that is drawn for each episode."""

    observation_space = gym.spaces.Box(-20.0, 20.0, (3,), np.float32)  # position, velocity, goal
    action_space = gym.spaces.Box(-1.0, 1.0, (1,), np.float32)  # force

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)  # all randomness is drawn from self.np_random, so that the seed decides it
        self.state = np.array([0.0, 0.0, self.np_random.uniform(-1, 1)], np.float32)
        return self.state.copy(), {}

    def step(self, action):
        self.state[1] += 0.2 * action[0]
        self.state[0] += 0.2 * self.state[1]
        distance = abs(float(self.state[0] - self.state[2]))
        terminated = abs(float(self.state[0])) > 3  # the task's end; the limit of 50 steps truncates
        return self.state.copy(), -distance - 10.0 * terminated, terminated, False, {}


check_env(Cart(), skip_render_check=True)
gym.register("Cart-v0", Cart, max_episode_steps=50)
spinup.sac_pytorch(
    "Cart-v0",  # or a function, such as lambda: TimeLimit(Cart(), 50)
    ac_kwargs=dict(hidden_sizes=(32, 32)),
    alpha="auto",
    steps_per_epoch=500,
    epochs=EPOCHS,
    start_steps=200,
    update_after=200,
    num_test_episodes=5,
    logger_kwargs=dict(output_dir="data/cart"),
)
