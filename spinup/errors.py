"""Errors a user can act on: one line that names the thing and the remedy.

The command line prints these without a traceback and exits with code 2.
"""


class SpinupError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(SpinupError, ValueError):
    """A value, or a combination of values, that cannot work."""


class EnvError(SpinupError, RuntimeError):
    """An environment that breaks its own declaration: spaces, shapes, NaN, a crash, a hang."""


class RunError(SpinupError, RuntimeError):
    """A run folder that cannot be used: it holds another run, is locked, or is damaged."""


class MissingExtraError(SpinupError, ImportError):
    """An optional dependency that is not installed."""
