"""The data of learning curves: finds runs, reads their columns, and aggregates over seeds."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.errors import ConfigError, RunError, option
from spinup.files import MAX_TABLE_BYTES, existing_dir, open_regular, read_json
from spinup.hints import nearest
from spinup.loggers.text import printable

Array = NDArray[np.float64]
Series = list[tuple[Array, Array]]  # x and y, each (rows,), of several runs
MAX_COLUMNS, MAX_CELL, MAX_NAME = 10_000, 100, 200  # columns; characters of a number, and of a name
MAX_NUMBER = 1e300  # beyond, Matplotlib's arithmetic overflows
CSV_COLUMNS = ("exp_name", "env_name", "seed", "metric", "env_step", "value")
ESTIMATORS: dict[str, Callable[..., Any]] = {
    "mean": np.mean, "median": np.median, "max": np.max, "min": np.min,
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """The table of one run.

    Attributes:
        root: the folder under which it was found.
        path: the run's folder.
        name: label of its line in a legend of Matplotlib.
        columns: columns by name, float64 (rows,), nan where a cell is not a number.
        exp_name: the label as plain text.
        env: the environment's id; empty if it is not recorded.
        seed: the seed; empty if it is not recorded.
    """

    root: Path
    path: Path
    name: str
    columns: dict[str, Array]
    exp_name: str = ""
    env: str = ""
    seed: str = ""


@dataclass(frozen=True)
class Curve:
    """One line of a figure.

    Attributes:
        name: label of the line.
        x, y: the points, each (points,).
        spread: standard deviation over runs, (points,); None for a single run.
        interval: lower and upper ends of a confidence interval, (points,), drawn instead of `spread`.
        runs: (x, y) of runs that are drawn in addition to the line.
    """

    name: str
    x: Array
    y: Array
    spread: Array | None
    interval: tuple[Array, Array] | None = None
    runs: tuple[tuple[Array, Array], ...] = ()


def find_runs(
    logdirs: Sequence[str | Path],
    legend: Sequence[str] | None = None,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> list[Run]:
    """The runs under some folders that have at least one row; the arguments are those of `make_plots`.

    Without a legend, a run that lies under several of the folders is found once.

    Raises:
        RunError: if a folder does not exist, there is no such run, or a file of one is damaged.
        ConfigError: if there is neither one legend per path nor one per folder.
    """

    def is_selected(path: Path) -> bool:
        return all(s in str(path) for s in select) and not any(s in str(path) for s in exclude)

    runs = []
    known: set[str] = set()
    for root, label in labeled_roots(logdirs, legend, csv_files=True):
        if os.path.isfile(root):
            runs += [run for run in read_csv(root, label) if is_selected(run.path)]
            continue
        for table in _tables(root):
            real = os.path.realpath(table)
            if is_selected(table.parent) and (label or real not in known):
                known.add(real)
                folder, columns = table.parent, read_table(table)
                path_of_config = folder / "config.json"
                config = read_json(path_of_config) if os.path.lexists(path_of_config) else {}
                exp_name = label or experiment_name(folder, config)
                name = _label(label or exp_name)
                run = Run(root, folder, name, columns, exp_name, env_name(config), seed_of(folder, config))
                runs += [run] if columns else []
    if not runs:
        among = " that --select and --exclude leave" if select or exclude else ""
        raise RunError(
            f"no run with a row under {', '.join(map(str, logdirs))}{among}: give a folder with runs that "
            "have one"
        )
    return runs


def _tables(root: Path) -> list[Path]:
    """The paths of the tables of all runs below a folder; config.json may give a table another name."""
    tables = set(root.rglob("progress.txt"))
    for path in root.rglob("config.json"):
        with contextlib.suppress(RunError):  # reported where the run is read, if it has rows
            tables.add(path.with_name(table_name(read_json(path))))
    return sorted(table for table in tables if os.path.lexists(table))


def table_name(config: dict[str, Any]) -> str:
    """The name of a run's table in its folder, from its config.json."""
    logging = config.get("logger_kwargs")
    name = logging.get("output_fname") if isinstance(logging, dict) else None
    return name if isinstance(name, str) and name == os.path.basename(name) != "" else "progress.txt"


def read_table(path: Path) -> dict[str, Array]:
    """The columns of a progress.txt, float64 (rows,), without incomplete rows; empty if no row remains.

    Raises:
        RunError: if it cannot be read (see `open_regular`), or has more columns than a run writes.
    """
    try:
        with open_regular(path, MAX_TABLE_BYTES) as file:
            header = file.readline().decode(errors="replace").removesuffix("\n").split("\t")
            if len(header) > MAX_COLUMNS:
                raise RunError(f"{path} has {len(header)} columns, which is more than a run writes there")
            # One row at a time, since lists of Python's numbers would take many times the size of the file.
            cells = array("d")
            for line in file:
                row = line.removesuffix(b"\n").split(b"\t", len(header))
                if line.endswith(b"\n") and len(row) == len(header):
                    cells.extend(map(_number, row))
    except RunError as error:
        raise RunError(f"{error}: remove it, or leave the run out with --exclude") from None
    table = np.array(cells).reshape(-1, len(header))
    return {name: table[:, i] for i, name in enumerate(header)} if table.size else {}


def read_csv(path: Path, label: str | None = None) -> list[Run]:
    """The runs of a CSV file with one row per value, such as `make_plots` writes.

    Each run is one combination of exp_name, env_name and seed. Its metrics are columns, with nan at steps
    that lack a value; `env_step` is TotalEnvInteracts.

    Args:
        path: the file.
        label: replaces exp_name.

    Raises:
        RunError: if the file cannot be read, or has other columns.
    """
    found: dict[tuple[str, str, str], dict[str, dict[float, float]]] = {}
    with open_regular(path, MAX_TABLE_BYTES) as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8", "replace", newline=""))
        try:
            if tuple(next(rows, ())) != CSV_COLUMNS:
                raise RunError(f"{path} does not begin with the line {','.join(CSV_COLUMNS)}")
            for row in rows:
                if len(row) != len(CSV_COLUMNS):
                    raise RunError(f"{path}, line {rows.line_num}: {len(row)} values, not {len(CSV_COLUMNS)}")
                name, env, seed, metric = (printable(" ".join(cell[:MAX_NAME].split())) for cell in row[:4])
                step, value = (_number(cell.encode()) for cell in row[4:])
                if math.isfinite(step):
                    found.setdefault((name, env, seed), {}).setdefault(metric, {})[step] = value
        except csv.Error as error:
            raise RunError(f"{path}, line {rows.line_num}: {error}") from None
    return [_run_of_csv(path, label, key, metrics) for key, metrics in found.items()]


def _run_of_csv(
    path: Path, label: str | None, key: tuple[str, str, str], metrics: dict[str, dict[float, float]]
) -> Run:
    exp_name, env, seed = key
    steps = sorted(set().union(*metrics.values()))
    columns = {
        name: np.array([values.get(step, np.nan) for step in steps]) for name, values in metrics.items()
    }
    columns["TotalEnvInteracts"] = np.array(steps)
    folder = path / " ".join(key)  # for messages, and to select by
    return Run(path, folder, _label(label or exp_name), columns, label or exp_name, env, seed)


def column(run: Run, name: str) -> Array:
    """A column of a run; Performance is the test return, or the training return if there were no tests.

    Raises:
        ConfigError: if the run has no such column, naming the closest.
    """
    if name == "Performance":
        name = performance_column(run.columns)
    if name not in run.columns:
        hint = nearest(name, list(run.columns))
        raise ConfigError(f"{run.path} has no column {name!r}{hint or ': it has ' + ', '.join(run.columns)}")
    return run.columns[name]


def steps_or_epochs(tables: Iterable[Mapping[str, Array]], xaxis: str) -> str:
    """The column of the x axis: Epoch in place of TotalEnvInteracts if no run has taken a step (offline)."""
    steps = [table[xaxis] for table in tables if xaxis in table]
    offline = xaxis == "TotalEnvInteracts" and steps and not any(values.any() for values in steps)
    return "Epoch" if offline else xaxis


def performance_column(columns: Mapping[str, Array]) -> str:
    """The column that Performance stands for in a table, see `column`."""
    known = ("AverageTestEpRet", "AverageEpRet")
    if "Performance" in columns:
        return "Performance"
    for name in known:
        if np.isfinite(columns.get(name, np.array([]))).any():
            return name
    return known[0] if known[0] in columns else known[1]


def moving_average(y: Array, width: int) -> Array:
    """Centered moving average of (n,) over `width` rows; near the ends, over the rows that exist."""
    i = np.arange(y.size)
    low, high = np.maximum(i - (width - 1) // 2, 0), np.minimum(i + width // 2 + 1, y.size)
    return np.array([y[a:b].mean() for a, b in zip(low, high, strict=True)])


def interpolated(series: Series) -> tuple[Array, Array]:
    """The union of the runs' x, (points,), and each run's y there, (runs, points); nan outside its range."""
    sorted_series = [(x[order], y[order]) for x, y in series for order in [np.argsort(x, kind="stable")]]
    grid = np.unique(np.concatenate([x for x, _ in sorted_series]))
    table = np.array([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in sorted_series])
    return grid, table


def aggregate(name: str, series: Series, estimator: str) -> Curve:
    """Aggregate the (x, y) of several runs to one curve, with a point at each x of any run.

    Runs are interpolated linearly between their rows, and excluded outside the range of their x.

    Args:
        name: label of the curve.
        series: x and y of each run.
        estimator: a key of ESTIMATORS, applied over runs.
    """
    grid, table = interpolated(series)
    finite = np.isfinite(table)
    kept = finite.any(axis=0)
    samples = [values[mask] for values, mask in zip(table.T[kept], finite.T[kept], strict=True)]
    y = np.array([ESTIMATORS[estimator](values) for values in samples])
    spread = np.array([values.std() for values in samples]) if len(series) > 1 else None
    return Curve(name, grid[kept], y, spread)


def labeled_roots(
    logdirs: Sequence[str | Path], legend: Sequence[str] | None, *, csv_files: bool = False
) -> list[tuple[Path, str | None]]:
    """The folders that each path stands for, in order, each with its legend, or None.

    Args:
        logdirs, legend: see `make_plots`.
        csv_files: whether a path may be a file *.csv, which stands for itself.

    Raises:
        RunError: if a folder does not exist.
        ConfigError: if there is neither one legend per path nor one per folder.
    """
    matches = [
        [Path(logdir)]
        if csv_files and str(logdir).endswith(".csv") and os.path.isfile(logdir)
        else _expand_prefix(Path(logdir))
        for logdir in logdirs
    ]
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
    if not os.path.isdir(path) and path.parent.is_dir():
        matches = sorted(p for p in path.parent.iterdir() if p.is_dir() and p.name.startswith(path.name))
        if matches:
            return matches
    return [existing_dir(path)]


def experiment_name(folder: Path, config: dict[str, Any]) -> str:
    """The name in a run's config.json, or its folder's name if that is missing or unsuitable for a legend."""
    name = config.get("exp_name")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        name = re.sub(r"_s\d+$", "", folder.resolve().name)
    return printable(" ".join(name.split()))


def env_name(config: dict[str, Any]) -> str:
    """The id of the environment in a run's config.json; empty if there is none."""
    env = config.get("env")
    found = env.get("id") if isinstance(env, dict) else env
    return printable(" ".join(found[:MAX_NAME].split())) if isinstance(found, str) else ""


def seed_of(folder: Path, config: dict[str, Any]) -> str:
    """The seed in a run's config.json, or in the name of its folder; empty if there is none."""
    seed = config.get("seed")
    number = re.search(r"_s(\d{1,20})$", folder.resolve().name)
    return str(seed) if type(seed) is int and 0 <= seed < 2**63 else number[1] if number else ""


def _label(name: str) -> str:
    """The name of an experiment in a legend of Matplotlib."""
    label = name.replace("$", r"\$")  # Matplotlib reads $...$ as a formula
    return f" {label}" if label.startswith("_") else label  # else Matplotlib would omit it from the legend


def _number(cell: bytes) -> float:
    try:
        number = float(cell) if len(cell) <= MAX_CELL else math.nan
    except ValueError:
        return math.nan
    return number if abs(number) <= MAX_NUMBER else math.nan
