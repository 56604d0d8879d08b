"""The documented call: train, load what it saved, act: python train.py [EPOCHS]"""

import sys

import gymnasium as gym
import torch

import spinup
from spinup.utils.run_utils import setup_logger_kwargs

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

logger_kwargs = setup_logger_kwargs("pendulum", seed=0)  # the folder data/pendulum/pendulum_s0
spinup.sac_pytorch(
    lambda: gym.make("Pendulum-v1"),
    ac_kwargs=dict(hidden_sizes=(64, 64), activation=torch.nn.ReLU),
    seed=0,
    steps_per_epoch=1000,
    epochs=EPOCHS,
    start_steps=500,
    update_after=500,
    num_test_episodes=2,
    logger_kwargs=logger_kwargs,
)

ac = torch.load(f"{logger_kwargs['output_dir']}/pyt_save/model.pt")  # needs `import spinup`
env = gym.make("Pendulum-v1")
obs, _ = env.reset(seed=0)
episode_return, over = 0.0, False
while not over:
    action = ac.act(torch.as_tensor(obs), deterministic=True)  # (obs_dim,) or (batch, obs_dim)
    obs, reward, terminated, truncated, _ = env.step(action)
    episode_return += float(reward)
    over = terminated or truncated
print(f"return {episode_return:.0f}")
