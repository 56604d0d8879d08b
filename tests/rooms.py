"""A small environment with discrete actions, and a user's actor-critic for it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import torch
from gymnasium.spaces import Discrete
from torch import nn


class Rooms(gym.Env[Any, Any]):
    """Two states; action `start` + 1 changes the state, the other two do not; the second state pays 1."""

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


class LinearPolicy(nn.Module):
    """A softmax over a linear map of the observation."""

    def __init__(self, obs_dim: int, n: int) -> None:
        super().__init__()
        self.linear = nn.Linear(obs_dim, n)

    def forward(self, obs: Any) -> Any:
        """Probabilities and their logarithms, each (B, n)."""
        logp = torch.log_softmax(self.linear(obs), -1)
        return logp.exp(), logp


class LinearActorCritic(nn.Module):
    """A user's discrete actor-critic that has the documented methods and nothing else."""

    def __init__(self, obs_dim: int, n: int) -> None:
        super().__init__()
        self.pi = LinearPolicy(obs_dim, n)
        self.q1, self.q2 = nn.Linear(obs_dim, n), nn.Linear(obs_dim, n)

    def act(self, obs: Any, deterministic: bool = False) -> Any:
        """The protocol's act, drawing from torch's global generator."""
        with torch.no_grad():
            probs = self.pi(obs)[0]
            return (probs.argmax(-1) if deterministic else torch.multinomial(probs, 1)[:, 0]).numpy()


def linear_module(observation_space: Any, action_space: Any) -> LinearActorCritic:
    """A constructor for `sac_pytorch`."""
    return LinearActorCritic(observation_space.shape[0], int(action_space.n))
