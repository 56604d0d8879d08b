"""The numbers behind learning curves: runs found, columns read, seeds brought together."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.config import nearest
from spinup.errors import ConfigError, RunError
from spinup.files import existing_dir, read_json

Array = NDArray[np.float64]
ESTIMATORS: dict[str, Callable[..., Any]] = {
    "mean": np.mean, "median": np.median, "max": np.max, "min": np.min,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """The rows of one run: `columns[name]` is float64 (rows,), nan where a cell is no number."""

    path: Path
    name: str
    columns: dict[str, Array]


@dataclass(frozen=True)
class Curve:
    """A line: x and y of (points,), and the standard deviation over seeds, if there are several."""

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
    """The runs under some folders; see `plot.make_plots`.

    Raises:
        RunError: if a folder does not exist, or there is no run.
        ConfigError: if there is not one legend for each folder.
    """
    roots = [root for logdir in logdirs for root in _roots(Path(logdir))]
    if legend and len(legend) != len(roots):
        raise ConfigError(f"-l gives {len(legend)} names for {len(roots)} folders: give one for each")
    runs = []
    for i, root in enumerate(roots):
        for table in sorted(root.rglob("progress.txt")):
            path = str(table.parent)
            if all(s in path for s in select) and not any(s in path for s in exclude):
                columns = read_table(table)
                name = legend[i] if legend else _exp_name(table.parent)
                runs += [Run(table.parent, name, columns)] if columns else []
    if not runs:
        raise RunError(
            f"no run with a row yet under {', '.join(map(str, logdirs))}: give a folder that has some"
        )
    return runs


def read_table(path: Path) -> dict[str, Array]:
    """The columns of a progress.txt, float64 (rows,); empty if it has no whole row."""
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    if len(lines) < 2:
        return {}
    header = lines[0].split("\t")
    rows = [[_number(cell) for cell in line.split("\t")] for line in lines[1:]]
    table = np.array([row for row in rows if len(row) == len(header)], dtype=np.float64)
    return {name: table[:, i] for i, name in enumerate(header)} if table.size else {}


def column(run: Run, name: str) -> Array:
    """A column of a run; Performance is the test return, or the training return where no test was made.

    Raises:
        ConfigError: if the run has no such column, naming the nearest.
    """
    if name == "Performance" and name not in run.columns:
        for known in ("AverageTestEpRet", "AverageEpRet"):
            if np.isfinite(run.columns.get(known, np.array([]))).any():
                return run.columns[known]
        name = "AverageTestEpRet" if "AverageTestEpRet" in run.columns else "AverageEpRet"
    if name not in run.columns:
        hint = nearest(name, list(run.columns))
        raise ConfigError(
            f"{run.path} has no column {name!r}{hint or ': there are ' + ', '.join(run.columns)}"
        )
    return run.columns[name]


def smoothed(y: Array, width: int) -> Array:
    """Centred moving average of (n,) over `width` rows; near the ends, over those of them that there are."""
    i = np.arange(y.size)
    low, high = np.maximum(i - (width - 1) // 2, 0), np.minimum(i + width // 2 + 1, y.size)
    return np.array([y[a:b].mean() for a, b in zip(low, high, strict=True)])


def aggregate(name: str, series: list[tuple[Array, Array]], estimator: str) -> Curve:
    """One curve of several (x, y): at each x of any, over the seeds that have got that far.

    Each seed is read between its own rows by linear interpolation, and never beyond them.
    """
    sorted_series = [(x[order], y[order]) for x, y in series for order in [np.argsort(x, kind="stable")]]
    grid = np.unique(np.concatenate([x for x, _ in sorted_series]))
    table = np.array([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in sorted_series])
    there = np.isfinite(table)
    kept = there.any(axis=0)
    grid, table, there = grid[kept], table[:, kept], there[:, kept]
    columns = [column_[mask] for column_, mask in zip(table.T, there.T, strict=True)]
    y = np.array([ESTIMATORS[estimator](values) for values in columns])
    spread = np.array([values.std() for values in columns]) if len(series) > 1 else None
    return Curve(name, grid, y, spread)


def _roots(path: Path) -> list[Path]:
    """The folder itself, or all folders beside it whose names begin like it."""
    if not path.is_dir() and path.parent.is_dir():
        alike = sorted(p for p in path.parent.iterdir() if p.is_dir() and p.name.startswith(path.name))
        if alike:
            return alike
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
