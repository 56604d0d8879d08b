"""Policies whose input is computed from the observation."""

from __future__ import annotations

import abc
from typing import Any

from torch import Tensor, nn


class PolicyInput(nn.Module, abc.ABC):
    """Applies `select` to observations, and the policy `module` to the result."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    @abc.abstractmethod
    def select(self, obs: Tensor) -> Tensor:
        """The policy's input, computed from observations (..., obs_dim)."""

    def forward(self, obs: Tensor) -> Any:
        """The policy's output for `select(obs)`."""
        return self.module(self.select(obs))

    def mean_action(self, obs: Tensor) -> Tensor:
        """The deterministic action of a squashed Gaussian policy."""
        module: Any = self.module
        action: Tensor = module.mean_action(self.select(obs))
        return action


class NoisyPolicyInput(PolicyInput):
    """A `PolicyInput` whose policy takes `noise`."""

    def forward(self, obs: Tensor, noise: Tensor | None = None) -> Any:
        """The policy's output for `select(obs)` and `noise`."""
        return self.module(self.select(obs), noise=noise)
