"""`spinup tune`: search for the settings of `spinup sac` with the highest return."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import spinup
from spinup.cli.config_file import with_config
from spinup.cli.flags import SHORTCUTS, TrainFlags, flag_defaults, parse_flags, split_flags
from spinup.cli.train import ALGORITHMS, validate
from spinup.cli.values import read_value
from spinup.errors import ConfigError
from spinup.files import load_json
from spinup.runs.grid import ExperimentGrid
from spinup.tuning.space import Choice, Range, Space
from spinup.tuning.study import LAST_EPOCHS, tune

HELP = """\
usage: spinup tune --env ID --trials N --space NAME=VALUES ... [--FLAG VALUE ...] [--jobs N] [--ray [ADDRESS]]

Search for the settings of `spinup sac` with the highest return, by Optuna's TPE sampler. Each trial is a run
in data/<exp_name>/<exp_name>_t<number>; trials below the median of the others are stopped. The same command
again continues the search. At the end it prints the best settings as a command.

flags:
  --trials N            number of trials, those of earlier calls included
  --space NAME=VALUES   what is searched, one entry or more, or a JSON file with an object of such entries:
                          lr=log:1e-4:1e-2      a range; log: sample its logarithm uniformly
                          batch_size=64:512     whole numbers where the parameter is one
                          "hid=[64,64]|[256,256]"   one of several values
  --prune False         complete every trial
  --exp_name NAME       name of the search and its folder (default tune)

All other flags are those of `spinup sac`, each with one value. Flags of a trial are those of the command and
those of --space. The result of a trial is the mean test return of its last {last} epochs.

examples:
  spinup tune --env Pendulum-v1 --epochs 5 --trials 40 --space lr=log:1e-4:1e-2 gamma=0.95:0.999 --jobs 2
  spinup tune --env Hopper-v5 --epochs 25 --trials 100 --space space.json --ray auto
"""
_ALGORITHM = ALGORITHMS["sac"]
_REFUSED = {
    "resume": "the same command continues a search",
    "overwrite": "to start over, remove the folder of the search",
    "track": "the study compares the trials; their folders have the rows",
    "datestamp": "the folder of a search keeps its name, so that the same command can continue it",
}
_OF_THIS_COMMAND = ("exp_name", "jobs", "num_cpu", "ray", "cpus_per_run", "gpus_per_run")


def main(words: list[str]) -> int:
    """Run `spinup tune`.

    Raises:
        SpinupError: before the first trial, for any invalid flag, value, environment or entry of the space;
            else see `tune`.
    """
    if {"-h", "--help"} & set(words):
        print(HELP.format(last=LAST_EPOCHS), end="")
        return 0
    own, rest = _split_off(words)
    if "space" not in own or "trials" not in own:
        missing = "--space" if "space" not in own else "--trials"
        raise ConfigError(f"tune needs {missing}: `spinup tune --help` has examples")
    function = getattr(spinup, _ALGORITHM)
    rest = with_config(rest, SHORTCUTS)
    flags = parse_flags(rest, function)
    _check(flags)
    typed = dict(_entries(own["space"]))
    named: dict[str, str] = {}
    space: Space = {}
    for flag, text in typed.items():
        name, space[name] = _read_entry(flag, text)
        named[name] = flag
    output = {**flags.output}
    exp_name = output.pop("exp_name", "tune")
    _validate(flags, space)
    fixed = {name: values[0] for name, values in flags.params.items()}
    best = tune(
        exp_name,
        function,
        space,
        _one("trials", own["trials"]),
        {"env_fn": flags.env[0], **fixed},
        data_dir=output.get("data_dir"),
        num_cpu=output.get("jobs", 1),
        ray=output.get("ray", False),
        cpus_per_run=output.get("cpus_per_run"),
        gpus_per_run=output.get("gpus_per_run"),
        prune=_one("prune", own.get("prune", ["True"])),
        how_to_continue=shlex.join(["spinup", "tune", *words]),
    )
    found = [word for name, label in best.labels.items() for word in (f"--{named[name]}", str(label))]
    command = ["spinup", "sac", *_kept(rest), "--exp_name", f"{exp_name}_best", *found]
    print(f"{', '.join(f'{number} {state}' for state, number in sorted(best.counts.items()))}")
    print(f"best: trial {best.trial}, return {best.value:.5g}, mean of its last {LAST_EPOCHS} epochs")
    print(f"\n  train with it:  {shlex.join(command)}")
    for path in best.figures:
        print(f"  figure:         {path}")
    return 0


def _split_off(words: list[str]) -> tuple[dict[str, list[str]], list[str]]:
    """Flags of this command with their values, and the words of all others."""
    own: dict[str, list[str]] = {}
    rest: list[str] = []
    for flag, shorthand, values in split_flags(words):
        if flag in ("trials", "space", "prune"):
            if flag in own:
                raise ConfigError(f"--{flag} is given twice: give all its values after one flag")
            if not values and flag != "prune":
                raise ConfigError(f"--{flag} needs a value: `spinup tune --help` has examples")
            own[flag] = values or ["True"]
        else:
            rest += [f"--{flag}" if shorthand is None else f"--{flag}[{shorthand}]", *values]
    return own, rest


def _kept(rest: list[str]) -> list[str]:
    """The flags of this command that also apply to a run of the best settings."""
    kept = [flag for flag in split_flags(rest) if flag[0] not in _OF_THIS_COMMAND]
    return [word for flag, _, values in kept for word in (f"--{flag}", *values)]


def _check(flags: TrainFlags) -> None:
    if len(flags.env) != 1:
        raise ConfigError("tune searches for one environment: give --env ID, as in --env Hopper-v5")
    for name, values in flags.params.items():
        if len(values) > 1:
            raise ConfigError(f"--{name} has {len(values)} values: give one, or search it with --space")
    for name, reason in _REFUSED.items():
        if name in flags.output or name in flags.params:
            raise ConfigError(f"tune takes no --{name}: {reason}")


def _one(flag: str, values: list[str]) -> Any:
    value = read_value(values[0]) if len(values) == 1 else values
    if flag == "prune" and not isinstance(value, bool):
        raise ConfigError(f"--prune {' '.join(values)}: give True or False")
    return value


def _entries(words: list[str]) -> list[tuple[str, str]]:
    """The name and the text of the values of each entry, from words or from a file.

    Raises:
        ConfigError: for an invalid entry, or a name that is given twice.
        RunError: if the file cannot be read.
    """
    if len(words) == 1 and words[0].endswith(".json"):
        found = load_json(Path(words[0]))
        if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
            raise ConfigError(f'{words[0]}: give an object of texts, such as {{"lr": "log:1e-4:1e-2"}}')
        return list(found.items())
    entries = []
    for word in words:
        name, equals, text = word.partition("=")
        if not name or not equals or not text:
            raise ConfigError(f"--space {word!r}: give NAME=LOW:HIGH, NAME=log:LOW:HIGH or NAME=A|B|C")
        entries.append((name.removeprefix("--"), text))
    names = [name for name, _ in entries]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"--space has {name} twice: give each parameter once")
    return entries


def _read_entry(flag: str, text: str) -> tuple[str, Range | Choice]:
    """The parameter, and its range or choice.

    Raises:
        ConfigError: for an unknown parameter, or invalid values.
    """
    is_choice = "|" in text
    log = not is_choice and text.startswith("log:")
    words = text.split("|") if is_choice else text.removeprefix("log:").split(":")
    words = [word.strip() for word in words]
    if "" in words or (not is_choice and len(words) != 2):
        raise ConfigError(f"--space {flag}={text}: give LOW:HIGH, log:LOW:HIGH or A|B|C")
    function = getattr(spinup, _ALGORITHM)
    parsed = parse_flags([f"--{flag}", *words], function).params
    if not parsed:
        raise ConfigError(f"--space {flag}={text}: only parameters of `spinup sac` can be searched")
    ((name, values),) = parsed.items()
    if is_choice:
        return name, Choice(values, words)
    default = flag_defaults(function).get(name)
    kinds = [isinstance(value, int) and not isinstance(value, bool) for value in values]
    whole = (isinstance(default, int) and not isinstance(default, bool)) or (":" in name and all(kinds))
    return name, Range(values[0], values[1], log, whole)


def _validate(flags: TrainFlags, space: Space) -> None:
    """Check both ends of each range and each value of each choice, combined with the others' first values."""
    values = {
        name: list(entry.values) if isinstance(entry, Choice) else [entry.low, entry.high]
        for name, entry in space.items()
    }
    if both := set(space) & set(flags.params):
        raise ConfigError(f"{min(both)} is both a flag and in --space: give it once")
    for name in space:
        grid = ExperimentGrid("tune")
        first = {other: some if other == name else some[:1] for other, some in values.items()}
        for key, some in {"env_fn": flags.env, **flags.params, **first}.items():
            grid.add(key, some)
        validate(grid, _ALGORITHM)
