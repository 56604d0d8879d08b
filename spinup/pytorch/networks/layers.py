"""Layers used between linear layers: batch normalization and renormalization, dropout, residual blocks.

Batch statistics and dropout apply only while `active` is set, which the losses do for a forward pass (see
`modes`); `train()` and `eval()` do not change it. Acting, tests and loaded models therefore use the running
statistics and no dropout.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

NORMS = ("layer", "batch", "batch_renorm")


@final
class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014): while active, zeroes values with probability p, scales the others."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.active = p, False

    def forward(self, x: Tensor) -> Tensor:
        """x, (..., n), with dropout while active."""
        return functional.dropout(x, self.p, self.active)


class BatchNorm(nn.Module):
    """Batch normalization (Ioffe & Szegedy 2015) of (B, n).

    While active, it uses the mean and variance of the batch, and updates the running ones with weight
    `momentum`; otherwise it uses the running ones.

    Args:
        size: n.
        momentum: weight of the newest batch in the running statistics.
        eps: added to variances.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, size: int, momentum: float = 0.01, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.register_buffer("running_mean", torch.zeros(size))
        self.register_buffer("running_var", torch.ones(size))
        self.momentum, self.eps, self.active = momentum, eps, False

    def forward(self, x: Tensor) -> Tensor:
        """The normalized values, (B, n)."""
        mean, var = self.statistics(x) if self.active else (self.running_mean, self.running_var)
        return (x - mean) * (var + self.eps).rsqrt() * self.weight + self.bias

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and variance (n,) to normalize a batch by; also updates the running ones."""
        mean, var = x.mean(0), x.var(0, correction=0)
        self._follow(mean, var)
        return mean, var

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor) -> None:
        self.running_mean.lerp_(mean.detach(), self.momentum)
        self.running_var.lerp_(var.detach(), self.momentum)


@final
class BatchRenorm(BatchNorm):
    """Batch renormalization (Ioffe 2017) of (B, n), as CrossQ uses it (Bhatt et al. 2024).

    While active, the batch's mean and deviation are corrected by r = std / running std, clipped to
    [1/3, 3], and d = (mean - running mean) / running std, clipped to [-5, 5], both without gradient, so that
    the result is close to what the running statistics give. The first `warm_up` batches are not corrected.
    """

    R_MAX, D_MAX = 3.0, 5.0
    batches: Tensor

    def __init__(self, size: int, momentum: float = 0.01, eps: float = 1e-3, warm_up: int = 100_000) -> None:
        super().__init__(size, momentum, eps)
        self.warm_up = warm_up
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The corrected mean and variance (n,) to normalize a batch by."""
        mean, var = x.mean(0), x.var(0, correction=0)
        with torch.no_grad():
            running_std = (self.running_var + self.eps).sqrt()
            r = ((var + self.eps).sqrt() / running_std).clamp(1.0 / self.R_MAX, self.R_MAX)
            d = ((mean - self.running_mean) / running_std).clamp(-self.D_MAX, self.D_MAX)
            corrects = (self.batches >= self.warm_up).to(x.dtype)
            r, d = 1.0 + corrects * (r - 1.0), corrects * d
            self.batches += 1
        self._follow(mean, var)
        # (x - mean) / std * r + d, as a mean and a variance; eps is added to the latter afterwards.
        std = (var + self.eps).sqrt()
        return mean - d * std / r, (std / r).square() - self.eps


@final
class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis (Zhang & Sennrich 2019), (..., n)."""

    def __init__(self, size: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x: Tensor) -> Tensor:
        """The normalized values, (..., n)."""
        return x * (x.square().mean(-1, keepdim=True) + self.eps).rsqrt() * self.weight


@final
class Residual(nn.Module):
    """x + f(x), where f is a sequence of layers whose output has the shape of x."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """x + f(x)."""
        return x + self.layers(x)  # type: ignore[no-any-return]


def normalization(kind: str, size: int) -> nn.Module:
    """The normalization layer called `kind`, one of NORMS, for (B, size)."""
    if kind == "layer":
        return nn.LayerNorm(size)
    return BatchNorm(size) if kind == "batch" else BatchRenorm(size)


def _truncated_normal(weight: Tensor, gain: float) -> None:
    """Normal with variance gain / inputs, truncated at two standard deviations, as flax initializes."""
    std = (gain / weight.shape[1]) ** 0.5 / 0.87962566  # the truncation reduces the standard deviation
    nn.init.trunc_normal_(weight, std=std, a=-2.0 * std, b=2.0 * std)


_LECUN_NORMAL = partial(_truncated_normal, gain=1.0)
_HE_NORMAL = partial(_truncated_normal, gain=2.0)
# For each name, the initialization of weights outside and inside of residual blocks.
INITS: dict[str, tuple[Callable[[Tensor], Any], Callable[[Tensor], Any]]] = {
    "xavier_uniform": (nn.init.xavier_uniform_, nn.init.xavier_uniform_),
    "lecun_normal": (_LECUN_NORMAL, _LECUN_NORMAL),
    "orthogonal": (nn.init.orthogonal_, nn.init.orthogonal_),
    "simba": (nn.init.orthogonal_, _HE_NORMAL),
}


@torch.no_grad()
def initialize(module: nn.Module, init: str) -> None:
    """Initialize the weights of all linear layers in place, and set their biases to 0.

    Args:
        module: a network.
        init: "xavier_uniform" (Glorot & Bengio 2010), "lecun_normal" (variance 1 / inputs, flax's default),
            "orthogonal" (Saxe et al. 2014), or "simba": orthogonal, but He's normal initialization (variance
            2 / inputs) in residual blocks (Lee et al. 2025).
    """
    outside, inside = INITS[init]
    blocks = [block for block in module.modules() if isinstance(block, Residual)]
    inner = {layer for block in blocks for layer in block.modules()}
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            (inside if layer in inner else outside)(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


@torch.no_grad()
def normalize_weights(module: nn.Module) -> None:
    """Scale, in place, each row of each linear layer's weight to norm 1.

    The concatenated scale and bias of a batch normalization are scaled to norm sqrt(n), and so is the scale
    of an RMS normalization, as in FlashSAC. Otherwise, weights could grow without changing the function that
    the network computes.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.div_(layer.weight.norm(dim=1, keepdim=True).clamp_min(1e-8))
        elif isinstance(layer, BatchNorm):
            scale = (layer.weight.square().sum() + layer.bias.square().sum() + 1e-8).rsqrt()
            scale = scale * len(layer.weight) ** 0.5
            layer.weight.mul_(scale)
            layer.bias.mul_(scale)
        elif isinstance(layer, RMSNorm):
            layer.weight.mul_((len(layer.weight) / (layer.weight.square().sum() + 1e-8)).sqrt())
