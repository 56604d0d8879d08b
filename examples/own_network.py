"""Train networks of your own, and load them again: python own_network.py [EPOCHS]"""

import sys

import torch
from torch import nn

import spinup
from spinup.pytorch.losses import squashed_gaussian

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


def mlp(inputs, outputs, width):
    return nn.Sequential(nn.Linear(inputs, width), nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, outputs))


class Policy(nn.Module):
    def __init__(self, obs_dim, space, width):
        super().__init__()
        self.net = mlp(obs_dim, 2 * space.shape[0], width)
        self.register_buffer("low", torch.as_tensor(space.low))
        self.register_buffer("high", torch.as_tensor(space.high))

    def forward(self, obs, noise=None):  # actions (batch, act_dim) and their log-probabilities (batch,)
        mean, log_std = self.net(obs).chunk(2, -1)
        noise = torch.randn_like(mean) if noise is None else noise
        action, log_prob = squashed_gaussian(mean, log_std.clamp(-20, 2), noise)
        return self.scaled(action), log_prob

    def mean_action(self, obs):  # also what `spinup export` writes
        return self.scaled(torch.tanh(self.net(obs).chunk(2, -1)[0]))

    def scaled(self, action):
        return self.low + (action + 1) / 2 * (self.high - self.low)


class Critic(nn.Module):
    def __init__(self, obs_dim, act_dim, width):
        super().__init__()
        self.net = mlp(obs_dim + act_dim, 1, width)

    def forward(self, obs, action):
        return self.net(torch.cat([obs, action], -1)).squeeze(-1)  # (batch,), never (batch, 1)


class MyActorCritic(nn.Module):
    def __init__(self, observation_space, action_space, width=64):
        super().__init__()
        obs_dim, act_dim = observation_space.shape[0], action_space.shape[0]
        self.pi = Policy(obs_dim, action_space, width)
        self.q1, self.q2 = Critic(obs_dim, act_dim, width), Critic(obs_dim, act_dim, width)

    @torch.no_grad()
    def act(self, obs, deterministic=False):
        obs = torch.as_tensor(obs, dtype=torch.float32)
        return (self.pi.mean_action(obs) if deterministic else self.pi(obs)[0]).numpy()


spinup.register_actor_critic(MyActorCritic)  # so that model.pt loads
settings = dict(steps_per_epoch=1000, start_steps=500, update_after=500, num_test_episodes=2)
logger_kwargs = dict(output_dir="data/own_network")
spinup.sac_pytorch(
    "Pendulum-v1", MyActorCritic, dict(width=64), epochs=EPOCHS, logger_kwargs=logger_kwargs, **settings
)
ac = torch.load("data/own_network/pyt_save/model.pt")
print("action", ac.act(torch.zeros(3), deterministic=True))
