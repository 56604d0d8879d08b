"""Networks and optimisers as plain arrays, and back, in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def array(tensor: Tensor) -> Any:
    """A copy of the tensor on the host."""
    return tensor.detach().cpu().numpy().copy()


def arrays(module: nn.Module) -> dict[str, Any]:
    """Parameters and buffers by name."""
    return {name: array(value) for name, value in module.state_dict().items()}


def load_arrays(module: nn.Module, values: dict[str, Any]) -> None:
    """Put `arrays(module)` back into the same memory."""
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in values.items()})


def adam_state(optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Step count and both moments of each parameter, by its index; absent before the first step."""
    return {
        str(i): {key: array(value) for key, value in state.items()}
        for i, state in optimiser.state_dict()["state"].items()
    }


def load_adam_state(optimiser: torch.optim.Optimizer, values: dict[str, Any]) -> None:
    """Put `adam_state(optimiser)` back."""
    state = {
        int(i): {key: torch.from_numpy(np.array(value)) for key, value in entry.items()}
        for i, entry in values.items()
    }
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
