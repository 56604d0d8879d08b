"""Discrete actions: the action space chooses the variant: python discrete_actions.py [EPOCHS]"""

import sys

import torch

import spinup
from spinup.utils.test_policy import load_policy_and_env

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 10

ac = spinup.sac_pytorch(
    "CartPole-v1",
    ac_kwargs=dict(hidden_sizes=(64, 64)),
    gamma=0.995,
    alpha="auto",  # towards an entropy of 0.3 log n for n actions
    steps_per_epoch=1000,
    epochs=EPOCHS,
    start_steps=500,
    update_after=500,
    num_test_episodes=3,
    logger_kwargs=dict(output_dir="data/cartpole"),
)
probabilities, _ = ac.pi(torch.zeros(1, 4))  # (batch, n), and their logarithms
print("probabilities", probabilities.tolist(), "values", ac.q1(torch.zeros(1, 4)).tolist())

env, get_action = load_policy_and_env("data/cartpole")  # get_action takes what the environment gives
obs, _ = env.reset(seed=0)
steps, over = 0, False
while not over:
    obs, _, terminated, truncated, _ = env.step(get_action(obs))
    steps, over = steps + 1, terminated or truncated
print(f"balanced for {steps} steps")
