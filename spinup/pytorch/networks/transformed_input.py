"""Networks whose input is computed from the observation."""

from __future__ import annotations

import abc
import inspect
from typing import Any

from torch import Tensor, nn


class TransformedInput(nn.Module, abc.ABC):
    """Applies `transform` to observations, and the policy, critic or value network `module` to the result."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    @abc.abstractmethod
    def transform(self, obs: Tensor) -> Tensor:
        """The network's input, computed from observations (..., obs_dim)."""

    def forward(self, obs: Tensor, *args: Any, **kwargs: Any) -> Any:
        """The network's output for the transformed observation and its other inputs."""
        return self.module(self.transform(obs), *args, **kwargs)

    def mean_action(self, obs: Tensor) -> Tensor:
        """The deterministic action of a squashed Gaussian policy."""
        module: Any = self.module
        action: Tensor = module.mean_action(self.transform(obs))
        return action

    def distribution(self, obs: Tensor, *args: Any) -> Any:
        """The outputs of a distributional critic, or mean and log std of a squashed Gaussian policy."""
        module: Any = self.module
        return module.distribution(self.transform(obs), *args)


def attach(ac: nn.Module, name: str, part: TransformedInput) -> None:
    """Make `part` an attribute of `ac` without registering it, or its parameters would be saved twice."""
    object.__setattr__(ac, name, part)


def takes_noise(pi: nn.Module) -> bool:
    """Whether a policy takes the keyword argument `noise`, else it draws from torch's global generator."""
    while isinstance(pi, TransformedInput):
        pi = pi.module
    return "noise" in inspect.signature(pi.forward).parameters
