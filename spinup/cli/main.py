"""The `spinup` command: prints the overview, runs a subcommand, and turns errors into exit codes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import spinup
from spinup.cli.diagnose import main as diagnose
from spinup.cli.export import main as export
from spinup.cli.hub import pull, push
from spinup.cli.plot import main as plot
from spinup.cli.recipes import main as recipes
from spinup.cli.record import main as record
from spinup.cli.report import main as report
from spinup.cli.resume import main as resume
from spinup.cli.test_policy import main as test_policy
from spinup.cli.train import ALGORITHMS
from spinup.cli.train import main as train
from spinup.cli.tune import main as tune
from spinup.cli.watch import main as watch
from spinup.errors import ConfigError, SpinupError, messages_name_flags
from spinup.hints import nearest
from spinup.loggers.text import error_line

OVERVIEW = """\
Soft Actor-Critic for environments with the Gymnasium interface.

usage: spinup COMMAND ...

commands:
  sac          train (the same as sac_pytorch)
  sac_tf1      train with TensorFlow
  test_policy  evaluate, render or record a trained policy
  record       record episodes of a trained policy as a Minari dataset
  plot         plot learning curves
  recipes      list named settings that learn more per step, for --recipe
  diagnose     report likely problems of a run, with evidence and remedies
  export       write a trained policy as an ONNX or TorchScript file
  push         upload a run to the Hugging Face Hub
  pull         download a run from the Hugging Face Hub
  report       write an HTML file about runs: curves, table, diagnostics
  watch        show the progress of runs in the terminal
  resume       continue a run, or all unfinished runs in a folder
  tune         search for the best settings
  help         show this message; `spinup COMMAND --help` shows a command's flags
  --version    show the version

examples:
  spinup sac --env HalfCheetah-v5 --exp_name hc
  spinup test_policy data/hc/hc_s0
  spinup plot data/hc
"""

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    **{name: partial(train, name) for name in ALGORITHMS},
    "test_policy": test_policy,
    "record": record,
    "plot": plot,
    "recipes": recipes,
    "diagnose": diagnose,
    "export": export,
    "push": push,
    "pull": pull,
    "report": report,
    "watch": watch,
    "resume": resume,
    "tune": tune,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after `spinup`; `sys.argv[1:]` if None.

    Returns:
        The exit code: 0; 2 for an error with a one-line message; 130 after an interrupt; 141 if standard
        output was closed. If runs in separate processes failed, it is the code of the first failed run.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with messages_name_flags(), _current_folder_importable():
            return _dispatch(words)
    except SpinupError as error:
        print(f"spinup: {error_line(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("spinup: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Redirected, since flushing buffered output at exit would raise again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    """Make modules in the current folder importable, as with `python -m`, but after all installed ones."""
    sys.path.append("")
    try:
        yield
    finally:
        sys.path.remove("")


def _dispatch(words: list[str]) -> int:
    if len(words) > 1 and words[0] == "help":
        return _dispatch([words[1], "--help"])
    if not words or words[0] in ("help", "-h", "--help"):
        print(OVERVIEW, end="")
        return 0
    if words[0] in ("-V", "--version"):
        print(f"spinup {spinup.__version__}")
        return 0
    command, *rest = words
    if re.fullmatch(r"(vpg|trpo|ppo|ddpg|td3)(_pytorch|_tf1)?", command):
        raise ConfigError(f"{command!r} is not here: of Spinning Up's algorithms, this package has SAC only")
    if command not in COMMANDS:
        hint = nearest(command, [*COMMANDS, "help"])
        raise ConfigError(f"unknown command {command!r}{hint or '; `spinup help` lists them'}")
    return COMMANDS[command](rest)
