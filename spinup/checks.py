"""Checks of single settings. Each returns the value as a built-in Python type, or raises a ConfigError."""

from __future__ import annotations

import inspect
import math
import operator
import os
from typing import Any

from spinup.errors import ConfigError
from spinup.hints import nearest


def is_word(value: Any, word: str) -> bool:
    """Whether `value` is the string `word`; unlike `==`, this also works if `value` is an array."""
    return isinstance(value, str) and value == word


def as_whole(value: Any) -> int | None:
    """`value` as an int if it is an integer of any type except bool, else None."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def check_whole(name: str, value: Any, low: int, *, words: str = "", below: int | None = None) -> int:
    """An integer >= `low`, and < 2**`below` if given.

    `words` lists other accepted values for the error message, such as "'auto' or ".
    """
    number = as_whole(value)
    if number is None or number < low or (below is not None and number >= 2**below):
        bound = "" if below is None else f" and < 2**{below}"
        raise ConfigError(f"{name}={value!r}: give {words}a whole number >= {low}{bound}")
    return number


def check_count_or_auto(name: str, value: Any, below: int | None = None) -> int | str:
    """An integer >= 1, and < 2**`below` if given, or the string "auto"."""
    return "auto" if is_word(value, "auto") else check_whole(name, value, 1, words="'auto' or ", below=below)


def check_real(
    name: str,
    value: Any,
    low: float,
    high: float,
    *,
    open_low: bool = False,
    open_high: bool = False,
    words: str = "",
) -> float:
    """A finite number in [low, high], without bounds that are open; for `words`, see `check_whole`."""
    if is_finite(value):
        excluded = (open_low and value == low) or (open_high and value == high)
        if low <= value <= high and not excluded:
            return float(value)
    if open_high:
        wanted = f"a number >= {low:g} and < {high:g}"
    elif high < math.inf:
        wanted = f"a number from {low:g} to {high:g}"
    elif low == -math.inf:
        wanted = "a number"
    else:
        wanted = f"a number {'>' if open_low else '>='} {low:g}"
    raise ConfigError(f"{name}={value!r}: give {words}{wanted}")


def check_betas(value: Any) -> tuple[float, float]:
    """Adam's decay rates: two numbers in [0, 1)."""
    pair = isinstance(value, (tuple, list)) and len(value) == 2
    if pair and all(is_finite(beta) and 0.0 <= beta < 1.0 for beta in value):
        return float(value[0]), float(value[1])
    raise ConfigError(
        f'betas={value!r}: give two numbers >= 0 and < 1, such as (0.9, 0.999), or as a flag "[0.9,0.999]"'
    )


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Check that `value` is one of `choices`; the error message suggests the closest one."""
    if not isinstance(value, str) or value not in choices:
        hint = nearest(str(value), choices)
        raise ConfigError(f"{name}={value!r}: give one of {', '.join(choices)}{hint}")


def check_switch(name: str, value: Any) -> None:
    """Check that `value` is True or False."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name}={value!r}: give True or False")


def check_path(name: str, value: Any) -> None:
    """Check that `value` is the path of a file or folder."""
    if not isinstance(value, (str, os.PathLike)) or not str(value):
        raise ConfigError(f"{name}={value!r}: give a path")


def check_logger_kwargs(value: Any) -> None:
    """Check that `value` is a dict, and its entry `output_dir`, if any, a path or None."""
    if not isinstance(value, dict):
        raise ConfigError(f"logger_kwargs={value!r}: give a dict, such as dict(output_dir='data/first')")
    if value.get("output_dir") is not None:
        check_path("output_dir", value["output_dir"])


def check_callback(value: Any, *arguments: str) -> None:
    """Check that `value` is None or can be called with `arguments` as positional arguments.

    It is checked before the run, since a callback is first called only after an epoch.
    """
    if value is None:
        return
    call = f"callback({', '.join(arguments)})"
    if not callable(value):
        raise ConfigError(f"callback={value!r}: give a function that is called as {call}, or None")
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):  # functions implemented in C may have no signature
        return
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise ConfigError(f"callback={value!r}: it is called as {call}, but: {error}") from None


def is_finite(value: Any) -> bool:
    """Whether `value` is a finite number of any type except bool."""
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        return False
    try:
        return math.isfinite(value)
    except (OverflowError, TypeError, ValueError):  # an int beyond float64's range, or an array
        return False
