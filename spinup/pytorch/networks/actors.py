"""Policies: a squashed Gaussian for continuous actions, a categorical one for discrete actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from spinup.pytorch.losses import squashed_gaussian
from spinup.pytorch.networks.mlp import HiddenLayers, network

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


class StateIndependentLogStd(nn.Module):
    """Log stds as a learned vector that does not depend on the observation.

    Args:
        size: length of the vector.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.full((size,), -0.5))

    def forward(self, x: Tensor) -> Tensor:
        """The vector, repeated for each row of x (..., n): (..., size)."""
        return self.value.expand(*x.shape[:-1], -1)


class SquashedGaussianActor(nn.Module):
    """tanh of a Gaussian, mapped affinely to the action space's bounds (equation 5).

    An activation follows each layer of the trunk, including the last; two heads give mean and log std, the
    latter clamped to [-20, 2] or mapped into `log_std_range`. Bounds may differ per dimension and need not be
    symmetric.

    Args:
        obs_dim: length of an observation.
        action_space: bounded; an action has act_dim elements.
        hidden_sizes: widths of the trunk's layers.
        activation: class of the activation.
        state_dependent_std: whether log stds depend on the observation; if not, they are act_dim learned
            numbers with initial value -0.5, as in Spinning Up's PPO.
        log_std_range: an interval (low, high) into which tanh maps log stds; None clamps them to [-20, 2].
        options: other options of `HiddenLayers`.

    Attributes:
        low, high, center, half_range: bounds of actions, their center and half their distance, (act_dim,).
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
        log_std_range: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.log_std_range = log_std_range
        act_dim = math.prod(action_space.shape)
        hidden = HiddenLayers(hidden_sizes, activation, **options)
        self.net = nn.Sequential(*hidden.layers(obs_dim))
        width = hidden.width(obs_dim)
        self.mu_layer = nn.Linear(width, act_dim)
        self.log_std_layer = (
            nn.Linear(width, act_dim) if state_dependent_std else StateIndependentLogStd(act_dim)
        )
        low = torch.as_tensor(action_space.low, dtype=torch.float64).flatten()
        high = torch.as_tensor(action_space.high, dtype=torch.float64).flatten()
        for name, bound in (
            ("low", low), ("high", high), ("center", (low + high) / 2), ("half_range", (high - low) / 2),
        ):  # fmt: skip
            self.register_buffer(name, bound.to(torch.get_default_dtype()), persistent=False)

    def distribution(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log std of the Gaussian before squashing, each (..., act_dim)."""
        h = self.net(obs)
        return self.mu_layer(h), self._bounded(self.log_std_layer(h))

    def _bounded(self, log_std: Tensor) -> Tensor:
        if self.log_std_range is None:
            return log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
        low, high = self.log_std_range
        return low + 0.5 * (high - low) * (1.0 + log_std.tanh())

    def to_env_units(self, squashed: Tensor) -> Tensor:
        """Map (-1, 1) to [low, high] per dimension; clamped, since rounding can exceed a bound by one ulp."""
        return torch.clamp(self.center + self.half_range * squashed, self.low, self.high)

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Sample actions by the reparameterization of equation 5.

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


class CategoricalActor(nn.Module):
    """pi(.|s): a perceptron that ends in one logit per action (Christodoulou 2019).

    Args:
        obs_dim: length of an observation.
        n: number of actions.
        hidden_sizes, activation, options: see `network`.
    """

    def __init__(
        self, obs_dim: int, n: int, hidden_sizes: Sequence[int], activation: type[nn.Module], **options: Any
    ) -> None:
        super().__init__()
        self.logits = network(obs_dim, n, hidden_sizes, activation, **options)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and their logarithms, each (..., n), of observations (..., obs_dim)."""
        logp = torch.log_softmax(self.logits(obs), -1)
        return logp.exp(), logp
