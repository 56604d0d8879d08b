"""Converts the state of networks and optimizers to NumPy arrays, and restores it in place."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def arrays(module: nn.Module) -> dict[str, Any]:
    """Copies of the parameters and buffers as NumPy arrays, by name."""
    return {name: _array(value) for name, value in module.state_dict().items()}


def load_arrays(module: nn.Module, values: dict[str, Any]) -> None:
    """Restore the result of `arrays(module)` in place."""
    module.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in values.items()})


def adam_state(optimizer: torch.optim.Adam) -> dict[str, Any]:
    """Step count and both moments of each parameter as NumPy arrays, by the parameter's index."""
    states = [optimizer.state[p] for p in optimizer.param_groups[0]["params"]]
    return {str(i): {key: _array(value) for key, value in state.items()} for i, state in enumerate(states)}


def load_adam_state(optimizer: torch.optim.Adam, values: dict[str, Any]) -> None:
    """Restore the result of `adam_state(optimizer)` in place."""
    for i, p in enumerate(optimizer.param_groups[0]["params"]):
        for key, tensor in optimizer.state[p].items():
            tensor.copy_(torch.from_numpy(np.array(values[str(i)][key])))


def _array(tensor: Tensor) -> Any:
    return tensor.detach().cpu().numpy().copy()
