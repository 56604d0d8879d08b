"""The default networks: a squashed Gaussian policy and two critics."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.pytorch.losses import squashed_gaussian

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


def mlp(sizes: Sequence[int], activation: type[nn.Module], *, activate_last: bool = False) -> nn.Sequential:
    """A multi-layer perceptron with an activation after every layer, the last one only if asked."""
    layers: list[nn.Module] = []
    for i in range(len(sizes) - 1):
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
        if activate_last or i < len(sizes) - 2:
            layers.append(activation())
    return nn.Sequential(*layers)


class FreeVector(nn.Module):
    """A learned vector that does not depend on the input: state-independent log stds."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((size,), -0.5))

    def forward(self, x: Tensor) -> Tensor:
        """The vector for each row of x: (..., size)."""
        return self.value.expand(*x.shape[:-1], -1)


class SquashedGaussianActor(nn.Module):
    """tanh of a Gaussian, mapped affinely to the action space's bounds (equation 5).

    The trunk's last hidden layer is activated too; two linear heads give mean and log std, the latter
    clamped to [-20, 2]. Bounds may differ per dimension and need not be symmetric.
    """

    low: Tensor
    high: Tensor
    center: Tensor
    half_range: Tensor

    def __init__(
        self,
        obs_dim: int,
        action_space: Box,
        hidden_sizes: Sequence[int],
        activation: type[nn.Module],
        state_dependent_std: bool = True,
    ) -> None:
        super().__init__()
        act_dim = math.prod(action_space.shape)
        self.net = mlp([obs_dim, *hidden_sizes], activation, activate_last=True)
        width = hidden_sizes[-1] if hidden_sizes else obs_dim
        self.mu_layer = nn.Linear(width, act_dim)
        self.log_std_layer = nn.Linear(width, act_dim) if state_dependent_std else FreeVector(act_dim)
        low = torch.as_tensor(action_space.low, dtype=torch.float64).flatten()
        high = torch.as_tensor(action_space.high, dtype=torch.float64).flatten()
        for name, bound in (
            ("low", low), ("high", high), ("center", (low + high) / 2), ("half_range", (high - low) / 2),
        ):  # fmt: skip
            self.register_buffer(name, bound.to(torch.get_default_dtype()), persistent=False)

    def distribution(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log std of the Gaussian before squashing, each (..., act_dim)."""
        h = self.net(obs)
        return self.mu_layer(h), self.log_std_layer(h).clamp(LOG_STD_MIN, LOG_STD_MAX)

    def to_env_units(self, squashed: Tensor) -> Tensor:
        """Map (-1, 1) to [low, high] per dimension; clipped, as rounding can pass a bound by one ulp."""
        return torch.clamp(self.center + self.half_range * squashed, self.low, self.high)

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Sample actions by the reparameterisation of equation 5.

        Args:
            obs: observations, (B, obs_dim).
            noise: standard normal noise, (B, act_dim); drawn from torch's generator if absent.

        Returns:
            Actions in the environment's units, (B, act_dim), and log pi in tanh space, (B,).
        """
        mu, log_std = self.distribution(obs)
        xi = torch.randn_like(mu) if noise is None else noise
        squashed, logp = squashed_gaussian(mu, log_std, xi)
        return self.to_env_units(squashed), logp

    def mean_action(self, obs: Tensor) -> Tensor:
        """The deterministic action: the squashed mean in the environment's units, (..., act_dim)."""
        return self.to_env_units(torch.tanh(self.mu_layer(self.net(obs))))


class MLPQFunction(nn.Module):
    """Q(o, a): a perceptron on the concatenation of observation and action."""

    def __init__(
        self, obs_dim: int, act_dim: int, hidden_sizes: Sequence[int], activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.q = mlp([obs_dim + act_dim, *hidden_sizes, 1], activation)

    def forward(self, obs: Tensor, act: Tensor) -> Tensor:
        """Values (B,) of observations (B, obs_dim) and actions (B, act_dim)."""
        return self.q(torch.cat([obs, act], -1)).squeeze(-1)  # type: ignore[no-any-return]


class MLPActorCritic(nn.Module):
    """The documented default actor-critic.

    Args:
        observation_space: flat Box, shape (obs_dim,).
        action_space: bounded Box; its bounds scale the actions.
        hidden_sizes: widths of the hidden layers of the policy and of each critic.
        activation: class of the activation between layers.
        state_dependent_std: whether log stds come from a head of the trunk (the documented policy) or
            are one free vector, which the page reports not to work.
    """

    def __init__(
        self,
        observation_space: Space[NDArray[np.float32]],
        action_space: Box,
        hidden_sizes: Sequence[int] = (256, 256),
        activation: type[nn.Module] = nn.ReLU,
        state_dependent_std: bool = True,
    ) -> None:
        super().__init__()
        obs_dim, act_dim = math.prod(observation_space.shape or (0,)), math.prod(action_space.shape)
        self.pi = SquashedGaussianActor(obs_dim, action_space, hidden_sizes, activation, state_dependent_std)
        self.q1 = MLPQFunction(obs_dim, act_dim, hidden_sizes, activation)
        self.q2 = MLPQFunction(obs_dim, act_dim, hidden_sizes, activation)

    @torch.no_grad()
    def act(self, obs: Tensor | NDArray[np.float32], deterministic: bool = False) -> NDArray[np.float32]:
        """Actions in the environment's units, as numpy.

        Args:
            obs: observations (B, obs_dim), or one of shape (obs_dim,); tensor or array.
            deterministic: the squashed mean instead of a sample.

        Returns:
            (B, act_dim), or (act_dim,) for a single observation.
        """
        x = torch.as_tensor(obs, dtype=self.pi.center.dtype, device=self.pi.center.device)
        action = self.pi.mean_action(x) if deterministic else self.pi(x)[0]
        return action.cpu().numpy()
