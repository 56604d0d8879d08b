"""The entropy coefficient alpha, fixed or learned."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Temperature:
    """The entropy coefficient alpha: fixed, or learned as exp(log_alpha) (equation 8).

    Args:
        alpha: the value of alpha; its initial value if it is learned.
        target_entropy: target of the policy's entropy, in nats; None fixes alpha.
        like: a tensor with the dtype and device that alpha gets.

    Attributes:
        log_alpha: the learned parameter, 0-dim; None if alpha is fixed.
        target_entropy: 0-dim; nan if alpha is fixed.
    """

    def __init__(self, alpha: float, target_entropy: float | None, like: Tensor) -> None:
        start = torch.tensor(alpha, dtype=torch.float64)
        self.log_alpha: nn.Parameter | None = None
        if target_entropy is not None:
            self.log_alpha = nn.Parameter(start.log().to(like.device, like.dtype))
        self._fixed = start.to(like.device, like.dtype)
        logged_target = math.nan if target_entropy is None else target_entropy
        self.target_entropy = torch.tensor(logged_target, dtype=like.dtype, device=like.device)

    def value(self) -> Tensor:
        """alpha, 0-dim, without gradient."""
        return self._fixed if self.log_alpha is None else self.log_alpha.detach().exp()
