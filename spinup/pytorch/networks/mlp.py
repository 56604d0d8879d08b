"""Multi-layer perceptrons, and critics made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from spinup.pytorch.networks.layers import Dropout, Residual, RMSNorm, normalization

EXPANSION = 4  # width of a residual block's hidden layer, relative to the block's width


@dataclass(frozen=True)
class HiddenLayers:
    """The hidden layers of a network.

    Args:
        sizes: widths of the layers; with `residual`, one entry per block, all equal.
        activation: class of the activation.
        norm: None, or normalization by "layer", "batch" or "batch_renorm", see `layers`.
        dropout: probability with which dropout zeroes a value.
        residual: whether to use residual blocks in place of plain layers.
    """

    sizes: Sequence[int] = (256, 256)
    activation: type[nn.Module] = nn.ReLU
    norm: str | None = None
    dropout: float = 0.0
    residual: bool = False

    def layers(self, inputs: int) -> list[nn.Module]:
        """The layers, from values (B, inputs) to (B, self.width(inputs)).

        Plain: linear, activation; with LayerNorm and dropout: linear, dropout, LayerNorm, activation (DroQ,
        Hiraoka et al. 2022); with batch statistics: a normalization before the first layer and after each
        activation (CrossQ, Bhatt et al. 2024). Residual: a linear layer, the blocks, a normalization.
        """
        if self.residual:
            return self._residual(inputs)
        by_batch = self._by_batch()
        found: list[nn.Module] = [self._norm(inputs)] if by_batch else []
        for size in self.sizes:
            found += [nn.Linear(inputs, size), *self._dropout()]
            found += [self._norm(size)] if self.norm == "layer" else []
            found += [self.activation()]
            found += [self._norm(size)] if by_batch else []
            inputs = size
        return found

    def width(self, inputs: int) -> int:
        """The size of the last hidden layer; `inputs` if there is none."""
        return self.sizes[-1] if self.sizes else inputs

    def _residual(self, inputs: int) -> list[nn.Module]:
        """SimBa's blocks, x + W2 relu(W1 LayerNorm(x)) (Lee et al. 2025); with batch norms, FlashSAC's."""
        size = self.width(inputs)
        if self._by_batch():
            first: list[nn.Module] = [self._norm(inputs), nn.Linear(inputs, size, bias=False)]
            return [*first, *(self._batch_block(size) for _ in self.sizes), RMSNorm(size)]
        norm = [] if self.norm is None else [self._norm(size)]
        return [nn.Linear(inputs, size), *(self._layer_block(size) for _ in self.sizes), *norm]

    def _layer_block(self, size: int) -> Residual:
        norm = [] if self.norm is None else [self._norm(size)]
        wide = size * EXPANSION
        inner = [nn.Linear(size, wide), *self._dropout(), self.activation()]
        return Residual(*norm, *inner, nn.Linear(wide, size))

    def _batch_block(self, size: int) -> Residual:
        wide = size * EXPANSION
        first = [nn.Linear(size, wide, bias=False), self._norm(wide), *self._dropout(), self.activation()]
        return Residual(*first, nn.Linear(wide, size, bias=False), self._norm(size), self.activation())

    def _by_batch(self) -> bool:
        return self.norm is not None and self.norm.startswith("batch")

    def _norm(self, size: int) -> nn.Module:
        assert self.norm is not None
        return normalization(self.norm, size)

    def _dropout(self) -> list[nn.Module]:
        return [Dropout(self.dropout)] if self.dropout else []


def network(
    inputs: int, outputs: int, hidden_sizes: Sequence[int], activation: type[nn.Module], **options: Any
) -> nn.Sequential:
    """Hidden layers and a linear output layer, from (B, inputs) to (B, outputs).

    Args:
        inputs, outputs: sizes of a row.
        hidden_sizes: widths of the hidden layers.
        activation: class of the activation.
        options: other options of `HiddenLayers`: `norm`, `dropout`, `residual`.
    """
    hidden = HiddenLayers(hidden_sizes, activation, **options)
    return nn.Sequential(*hidden.layers(inputs), nn.Linear(hidden.width(inputs), outputs))


class MLPQFunction(nn.Module):
    """Q(s, a): a perceptron on the concatenation of observation and action.

    Args:
        obs_dim, act_dim: lengths of an observation and an action.
        hidden_sizes, activation, options: see `network`.
    """

    def __init__(
        self,
        obs_dim: int,
        act_dim: int,
        hidden_sizes: Sequence[int],
        activation: type[nn.Module],
        **options: Any,
    ) -> None:
        super().__init__()
        self.q = network(obs_dim + act_dim, 1, hidden_sizes, activation, **options)

    def forward(self, obs: Tensor, act: Tensor) -> Tensor:
        """Values (B,) of observations (B, obs_dim) and actions (B, act_dim)."""
        return self.q(torch.cat([obs, act], -1)).squeeze(-1)  # type: ignore[no-any-return]


class MLPDiscreteQFunction(nn.Module):
    """Q(s, .): a perceptron with one output per action (Christodoulou 2019).

    Args:
        obs_dim: length of an observation.
        n: number of actions.
        hidden_sizes, activation, options: see `network`.
    """

    def __init__(
        self, obs_dim: int, n: int, hidden_sizes: Sequence[int], activation: type[nn.Module], **options: Any
    ) -> None:
        super().__init__()
        self.q = network(obs_dim, n, hidden_sizes, activation, **options)

    def forward(self, obs: Tensor) -> Tensor:
        """Values (B, n) of all actions at observations (B, obs_dim)."""
        return self.q(obs)  # type: ignore[no-any-return]


class MLPValueFunction(nn.Module):
    """V(s): a perceptron on the observation (Haarnoja et al. 2018a).

    Args:
        obs_dim: length of an observation.
        hidden_sizes, activation, options: see `network`.
    """

    def __init__(
        self, obs_dim: int, hidden_sizes: Sequence[int], activation: type[nn.Module], **options: Any
    ) -> None:
        super().__init__()
        self.v = network(obs_dim, 1, hidden_sizes, activation, **options)

    def forward(self, obs: Tensor) -> Tensor:
        """Values (B,) of observations (B, obs_dim)."""
        return self.v(obs).squeeze(-1)  # type: ignore[no-any-return]


class Ensemble(nn.ModuleList):
    """N critics called together."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """The critics' values, stacked: (N, B), or (N, B, n) for discrete actions."""
        return torch.stack([critic(*inputs) for critic in self])

    def distributions(self, *inputs: Tensor) -> Tensor:
        """The n outputs of each distributional critic, stacked: (N, B, n)."""
        return torch.stack([critic.distribution(*inputs) for critic in self])  # type: ignore[operator]
