"""Parses command-line words into Python literals and torch.nn activations; nothing is evaluated."""

from __future__ import annotations

import ast
import difflib
import re
import warnings
from typing import Any

from torch import nn

from spinup.errors import ConfigError
from spinup.pytorch.model_file import ACTIVATIONS


def read_value(text: str) -> Any:
    """The value that a word denotes.

    A Python literal (`0.99`, `[256,256]`, `None`, `"text"`) is that literal; `torch.nn.ELU` or `nn.ELU` is
    that activation; any other word is a string.

    Raises:
        ConfigError: for a bracketed value that is not a literal, and for an unsupported name in torch.nn.
    """
    name = re.fullmatch(r"(?:torch\.)?nn\.(\w+)", text)
    if name:
        return activation(name[1], text)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser's SyntaxWarnings, such as for "1is"
            return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        if text.strip()[:1] in tuple("[({"):
            raise ConfigError(
                f'cannot read {text!r}: give a literal in quotes, such as "[256,256]"'
            ) from None
        return text


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


def cast_like(value: Any, default: Any) -> Any:
    """The value as the type of the default where that is lossless: 1e6 as an int, "true" as a bool."""
    if isinstance(default, bool) and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    lossless = isinstance(default, int) and isinstance(value, float) and value.is_integer()
    return int(value) if lossless else value
