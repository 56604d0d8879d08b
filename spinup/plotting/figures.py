"""Draws learning curves: one line per experiment, shaded by the spread over its seeds; writes them as CSV."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.errors import ConfigError, RunError, option
from spinup.files import atomic_write
from spinup.loggers.display import has_display
from spinup.plotting.curves import (
    CSV_COLUMNS,
    ESTIMATORS,
    Curve,
    Run,
    Series,
    aggregate,
    column,
    find_runs,
    moving_average,
    performance_column,
    steps_or_epochs,
)
from spinup.plotting.iqm import iqm_curve, normalized

Array = NDArray[np.float64]
IQM = "iqm"


def make_plots(
    logdirs: Sequence[str | Path],
    legend: Sequence[str] | None = None,
    xaxis: str = "TotalEnvInteracts",
    values: Sequence[str] = ("Performance",),
    count: bool = False,
    smooth: int = 1,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
    estimator: str = "mean",
    save: str | Path | None = None,
    csv_file: str | Path | None = None,
) -> list[Path]:
    """Plot the runs under some folders, one figure per value, or write their values to a CSV file.

    Args:
        logdirs: folders, searched recursively; a path that is not a folder stands for all folders whose
            paths begin with it. Or files *.csv with the columns of `csv_file`.
        legend: a name for each of `logdirs`, or for each folder that they stand for, in the same order; by
            default lines are named by exp_name.
        xaxis: the column on the x axis.
        values: the columns on the y axis; Performance is AverageTestEpRet if there is one, else AverageEpRet.
        count: one line per run, instead of one per experiment.
        smooth: width of the centered moving average, in rows.
        select: only runs whose path contains all of these.
        exclude: no runs whose path contains any of these.
        estimator: mean, median, max or min, over seeds; the shaded band is one standard deviation each way.
            Or iqm, the interquartile mean over seeds and environments with its 95% stratified bootstrap
            interval (Agarwal et al. 2021) and the line of every run; where an experiment has several
            environments, values are scaled to [0, 1] for each environment, see `normalized`.
        save: an image file instead of windows; with several values, the value is added to its name.
        csv_file: a file that receives the values of all runs, not smoothed, in the columns exp_name,
            env_name, seed, metric, env_step, value. No window is opened then.

    Returns:
        The files written.

    Raises:
        RunError: if there is no run to plot, or no display to show it on.
        ConfigError: for a column that a run does not have, or an invalid value.
    """
    if estimator not in (*ESTIMATORS, IQM):
        known = ", ".join((*ESTIMATORS, IQM))
        raise ConfigError(f"{option('estimator=', '--est ')}{estimator}: give one of {known}")
    if estimator == IQM and count:
        raise ConfigError(
            f"{option('count=True', '--count')} draws one line per run, and an interquartile mean is over "
            "several: leave out one of the two"
        )
    if smooth < 1:
        raise ConfigError(f"{option('smooth=', '-s ')}{smooth}: give a width of at least 1 row")
    runs = find_runs(logdirs, legend, select, exclude)
    xaxis = steps_or_epochs([run.columns for run in runs], xaxis)
    if legend:
        for name, root in dict.fromkeys((run.name, run.root) for run in runs):
            print(f"{name}: {root}")
    written = [] if csv_file is None else [_write_csv(runs, values, Path(csv_file))]
    if save is None and written:
        return written
    if save is None and not _can_show():
        remedy = option("save='curve.png'", "--save curve.png")
        raise RunError(f"there is no display to open a window on: give {remedy}")
    figures = [_figure(runs, xaxis, value, count, smooth, estimator) for value in dict.fromkeys(values)]
    if save is None:
        _show(figures, xaxis)
        return []
    paths = [_output_path(save, value, len(figures)) for value in dict.fromkeys(values)]
    return [*written, *(_save(*drawn, xaxis, path) for drawn, path in zip(figures, paths, strict=True))]


def _figure(
    runs: list[Run], xaxis: str, value: str, count: bool, smooth: int, estimator: str
) -> tuple[list[Curve], str]:
    """The lines of a figure and the title of its y axis."""
    groups: dict[str, dict[str, Series]] = {}  # series by name of the line, and by environment
    names = Counter(_line_name(run) for run in runs)
    for run in runs:
        x, y = column(run, xaxis), column(run, value)
        kept = np.isfinite(x) & np.isfinite(y)
        if kept.any():
            name = _line_name(run) if count else run.name
            if count and names[name] > 1:  # folders of the same name with different parents
                name = f"{run.name} {run.path}"
            tasks = groups.setdefault(name, {})
            tasks.setdefault(run.env, []).append((x[kept], moving_average(y[kept], smooth)))
    if not groups:
        raise RunError(f"no run has a row with both {xaxis} and {value} yet: try again later")
    if estimator != IQM:
        pooled = {name: list(chain(*tasks.values())) for name, tasks in groups.items()}
        return [aggregate(name, series, estimator) for name, series in pooled.items()], value
    title = f"{value}, IQM"
    if any(len(tasks) > 1 for tasks in groups.values()):
        groups, title = normalized(groups), f"{title}, scaled to [0, 1] for each environment"
    return [iqm_curve(name, list(tasks.values())) for name, tasks in groups.items()], title


def _write_csv(runs: list[Run], values: Sequence[str], path: Path) -> Path:
    """Write the values of all runs, one row each; `env_step` of an offline run is its epoch."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for run in runs:
        steps = column(run, steps_or_epochs([run.columns], "TotalEnvInteracts"))
        for value in dict.fromkeys(values):
            metric = performance_column(run.columns) if value == "Performance" else value
            for step, number in zip(steps, column(run, metric), strict=True):
                if np.isfinite(step) and np.isfinite(number):
                    row = (run.exp_name, run.env, run.seed, metric, f"{step:.0f}", repr(float(number)))
                    writer.writerow(row)
    try:
        atomic_write(path, text.getvalue().encode())
    except OSError as error:
        raise ConfigError(f"{option('csv_file=', '--csv ')}{path}: {error.strerror}") from None
    print(f"saved {path}")
    return path


def _line_name(run: Run) -> str:
    return f"{run.name} {run.path.name}"


def _draw(axes: Any, curves: list[Curve], xaxis: str, title: str) -> None:
    for curve in curves:
        # The curve's line is drawn before the lines of its runs, so that colors follow the order of curves.
        (line,) = axes.plot(curve.x, curve.y, label=curve.name, marker="o" if curve.x.size == 1 else None)
        for x, y in curve.runs:
            axes.plot(x, y, color=line.get_color(), alpha=0.3, linewidth=0.7)
        band = curve.interval
        if curve.spread is not None:
            band = curve.y - curve.spread, curve.y + curve.spread
        if band is not None:
            low, high = band
            axes.fill_between(curve.x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    if max(curve.x.max(initial=0.0) for curve in curves) > 5e3:
        axes.ticklabel_format(style="sci", axis="x", scilimits=(0, 0))
    axes.set_xlabel(xaxis)
    axes.set_ylabel(title)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")


def _save(curves: list[Curve], title: str, xaxis: str, path: Path) -> Path:
    # A Figure without pyplot needs no window system and changes no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="tight")
    FigureCanvasAgg(figure)
    _draw(figure.add_subplot(), curves, xaxis, title)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{option('save=', '--save ')}{path}: {str(error).splitlines()[0]}") from None
    print(f"saved {path}")
    return path


def _show(figures: list[tuple[list[Curve], str]], xaxis: str) -> None:
    import matplotlib.pyplot as plt

    for curves, title in figures:
        figure = plt.figure(figsize=(8, 5), layout="tight")
        _draw(figure.add_subplot(), curves, xaxis, title)
    plt.show()


def _can_show() -> bool:
    if not has_display():
        return False
    import matplotlib.pyplot as plt

    # Without a GUI toolkit, Matplotlib falls back to a backend that only draws to files.
    return str(plt.get_backend()).lower() not in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


def _output_path(save: str | Path, value: str, count: int) -> Path:
    path = Path(save)
    path = path if path.suffix else path.with_suffix(".png")
    return path if count == 1 else path.with_stem(f"{path.stem}_{value}")
