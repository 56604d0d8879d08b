"""Multi-layer perceptrons, and critics made of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def mlp(sizes: Sequence[int], activation: type[nn.Module], *, activate_last: bool = False) -> nn.Sequential:
    """A multi-layer perceptron with an activation after every layer, the last one only if asked."""
    layers: list[nn.Module] = []
    for i in range(len(sizes) - 1):
        layers.append(nn.Linear(sizes[i], sizes[i + 1]))
        if activate_last or i < len(sizes) - 2:
            layers.append(activation())
    return nn.Sequential(*layers)


class MLPQFunction(nn.Module):
    """Q(s, a): a perceptron on the concatenation of observation and action."""

    def __init__(
        self, obs_dim: int, act_dim: int, hidden_sizes: Sequence[int], activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.q = mlp([obs_dim + act_dim, *hidden_sizes, 1], activation)

    def forward(self, obs: Tensor, act: Tensor) -> Tensor:
        """Values (B,) of observations (B, obs_dim) and actions (B, act_dim)."""
        return self.q(torch.cat([obs, act], -1)).squeeze(-1)  # type: ignore[no-any-return]


class MLPDiscreteQFunction(nn.Module):
    """Q(s, .): a perceptron with one output per action."""

    def __init__(
        self, obs_dim: int, n: int, hidden_sizes: Sequence[int], activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.q = mlp([obs_dim, *hidden_sizes, n], activation)

    def forward(self, obs: Tensor) -> Tensor:
        """Values (B, n) of all actions at observations (B, obs_dim)."""
        return self.q(obs)  # type: ignore[no-any-return]


class MLPValueFunction(nn.Module):
    """V(s): a perceptron on the observation."""

    def __init__(self, obs_dim: int, hidden_sizes: Sequence[int], activation: type[nn.Module]) -> None:
        super().__init__()
        self.v = mlp([obs_dim, *hidden_sizes, 1], activation)

    def forward(self, obs: Tensor) -> Tensor:
        """Values (B,) of observations (B, obs_dim)."""
        return self.v(obs).squeeze(-1)  # type: ignore[no-any-return]


class Ensemble(nn.ModuleList):
    """N critics called together."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """The critics' values, stacked: (N, B), or (N, B, n) for discrete actions."""
        return torch.stack([critic(*inputs) for critic in self])
