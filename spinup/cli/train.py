"""`spinup sac`, `sac_pytorch` and `sac_tf1`: train every combination of the given values."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spinup
from spinup.cli.config_file import with_config
from spinup.cli.flags import SHORTCUTS, TrainFlags, describe_flags, parse_flags
from spinup.config import BUILT_IN_VARIANTS, SACConfig, check_ac_kwargs, field_defaults
from spinup.envs.make import EnvFactory, env_function
from spinup.envs.saved_spec import env_flag
from spinup.errors import ConfigError
from spinup.loggers.run_folder import CHECKPOINT_FOLDER
from spinup.pytorch.make_networks import check_networks
from spinup.pytorch.sac import check_choices
from spinup.recipes import source_of_settings, with_recipe
from spinup.runs.grid import ExperimentGrid, Variant, call_kwargs
from spinup.user_config import DEFAULT_BACKEND

_MAX_NAMED = 100  # maximum number of folders in the printed plot command
# The function of `spinup` that each command calls.
ALGORITHMS = {"sac": f"sac_{DEFAULT_BACKEND['sac']}", "sac_pytorch": "sac_pytorch", "sac_tf1": "sac_tf1"}

HELP = """\
usage: spinup {command} --env ID [--flag VALUE ...] ...

Train and save under data/<exp_name>/<exp_name>_s<seed>. Several values after a flag make a grid: every
combination is run, one after another, or several at a time with --jobs, or on a cluster with --ray.

{flags}

Values are Python literals, also "[64]*2", "int(1e5)" and "dict(hidden_sizes=[64,64])", activations such as
{activation}, or plain strings.

examples:
  spinup {command} --env HalfCheetah-v5 --exp_name hc
  spinup {command} --env Hopper-v5 --exp_name hop --seed 0 10 20 --hid "[64,64]" "[256,256]" --alpha auto
  spinup {command} --env Walker2d-v5 --exp_name walk --seed 0 1 2 3 --lr 1e-3 3e-4 --jobs auto
  spinup {command} --env Pendulum-v1 --config configs/sac.yaml --track wandb
"""


def main(command: str, words: list[str]) -> int:
    """Run a training command over its grid.

    Args:
        command: a key of ALGORITHMS.
        words: the arguments after it.

    Raises:
        SpinupError: before the first run, for any invalid flag, value, environment or folder.
    """
    algorithm = ALGORITHMS[command]
    function: Callable[..., Any] = getattr(spinup, algorithm)
    if {"-h", "--help"} & set(words):
        activation = '"elu" (a function in tf.nn)' if algorithm == "sac_tf1" else "torch.nn.ELU"
        text = HELP.format(command=command, flags=describe_flags(function), activation=activation)
        print(text, end="")
        return 0
    flags = parse_flags(with_config(words, SHORTCUTS), function)
    if not flags.env:
        raise ConfigError("no environment given: add --env ID, as in --env HalfCheetah-v5")
    output = {"exp_name": f"cmd_{algorithm}", **flags.output}
    grid = _make_grid(flags, output.pop("exp_name"))
    if trackers := output.pop("track", None):
        grid.add("logger_kwargs:trackers", [tuple(trackers)])
    validate(grid, algorithm)
    if len(grid.variants()) > 1:
        grid.print()
    jobs = output.pop("jobs", 1)
    again = _resume_command(command, words, output)
    after = _print_next_commands if jobs == 1 and "ray" not in output else None
    folders = grid.run(function, jobs, **output, after=after, how_to_continue=again)
    if 1 < len(folders) <= _MAX_NAMED:
        print(f"  plot all:   spinup plot {' '.join(map(shlex.quote, folders))}")
    return 0


def _make_grid(flags: TrainFlags, exp_name: str) -> ExperimentGrid:
    grid = ExperimentGrid(exp_name)
    short = flags.shorthands
    grid.add("env_fn", flags.env, short.get("env", "env"), in_name="env" in short)
    for name, values in flags.params.items():
        grid.add(name, values, short.get(name), in_name=name in short)
    return grid


def validate(grid: ExperimentGrid, algorithm: str) -> None:
    """Check every variant and environment before the first run, so that errors do not appear after hours.

    Raises:
        SpinupError: for the first invalid one.
    """
    check = check_networks if algorithm == "sac_pytorch" else check_ac_kwargs
    envs = {}
    for given in grid.variants():
        variant = with_recipe(given)
        with source_of_settings(given):
            SACConfig.from_settings(variant)
            if algorithm == "sac_pytorch":
                check_choices(variant)
            check(variant.get("ac_kwargs", {}))
        env = call_kwargs(variant)["env_fn"]
        envs[repr(env)] = env
    for env in envs.values():
        EnvFactory(env_function(env))().close()


def _resume_command(command: str, words: list[str], output: dict[str, Any]) -> str:
    """The command that continues this one, for messages."""
    if output.get("datestamp"):  # the same command would use other folders
        return "spinup resume FOLDER, for the folder of each run"
    kept, dropped = [], False
    for word in words:
        if word.startswith("--"):
            dropped = re.match(r"--(overwrite|resume)\b", word) is not None
        kept += [] if dropped else [word]
    return shlex.join(["spinup", command, *kept, "--resume"])


def _print_next_commands(folder: str, variant: Variant) -> None:
    """Print follow-up commands for the folder of a finished run."""
    settings = with_recipe(variant)
    quoted, env = shlex.quote(folder), env_flag(settings["env_fn"])
    print(f"\n  test it:    spinup test_policy {quoted}{env}")
    print(f"  plot it:    spinup plot {quoted}", flush=True)
    if Path(folder, CHECKPOINT_FOLDER).exists() and settings.get("variant", "sac") in BUILT_IN_VARIANTS:
        epochs = 2 * settings.get("epochs", field_defaults()["epochs"])
        print(f"  continue:   spinup resume {quoted} --epochs {epochs}{env}", flush=True)
