"""Distributional critics: logits of atoms (C51), or quantiles (QR-DQN, TQC), of the return."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from spinup.pytorch.distribution_losses import atom_values
from spinup.pytorch.networks.mlp import network


@final
class CategoricalQFunction(nn.Module):
    """Logits of `count` atoms in equal steps on [-bound, bound] (Bellemare et al. 2017).

    Other options are those of `HiddenLayers`.
    """

    atoms: Tensor

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        hidden_sizes: Sequence[int],
        activation: type[nn.Module],
        count: int = 101,
        bound: float = 5.0,
        **options: Any,
    ) -> None:
        super().__init__()
        self.q = network(obs_dim + act_dim, count, hidden_sizes, activation, **options)
        self.register_buffer("atoms", torch.linspace(-bound, bound, count), persistent=False)

    def forward(self, obs: Tensor, act: Tensor) -> Tensor:
        """Mean values (B,) of observations (B, obs_dim) and actions (B, act_dim)."""
        return atom_values(self.distribution(obs, act), self.atoms)

    def distribution(self, obs: Tensor, act: Tensor) -> Tensor:
        """The logits of the atoms, (B, n)."""
        return self.q(torch.cat([obs, act], -1))  # type: ignore[no-any-return]


@final
class QuantileQFunction(nn.Module):
    """`count` quantiles of the return (Dabney et al. 2018). Other options are those of `HiddenLayers`."""

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        hidden_sizes: Sequence[int],
        activation: type[nn.Module],
        count: int = 25,
        **options: Any,
    ) -> None:
        super().__init__()
        self.q = network(obs_dim + act_dim, count, hidden_sizes, activation, **options)

    def forward(self, obs: Tensor, act: Tensor) -> Tensor:
        """Mean values (B,) of observations (B, obs_dim) and actions (B, act_dim)."""
        return self.distribution(obs, act).mean(-1)

    def distribution(self, obs: Tensor, act: Tensor) -> Tensor:
        """The quantiles, (B, n)."""
        return self.q(torch.cat([obs, act], -1))  # type: ignore[no-any-return]
