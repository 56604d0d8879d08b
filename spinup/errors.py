"""Errors a user can act on: one line that names the cause and the remedy.

The command line prints them without a traceback and exits with code 2.
"""


class SpinupError(Exception):
    """Base class of all errors that this package raises on purpose."""


class ConfigError(SpinupError, ValueError):
    """An invalid value, or an invalid combination of values."""


class EnvError(SpinupError, RuntimeError):
    """An environment that violates its declared spaces, returns NaN, crashes or hangs."""


class RunError(SpinupError, RuntimeError):
    """A run folder that cannot be used: it holds another run, is locked, or is damaged."""


class MissingExtraError(SpinupError, ImportError):
    """An optional dependency that is not installed."""
