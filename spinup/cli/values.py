"""Words of the command line as values: literals and a short list of names. Nothing is ever evaluated."""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from typing import Any

from spinup.errors import ConfigError


def read_value(text: str) -> Any:
    """The value that a word stands for.

    A Python literal (`0.99`, `[256,256]`, `None`, `"text"`) is that literal; `torch.nn.ELU` or `nn.ELU` is
    that activation; any other word is itself.

    Raises:
        ConfigError: for a bracketed value that is no literal, and for an unknown name in torch.nn.
    """
    name = re.fullmatch(r"(?:torch\.)?nn\.(\w+)", text)
    if name:
        return activation(name[1], text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's parser, about words that only resemble code
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if text.strip()[:1] in tuple("[({"):
            raise ConfigError(
                f'cannot read {text!r}: give a literal in quotes, such as "[256,256]"'
            ) from None
        return text


def activation(name: str, text: str) -> Any:
    """The activation class of that name in torch.nn.

    Raises:
        ConfigError: if it is not on the list, naming the nearest that is.
    """
    import torch.nn

    from spinup.pytorch.model_file import ACTIVATIONS

    if name not in ACTIVATIONS:
        folded = {known.lower(): known for known in ACTIVATIONS}
        close = difflib.get_close_matches(name.lower(), folded, n=1)
        remedy = (
            f"did you mean torch.nn.{folded[close[0]]}?" if close else f"there are {', '.join(ACTIVATIONS)}"
        )
        raise ConfigError(f"{text!r} is no activation, {remedy}")
    return getattr(torch.nn, name)


def fit(value: Any, default: Any) -> Any:
    """The value in the type of the default, where nothing is lost: 1e6 as an int, "true" as a bool."""
    if isinstance(default, bool) and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    whole = isinstance(default, int) and isinstance(value, float) and value.is_integer()
    return int(value) if whole else value
