"""Parts to build an actor-critic from, with the names and arguments of Spinning Up."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import Tensor, nn

from spinup.pytorch.losses import squashed_gaussian
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.networks.actors import SquashedGaussianActor
from spinup.pytorch.networks.mlp import MLPQFunction

__all__ = [
    "MLPActorCritic", "MLPQFunction", "SquashedGaussianMLPActor", "combined_shape", "count_vars", "mlp",
]  # fmt: skip


class SquashedGaussianMLPActor(SquashedGaussianActor):
    """The squashed Gaussian policy with the same bound for all actions.

    Args:
        obs_dim, act_dim: sizes of an observation and of an action.
        hidden_sizes: widths of the hidden layers.
        activation: class of the activation after each of them.
        act_limit: actions are between -act_limit and act_limit.
    """

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        hidden_sizes: Sequence[int],
        activation: type[nn.Module],
        act_limit: float,
    ) -> None:
        bounds = Box(-float(act_limit), float(act_limit), (act_dim,), np.float32)
        super().__init__(obs_dim, bounds, hidden_sizes, activation)

    def forward(  # type: ignore[override]
        self, obs: Tensor, deterministic: bool = False, with_logprob: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Actions (..., act_dim) in the environment's units, and log pi in tanh space (...,), or None.

        Args:
            obs: observations, (..., obs_dim).
            deterministic: whether to return the squashed mean instead of a sample.
            with_logprob: whether to compute log pi.
        """
        mu, log_std = self.distribution(obs)
        noise = torch.zeros_like(mu) if deterministic else torch.randn_like(mu)
        squashed, logp = squashed_gaussian(mu, log_std, noise)
        return self.to_env_units(squashed), logp if with_logprob else None


def mlp(
    sizes: Sequence[int], activation: type[nn.Module], output_activation: type[nn.Module] = nn.Identity
) -> nn.Sequential:
    """A multi-layer perceptron of these layer sizes, with `output_activation` after the last layer."""
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1], output_activation())


def count_vars(module: nn.Module) -> int:
    """The number of parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def combined_shape(length: int, shape: Any = None) -> tuple[int, ...]:
    """The shape of `length` rows; `shape` is None for numbers, a vector's size, or an array's shape."""
    row = () if shape is None else (shape,) if np.isscalar(shape) else shape
    return (length, *row)
