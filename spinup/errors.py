"""Errors for users: their message is one line that names the cause and the remedy.

The command line prints it without a traceback and exits with the error's `exit_code`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class SpinupError(Exception):
    """Base class of all errors that this package raises on purpose.

    Attributes:
        exit_code: exit status of the command line.
    """

    exit_code = 2


class ConfigError(SpinupError, ValueError):
    """An invalid value, or an invalid combination of values."""


class ArgumentError(ConfigError, TypeError):
    """A keyword argument that a function does not take."""


class EnvError(SpinupError, RuntimeError):
    """An environment that violates its declared spaces, returns NaN, crashes or hangs."""


class RunError(SpinupError, RuntimeError):
    """A run folder that cannot be used: it holds another run, is locked, or is damaged."""


class TrainingDiverged(SpinupError, ArithmeticError):
    """A loss, a parameter or an action became NaN or infinite."""


class MissingExtraError(SpinupError, ImportError):
    """An optional dependency that is not installed."""


def first_line(error: BaseException) -> str:
    """The error as `Type: message`, with the first 200 characters of the message's first line."""
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0][:200]}"


def name_of(thing: object) -> str:
    """The name of a class or function, or the representation of another object."""
    return str(getattr(thing, "__name__", None) or repr(thing))


_SAYS_FLAGS: ContextVar[bool] = ContextVar("says_flags", default=False)


@contextmanager
def messages_name_flags() -> Iterator[None]:
    """Context in which messages name flags instead of keyword arguments; the command line sets it."""
    token = _SAYS_FLAGS.set(True)
    try:
        yield
    finally:
        _SAYS_FLAGS.reset(token)


def option(keyword: str, flag: str) -> str:
    """The name of an option in a message: `flag` inside `messages_name_flags`, else `keyword`."""
    return flag if _SAYS_FLAGS.get() else keyword
