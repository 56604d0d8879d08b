"""Networks and optimisers as plain arrays, and back, in place."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn


class Optimiser(Protocol):
    """What a learner uses of an optimiser, each as in torch.optim.Optimizer."""

    @property
    def state(self) -> Any:
        """Moments and step count by parameter."""
        ...

    @property
    def param_groups(self) -> Any:
        """Parameters and their settings."""
        ...

    def step(self) -> Any:
        """One step from the gradients of its parameters."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Its state and settings."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put `state_dict` back."""
        ...


def array(tensor: Tensor) -> Any:
    """A copy of the tensor on the host."""
    return tensor.detach().cpu().numpy().copy()


def arrays(module: nn.Module) -> dict[str, Any]:
    """Parameters and buffers by name."""
    return {name: array(value) for name, value in module.state_dict().items()}


def load_arrays(module: nn.Module, values: dict[str, Any]) -> None:
    """Put `arrays(module)` back into the same memory."""
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in values.items()})


def adam_state(optimiser: Optimiser) -> dict[str, Any]:
    """Step count and both moments of each parameter, by its index; absent before the first step."""
    return {
        str(i): {key: array(value) for key, value in state.items()}
        for i, state in optimiser.state_dict()["state"].items()
    }


def load_adam_state(optimiser: Optimiser, values: dict[str, Any]) -> None:
    """Put `adam_state(optimiser)` back."""
    state = {
        int(i): {key: torch.from_numpy(np.array(value)) for key, value in entry.items()}
        for i, entry in values.items()
    }
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
