"""The data of learning curves: finds runs, reads their columns, and aggregates over seeds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.config import nearest
from spinup.errors import ConfigError, RunError, option
from spinup.files import existing_dir, read_json

Array = NDArray[np.float64]
ESTIMATORS: dict[str, Callable[..., Any]] = {
    "mean": np.mean, "median": np.median, "max": np.max, "min": np.min,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """The table of one run: `columns[name]` is float64 (rows,), nan where a cell is not a number.

    `root` is the folder under which it was found.
    """

    root: Path
    path: Path
    name: str
    columns: dict[str, Array]


@dataclass(frozen=True)
class Curve:
    """One line: `x`, `y` and, for several runs, their standard deviation `spread`, each (points,)."""

    name: str
    x: Array
    y: Array
    spread: Array | None


def find_runs(
    logdirs: Sequence[str | Path],
    legend: Sequence[str] | None = None,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> list[Run]:
    """The runs under some folders that have at least one row; the arguments are those of `make_plots`.

    Raises:
        RunError: if a folder does not exist, or there is no such run.
        ConfigError: if there is neither one legend per path nor one per folder.
    """
    runs = []
    for root, label in _labeled_roots(logdirs, legend):
        for table in sorted(root.rglob("progress.txt")):
            path = str(table.parent)
            if all(s in path for s in select) and not any(s in path for s in exclude):
                columns = read_table(table)
                name = label or _exp_name(table.parent)
                runs += [Run(root, table.parent, name, columns)] if columns else []
    if not runs:
        raise RunError(
            f"no run with a row under {', '.join(map(str, logdirs))}: give a folder with runs that have one"
        )
    return runs


def read_table(path: Path) -> dict[str, Array]:
    """The columns of a progress.txt, float64 (rows,), without incomplete rows; empty if no row remains."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    if len(lines) < 2:
        return {}
    header = lines[0].split("\t")
    rows = [[_number(cell) for cell in line.split("\t")] for line in lines[1:]]
    table = np.array([row for row in rows if len(row) == len(header)], dtype=np.float64)
    return {name: table[:, i] for i, name in enumerate(header)} if table.size else {}


def column(run: Run, name: str) -> Array:
    """A column of a run; Performance is the test return, or the training return if there were no tests.

    Raises:
        ConfigError: if the run has no such column, naming the closest.
    """
    if name == "Performance" and name not in run.columns:
        for known in ("AverageTestEpRet", "AverageEpRet"):
            if np.isfinite(run.columns.get(known, np.array([]))).any():
                return run.columns[known]
        name = "AverageTestEpRet" if "AverageTestEpRet" in run.columns else "AverageEpRet"
    if name not in run.columns:
        hint = nearest(name, list(run.columns))
        raise ConfigError(f"{run.path} has no column {name!r}{hint or ': it has ' + ', '.join(run.columns)}")
    return run.columns[name]


def moving_average(y: Array, width: int) -> Array:
    """Centered moving average of (n,) over `width` rows; near the ends, over the rows that exist."""
    i = np.arange(y.size)
    low, high = np.maximum(i - (width - 1) // 2, 0), np.minimum(i + width // 2 + 1, y.size)
    return np.array([y[a:b].mean() for a, b in zip(low, high, strict=True)])


def aggregate(name: str, series: list[tuple[Array, Array]], estimator: str) -> Curve:
    """One curve from the (x, y) of several runs, with a point at each x of any of them.

    Runs are interpolated linearly between their rows and never extrapolated: a run counts only from its
    first x to its last.
    """
    sorted_series = [(x[order], y[order]) for x, y in series for order in [np.argsort(x, kind="stable")]]
    grid = np.unique(np.concatenate([x for x, _ in sorted_series]))
    table = np.array([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in sorted_series])
    finite = np.isfinite(table)
    kept = finite.any(axis=0)
    samples = [values[mask] for values, mask in zip(table.T[kept], finite.T[kept], strict=True)]
    y = np.array([ESTIMATORS[estimator](values) for values in samples])
    spread = np.array([values.std() for values in samples]) if len(series) > 1 else None
    return Curve(name, grid[kept], y, spread)


def _labeled_roots(
    logdirs: Sequence[str | Path], legend: Sequence[str] | None
) -> list[tuple[Path, str | None]]:
    """The folders that each path stands for, in order, each with its legend; None without one."""
    matches = [_expand_prefix(Path(logdir)) for logdir in logdirs]
    roots = [root for found in matches for root in found]
    if not legend:
        return [(root, None) for root in roots]
    if len(legend) == len(matches):
        return [(root, label) for found, label in zip(matches, legend, strict=True) for root in found]
    if len(legend) != len(roots):
        raise ConfigError(
            f"{option('legend', '-l')} gives {len(legend)} names for {len(roots)} folders, given by "
            f"{len(matches)} path{'s' * (len(matches) != 1)}: give one name for each folder or path"
        )
    return list(zip(roots, legend, strict=True))


def _expand_prefix(path: Path) -> list[Path]:
    """The folder, or if it does not exist, all folders whose paths begin with its path."""
    if not path.is_dir() and path.parent.is_dir():
        matches = sorted(p for p in path.parent.iterdir() if p.is_dir() and p.name.startswith(path.name))
        if matches:
            return matches
    return [existing_dir(path)]


def _exp_name(folder: Path) -> str:
    config = folder / "config.json"
    name = read_json(config).get("exp_name") if config.exists() else None
    return name if isinstance(name, str) else re.sub(r"_s\d+$", "", folder.resolve().name)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")
