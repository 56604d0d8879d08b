"""The activations of torch.nn that settings and saved files may name."""

from __future__ import annotations

import difflib
from typing import Any

from torch import nn

from spinup.errors import ConfigError

ACTIVATIONS = (
    "CELU", "ELU", "GELU", "Hardswish", "Hardtanh", "Identity", "LeakyReLU", "Mish", "PReLU", "ReLU", "ReLU6",
    "SELU", "SiLU", "Sigmoid", "Softplus", "Softsign", "Tanh",
)  # fmt: skip


def activation(name: str, text: str) -> Any:
    """The activation class called `name` in torch.nn.

    Args:
        name: the class's name without its module.
        text: the word as given, for messages.

    Raises:
        ConfigError: if it is not in ACTIVATIONS, naming the closest that is.
    """
    if name in ACTIVATIONS:
        return getattr(nn, name)
    folded = {known.lower(): known for known in ACTIVATIONS}
    close = difflib.get_close_matches(name.lower(), folded, n=1)
    hint = (
        f", did you mean torch.nn.{folded[close[0]]}?" if close else f": give one of {', '.join(ACTIVATIONS)}"
    )
    raise ConfigError(f"{text!r} is not a supported activation{hint}")
