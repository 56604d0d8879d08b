"""EpochLogger and restore_tf_graph, under the import path that Spinning Up documents."""

from spinup.checks import check_choice
from spinup.loggers.epoch_logger import EpochLogger
from spinup.loggers.tf_restore import restore_tf_graph

__all__ = ["EpochLogger", "Logger", "colorize", "restore_tf_graph"]

Logger = EpochLogger  # in Spinning Up, Logger is the base class of EpochLogger

_ANSI_COLORS = {
    "gray": 30, "red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "white": 37,
    "crimson": 38,
}  # fmt: skip


def colorize(string: str, color: str, bold: bool = False, highlight: bool = False) -> str:
    """Enclose the text in the control sequences that color it on a terminal.

    Raises:
        ConfigError: for an unknown color, naming the closest.
    """
    check_choice("color", color, tuple(_ANSI_COLORS))
    code = _ANSI_COLORS[color] + 10 * highlight
    return f"\x1b[{code}{';1' * bold}m{string}\x1b[0m"
