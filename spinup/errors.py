"""Errors a user can act on: one line that names the cause and the remedy.

The command line prints them without a traceback and exits with their `exit_code`.
"""


class SpinupError(Exception):
    """Base class of all errors that this package raises on purpose.

    Attributes:
        exit_code: of the command line.
    """

    exit_code = 2


class ConfigError(SpinupError, ValueError):
    """An invalid value, or an invalid combination of values."""


class EnvError(SpinupError, RuntimeError):
    """An environment that violates its declared spaces, returns NaN, crashes or hangs."""


class RunError(SpinupError, RuntimeError):
    """A run folder that cannot be used: it holds another run, is locked, or is damaged."""


class MissingExtraError(SpinupError, ImportError):
    """An optional dependency that is not installed."""


def one_line(error: BaseException) -> str:
    """The message of an error on one line."""
    return " ".join(str(error).split())
