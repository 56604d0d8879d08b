"""The command line: `spinup ...` and `python -m spinup.run ...`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from spinup.cli import flags
from spinup.cli.parser import Parser
from spinup.config import SACConfig, check_ac_kwargs, field_defaults, nearest
from spinup.envs.rebuild import env_flag
from spinup.errors import ConfigError, SpinupError
from spinup.runs.grid import ExperimentGrid

# Each algorithm by the names it goes by: the attribute of `spinup` that is called.
ALGORITHMS = {"sac": "sac_pytorch", "sac_pytorch": "sac_pytorch", "sac_tf1": "sac_tf1"}

OVERVIEW = """\
Soft Actor-Critic for environments with the Gymnasium interface.

usage: spinup COMMAND ...

commands:
  sac          train (the same as sac_pytorch)
  sac_tf1      train with TensorFlow
  test_policy  watch a trained policy, or measure it
  plot         plot learning curves
  resume       continue a run
  help         show this; `spinup COMMAND --help` shows a command's flags

examples:
  spinup sac --env HalfCheetah-v5 --exp_name hc
  spinup test_policy data/hc/hc_s0
  spinup plot data/hc
"""

TRAIN_HELP = """\
usage: spinup {command} --env ID [--flag VALUE ...] ...

Train and save under data/<exp_name>/<exp_name>_s<seed>. Several values after a flag make a grid: every
combination is run, one after another.

flags:
{flags}

Values are Python literals, activations such as torch.nn.ELU, or plain words.

examples:
  spinup {command} --env HalfCheetah-v5 --exp_name hc
  spinup {command} --env Hopper-v5 --exp_name hop --seed 0 10 20 --hid "[64,64]" "[256,256]" --alpha auto
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the words after `spinup`; those of this process if None.

    Returns:
        The exit code: 0, 2 for an error of use, 130 after an interrupt.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except SpinupError as error:
        print(f"spinup: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("spinup: interrupted", file=sys.stderr)
        return 130


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("help", "-h", "--help"):
        print(OVERVIEW, end="")
        return 0
    command, rest = words[0], words[1:]
    if command in ALGORITHMS:
        return train(command, rest)
    if command not in _TOOLS:
        hint = nearest(command, [*ALGORITHMS, *_TOOLS, "help"])
        raise ConfigError(f"unknown command {command!r}{hint or '; `spinup help` lists them'}")
    return _TOOLS[command](rest)


def train(command: str, words: list[str]) -> int:
    """Run a training command over its grid, after checking every variant of it.

    Raises:
        SpinupError: before the first run, for whatever can be known to be wrong by then.
    """
    import spinup

    function: Callable[..., Any] = getattr(spinup, ALGORITHMS[command])
    if {"-h", "--help"} & set(words):
        print(TRAIN_HELP.format(command=command, flags=flags.describe(function)), end="")
        return 0
    asked = flags.parse(words, function)
    if not asked.env:
        raise ConfigError("which environment? Give --env, as in --env HalfCheetah-v5")
    grid = _grid(asked, asked.places.get("exp_name", f"cmd_{ALGORITHMS[command]}"))
    _check(grid, asked.env, ALGORITHMS[command])
    if len(grid.variants()) > 1:
        grid.print()
    folders = grid.run(
        function,
        data_dir=asked.places.get("data_dir"),
        datestamp=asked.places.get("datestamp", False),
        overwrite=asked.places.get("overwrite", False),
        after=_print_next(grid),
    )
    if len(folders) > 1:
        print(f"  plot all:   spinup plot {' '.join(map(shlex.quote, folders))}")
    return 0


def _grid(asked: flags.Command, exp_name: str) -> ExperimentGrid:
    grid = ExperimentGrid(exp_name)
    short = asked.shorthands
    grid.add("env_fn", asked.env, short.get("env", "env"), in_name="env" in short)
    for name, values in asked.params.items():
        grid.add(name, values, short.get(name), in_name=name in short)
    return grid


def _check(grid: ExperimentGrid, envs: list[str], algorithm: str) -> None:
    """Refuse now what would otherwise stop the grid after hours."""
    from spinup.envs.make import EnvFactory, env_function
    from spinup.pytorch.variants.registry import check_networks

    check = check_networks if algorithm == "sac_pytorch" else check_ac_kwargs
    for variant in grid.variants():
        SACConfig(**{name: variant[name] for name in field_defaults() if name in variant})
        check(variant.get("ac_kwargs", {}))
    for env in envs:
        EnvFactory(env_function(env))().close()


def _print_next(grid: ExperimentGrid) -> Callable[[str], None]:
    variants = iter(grid.variants())
    default = field_defaults()["epochs"]

    def after(folder: str) -> None:
        variant = next(variants)
        quoted, env = shlex.quote(folder), env_flag(variant["env_fn"])
        print(f"\n  watch it:   spinup test_policy {quoted}{env}")
        print(f"  plot it:    spinup plot {quoted}", flush=True)
        if Path(folder, "checkpoint").exists():
            epochs = 2 * variant.get("epochs", default)
            print(f"  train on:   spinup resume {quoted} --epochs {epochs}{env}", flush=True)

    return after


def test_policy(words: list[str]) -> int:
    """Run `spinup test_policy`."""
    from spinup.playback.episodes import main as run

    return run(words)


def plot(words: list[str]) -> int:
    """Run `spinup plot`."""
    from spinup.plotting.figures import main as run

    return run(words)


def resume(words: list[str]) -> int:
    """Run `spinup resume`."""
    parser = Parser("spinup resume", "Continue a run to its planned end, or further.")
    parser.add_argument("run_dir", metavar="RUN_DIR", help="folder of the run, such as data/hc/hc_s0")
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="train until epoch N instead of the planned end"
    )
    parser.add_argument("--threads", type=int, metavar="N", help="torch threads from now on")
    parser.add_argument("--env", metavar="ID", help="its environment again, where a module must be imported")
    args = parser.parse(words)
    from spinup.cli.resume import resume_run

    resume_run(args.run_dir, args.epochs, args.env, args.threads)
    return 0


_TOOLS = {"test_policy": test_policy, "plot": plot, "resume": resume}

if __name__ == "__main__":
    sys.exit(main())
