"""The `spinup` command: prints the overview, runs a subcommand, and turns errors into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

from spinup.cli.plot import main as plot
from spinup.cli.resume import main as resume
from spinup.cli.test_policy import main as test_policy
from spinup.cli.train import ALGORITHMS
from spinup.cli.train import main as train
from spinup.config import nearest
from spinup.errors import ConfigError, SpinupError
from spinup.loggers.display import printable

OVERVIEW = """\
Soft Actor-Critic for environments with the Gymnasium interface.

usage: spinup COMMAND ...

commands:
  sac          train (the same as sac_pytorch)
  sac_tf1      train with TensorFlow
  test_policy  evaluate, render or record a trained policy
  plot         plot learning curves
  resume       continue a run
  help         show this message; `spinup COMMAND --help` shows a command's flags

examples:
  spinup sac --env HalfCheetah-v5 --exp_name hc
  spinup test_policy data/hc/hc_s0
  spinup plot data/hc
"""

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    **{name: partial(train, name) for name in ALGORITHMS},
    "test_policy": test_policy,
    "plot": plot,
    "resume": resume,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after `spinup`; `sys.argv[1:]` if None.

    Returns:
        The exit code: 0, 2 for a usage error, 130 after an interrupt.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except SpinupError as error:
        print(f"spinup: {_one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("spinup: interrupted", file=sys.stderr)
        return 130


def _one_line(message: str) -> str:
    """The message as printable text on one line, without the middle of a long one, which quotes a file."""
    return _shortened(printable(_shortened(" ".join(message.split()))))


def _shortened(line: str) -> str:
    return line if len(line) <= 2000 else f"{line[:1000]} ... {line[-900:]}"


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("help", "-h", "--help"):
        print(OVERVIEW, end="")
        return 0
    command, *rest = words
    if command not in COMMANDS:
        hint = nearest(command, [*COMMANDS, "help"])
        raise ConfigError(f"unknown command {command!r}{hint or '; `spinup help` lists them'}")
    return COMMANDS[command](rest)
