"""Summaries of runs from the files in their folders; damaged files are listed and raise no exception."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.config import field_defaults
from spinup.errors import RunError
from spinup.files import read_json
from spinup.loggers.text import error_line, printable
from spinup.plotting.curves import (
    env_name,
    experiment_name,
    labeled_roots,
    performance_column,
    read_table,
    seed_of,
    table_name,
)
from spinup.runs.status import run_status

Array = NDArray[np.float64]
DAMAGED = "damaged"
MAX_TEXT, MAX_SETTINGS = 200, 1000  # characters of a value, and number of settings of a run
# Entries of config.json that are shown elsewhere, or are not settings.
_NO_SETTINGS = ("exp_name", "seed", "logger_kwargs", "machine")
_NO_RUNS = re.compile(r"checkpoint|pyt_save|tf1_save.*|\..*")  # folders in a run folder without runs


@dataclass(frozen=True)
class RunSummary:
    """The summary of one run.

    Attributes:
        path: the run's folder.
        name: name of the experiment, or the given label.
        env: the environment's id; empty if it is not recorded.
        seed: the seed as text; empty if it is not recorded.
        status: see `run_status`, or "damaged".
        problems: the cause of a failure, and files that could not be read; one line each.
        total: planned environment steps; 0 if they are not recorded.
        settings, machine: entries of config.json, with nested names joined by dots, and values as text.
        columns: the run's table, see `read_table`.
        table: the name of its file.
    """

    path: Path
    name: str
    env: str = ""
    seed: str = ""
    status: str = DAMAGED
    problems: tuple[str, ...] = ()
    total: int = 0
    settings: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    columns: dict[str, Array] = field(default_factory=dict)
    table: str = "progress.txt"

    def column(self, name: str) -> Array:
        """A column, (rows,), or empty; Performance is the test return, else the training return."""
        if name == "Performance":
            name = performance_column(self.columns)
        return self.columns.get(name, np.array([]))

    def last(self, name: str) -> float:
        """The last number of a column; nan if there is none."""
        finite = self.column(name)[np.isfinite(self.column(name))]
        return float(finite[-1]) if finite.size else float("nan")


def find_folders(
    logdirs: Sequence[str | Path],
    legend: Sequence[str] | None = None,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> list[tuple[Path, str | None]]:
    """The run folders under some folders, each once, and their labels; for the arguments, see `make_plots`.

    Raises:
        RunError: if a folder does not exist.
        ConfigError: if there is neither one legend per path nor one per folder.
    """
    found: dict[Path, tuple[Path, str | None]] = {}
    for root, label in labeled_roots(logdirs, legend):
        for folder in _walk(root):
            text = str(folder)
            if all(s in text for s in select) and not any(s in text for s in exclude):
                found.setdefault(Path(os.path.realpath(folder)), (folder, label))
    return list(found.values())


def _walk(root: Path) -> Iterator[Path]:
    """The folders with a table or a config.json, sorted; links to folders are not followed."""
    for folder, subfolders, files in os.walk(root):
        is_run = "progress.txt" in files or "config.json" in files
        if is_run:
            yield Path(folder)
        subfolders[:] = sorted(s for s in subfolders if not (is_run and _NO_RUNS.fullmatch(s)))


def read_run(folder: Path, label: str | None = None) -> RunSummary | None:
    """The summary of a folder; None if it holds no run.

    Args:
        folder: an existing folder.
        label: replaces the name in config.json.
    """
    problems = []
    config: dict[str, Any] = {}
    if os.path.lexists(folder / "config.json"):
        try:
            config = read_json(folder / "config.json")
        except RunError as error:
            problems.append(error_line(error))
    table = table_name(config)
    columns: dict[str, Array] = {}
    if os.path.lexists(folder / table):
        try:
            columns = read_table(folder / table)
        except RunError as error:
            problems.append(error_line(error))
    elif not problems and "algorithm" not in config:
        return None  # another program's config.json
    status, cause = (DAMAGED, "") if problems else run_status(folder, config, table)
    planned = [n for n in (config.get("epochs"), config.get("steps_per_epoch")) if type(n) is int and n > 0]
    return RunSummary(
        path=folder,
        table=table,
        name=text_of(label) if label else experiment_name(folder, config),
        env=env_name(config),
        seed=seed_of(folder, config),
        status=status,
        problems=(*problems, *([cause] if cause else [])),
        total=planned[0] * planned[1] if len(planned) == 2 else 0,
        settings=flatten({k: v for k, v in _settings(config).items() if k not in _NO_SETTINGS}),
        machine=flatten(config["machine"]) if isinstance(config.get("machine"), dict) else {},
        columns=columns,
    )


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """The settings, with defaults for those that an earlier version did not record."""
    defaults = field_defaults() if "algorithm" in config else {}
    env = config.get("env")
    shown = {k: v for k, v in env.items() if k != "id"} if isinstance(env, dict) else {}
    return {**defaults, **config, "env": shown}


def flatten(value: Any, prefix: str = "") -> dict[str, str]:
    """Flatten nested dicts: names are joined by dots, values become text; at most MAX_SETTINGS entries."""
    found: dict[str, str] = {}
    stack = [(prefix, value)]
    while stack and len(found) < MAX_SETTINGS:
        name, item = stack.pop()
        if isinstance(item, dict) and (item or not name):
            stack += [(f"{name}.{k}" if name else str(k), v) for k, v in reversed(item.items())]
        else:
            found[text_of(name)] = text_of(item)
    return found


def text_of(value: Any) -> str:
    """A value of a file as printable text on one line, of bounded length."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = printable(" ".join(text[: 10 * MAX_TEXT].split()))
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}..."
