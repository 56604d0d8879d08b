"""Write docs/flags.md, the reference of every flag, from the parsers: `python tools/flags_page.py`."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))
import spinup
from spinup.cli.flags import SHORTCUTS, flag_groups
from spinup.cli.main import COMMANDS
from spinup.cli.parser import Parser
from spinup.cli.train import ALGORITHMS
from spinup.config import field_defaults

PAGE = Path(__file__).parents[1] / "docs" / "flags.md"
INTRODUCTION = """\
# Flags

Every flag of every command, as `--help` prints them. `python tools/flags_page.py` writes this page from the
parsers, and a test compares it with them. [Command line](commands.md) says how values are written, and what
the commands do. `spinup help` lists the commands, `spinup --version` prints the version, and `-h` or `--help`
after a command lists its flags.

## spinup sac

`--gamma 0.98` is the keyword argument `gamma=0.98` of [`sac_pytorch`](api.md#spinup.sac_pytorch), and so is
every flag of a table without the column "in Python". A switch (`bool`) needs no value for True.
"""
# Type, default and what takes their place in Python, for flags that are no parameters of `sac_pytorch`.
OWN = {
    "env": ("str", "required", "`env_fn`"),
    "env_kwargs": ("dict", "", '`env_fn=lambda: gym.make("Hopper-v5", ...)`'),
    "exp_name": ("str", "`cmd_sac_pytorch`", "`setup_logger_kwargs(exp_name, seed)`"),
    "data_dir": ("str", "`data`", "`setup_logger_kwargs(..., data_dir=)`"),
    "datestamp": ("bool", "`False`", "`setup_logger_kwargs(..., datestamp=)`"),
    "overwrite": ("bool", "`False`", '`logger_kwargs["overwrite"]`'),
    "track": ("str, several", "", '`logger_kwargs["trackers"]`'),
    "config": ("str", "", ""),
    "jobs": ("int or `auto`", "`1`", "`ExperimentGrid.run(..., num_cpu=)`"),
    "ray": ("str, or no value", "", "`ExperimentGrid.run(..., ray=)`; `ray`"),
    "cpus_per_run": ("float", "", "`ExperimentGrid.run(..., cpus_per_run=)`"),
    "gpus_per_run": ("float", "", "`ExperimentGrid.run(..., gpus_per_run=)`"),
}
MORE = {
    "environment and folder": "own_environment.md, tracking.md#settings-in-a-file",
    "several runs": "commands.md#several-runs-at-once, scale.md#many-runs",
    "training": "sac.md, own_network.md",
    "engine, environments, threads": "engines.md, speed.md",
    "variants, optimizers, recipes": "variants.md, recipes.md",
    "observations and rewards": "images.md, data.md#normalization",
    "replay and prior data": "data.md#prioritized-replay, data.md#hindsight-goals, data.md#prior-data",
    "tests, saved models, videos": "tracking.md, files.md",
    "remote collectors": "scale.md",
    "checkpoints": "reliability.md, cluster.md",
}
TUNE = [
    ("`--trials N`", "int", "required", "number of trials, those of earlier calls included"),
    (
        "`--space NAME=VALUES`",
        "str, several",
        "required",
        "what is searched: entries, or a JSON file with them",
    ),
    ("`--prune`", "bool", "`True`", "stop trials below the median of the others"),
    ("`--exp_name`", "str", "`tune`", "name of the search and its folder"),
]
Row = tuple[str, ...]


def page() -> str:
    """The text of docs/flags.md."""
    parts = [INTRODUCTION, *_training(), *_other_commands()]
    return "\n".join(parts)


def _training() -> Iterator[str]:
    parameters = inspect.signature(spinup.sac_pytorch).parameters
    for title, flags in flag_groups(spinup.sac_pytorch).items():
        yield f"### {title[0].upper()}{title[1:]}\n"
        if set(flags) <= set(OWN):
            rows = [
                (f"`--{name}`", *OWN[name], text.removesuffix("; required")) for name, text in flags.items()
            ]
            yield table(("flag", "type", "default", "in Python", "meaning"), rows)
        else:
            rows = [(f"`--{name}`", *kind(parameters[name]), text) for name, text in flags.items()]
            yield table(("flag", "type", "default", "meaning"), rows)
        yield f"See {', '.join(map(link, MORE[title].split(', ')))}.\n"
        if "ac_kwargs" in flags:
            yield "### Entries of --ac_kwargs\n"
            yield "Those of the [default networks](api.md#spinup.MLPActorCritic); your own have others."
            yield "Images add `encoder`, a dict: see [Images](images.md).\n"
            yield table(("flag", "type", "default", "meaning"), list(network_rows()))
    yield "### Short forms\n"
    short = [(f"`--{flag}`", f"`--{name}`") for flag, name in SHORTCUTS.items()]
    rows = [
        *short,
        ("`--env:<name>`", "an entry of `--env_kwargs`"),
        ("`--a:b`", "entry b of the dict parameter a"),
    ]
    rows.append(("`--flag[short]`", "the flag, which is called `short` in the name of the run's folder"))
    yield table(("flag", "stands for"), rows)
    yield "## spinup sac_tf1\n"
    names = [f"`--{name}`" for flags in flag_groups(spinup.sac_tf1).values() for name in flags]
    yield "[TensorFlow](tensorflow.md). These flags, with the defaults above, except that the default of"
    yield f"`--exp_name` is `cmd_sac_tf1`: {', '.join(names)}.\n"
    entries = "`hidden_sizes`, `activation` (a name in `tf.nn`), `state_dependent_std`"
    yield f"Entries of `--ac_kwargs`: {entries}.\n"


def link(target: str) -> str:
    """A link to a page or a section, with the heading as its text."""
    page, _, anchor = target.partition("#")
    for line in (PAGE.parent / page).read_text().splitlines():
        heading = re.match(r"#+ (.*)", line)
        if heading and anchor in ("", re.sub(r"[^\w-]", "", heading[1].lower().replace(" ", "-"))):
            return f"[{heading[1]}]({target})"
    raise ValueError(f"docs/{target} does not exist")


def network_rows() -> Iterator[Row]:
    """Flag, type, default and meaning of the entries of `ac_kwargs`."""
    text = inspect.getdoc(spinup.MLPActorCritic) or ""
    docs = {
        name: re.sub(r"\s+", " ", words).removesuffix(".")
        for names, words in re.findall(r"^    ([\w, ]+): (.*(?:\n        .*)*)", text, re.MULTILINE)
        for name in names.split(", ")
    }
    for name, parameter in inspect.signature(spinup.MLPActorCritic).parameters.items():
        if parameter.default is not parameter.empty and name not in field_defaults():
            yield f"`--ac_kwargs:{name}`", *kind(parameter), docs[name]


def kind(parameter: inspect.Parameter) -> tuple[str, str]:
    """Type and default of a parameter, as they are written on the command line."""
    default = parameter.default
    if isinstance(default, bool):
        return "bool", f"`{default}`"
    if isinstance(default, type):
        return "name in `torch.nn`", f"`torch.nn.{default.__name__}`"
    words = parameter.annotation.removesuffix(" | None").replace(" | ", " or ")
    words = re.sub(r"(dict|tuple)\[.*\]", r"\1", words).replace("Sequence[int]", "list of int")
    return words, "" if default is None or default == {} else f"`{default}`"


def _other_commands() -> Iterator[str]:
    yield "## spinup tune\n"
    refused = "`--resume`, `--overwrite`, `--datestamp` and `--track`"
    yield f"[Tune](tuning.md). Each flag of `spinup sac` but {refused}, with one value, and\n"
    yield table(("flag", "type", "default", "meaning"), TUNE)
    for command in COMMANDS:
        if command in ALGORITHMS or command == "tune":
            continue
        parser = parser_of(command)
        yield f"## spinup {command}\n"
        yield f"{parser.description}\n"
        yield table(("flag", "type", "default", "meaning"), list(map(action_row, actions(parser))))


def parser_of(command: str) -> Parser:
    """The parser that a subcommand makes."""
    made: list[Parser] = []

    def stop(parser: Parser, words: list[str]) -> Any:
        made.append(parser)
        raise InterruptedError

    with patch.object(Parser, "parse", stop):
        try:
            COMMANDS[command]([])
        except InterruptedError:
            return made[0]
    raise AssertionError(f"spinup {command} has no parser")


def actions(parser: Parser) -> list[argparse.Action]:
    """The arguments of a subcommand."""
    return [action for action in parser._actions if action.dest != "help"]


def action_row(action: argparse.Action) -> Row:
    """Flag, type, default and meaning of an argument."""
    value = f" {action.metavar}" if action.nargs != 0 else ""
    names = [f"`{name}{value * name.startswith('--')}`" for name in action.option_strings]
    several = ", several" if action.nargs in ("+", "*") else ", or no value" if action.nargs == "?" else ""
    words = "bool" if action.nargs == 0 else action.type.__name__ if isinstance(action.type, type) else "str"
    default = " ".join(action.default) if isinstance(action.default, list) else action.default
    shown = "required" if action.required and action.nargs != "*" else f"`{default}`" if default else ""
    meaning = (action.help or "").replace("%(default)s", str(default)).replace("%%", "%")
    meaning = meaning.removesuffix(f" (default {default})")
    return ", ".join(names) or f"`{action.metavar}`", words + several, shown, meaning


def table(head: Row, rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [head, tuple("---" for _ in head), *(tuple(map(cell, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def cell(text: str) -> str:
    """Text for a cell: placeholders such as <name>, which would be HTML tags, are code; pages are links."""
    parts = re.split(r"(`[^`]*`)", re.sub(r"docs/(\w+)\.md", r"[\1](\1.md)", text))
    parts[::2] = [re.sub(r"[^\s`;,()]*<\w+>[^\s`;,()]*", r"`\g<0>`", part) for part in parts[::2]]
    return "".join(parts).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
    print(f"wrote {PAGE}")
