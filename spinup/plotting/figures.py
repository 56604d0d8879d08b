"""Draws learning curves: one line per experiment, shaded by the spread over its seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.errors import ConfigError, RunError, option
from spinup.loggers.display import has_display
from spinup.plotting.curves import ESTIMATORS, Curve, Run, aggregate, column, find_runs, moving_average

Array = NDArray[np.float64]


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
) -> list[Path]:
    """Plot the runs under some folders, one figure per value.

    Args:
        logdirs: folders, searched recursively; a path that is not a folder stands for all folders whose
            paths begin with it.
        legend: a name for each of `logdirs`, or for each folder that they stand for, in the same order; by
            default lines are named by exp_name.
        xaxis: the column on the x axis.
        values: the columns on the y axis; Performance is AverageTestEpRet if there is one, else AverageEpRet.
        count: one line per run, instead of one per experiment.
        smooth: width of the centered moving average, in rows.
        select: only runs whose path contains all of these.
        exclude: no runs whose path contains any of these.
        estimator: mean, median, max or min, over seeds; the shaded band is one standard deviation each way.
        save: an image file instead of windows; with several values, the value is added to its name.

    Returns:
        The files written.

    Raises:
        RunError: if there is no run to plot, or no display to show it on.
        ConfigError: for a column that a run does not have, or an invalid value.
    """
    if estimator not in ESTIMATORS:
        raise ConfigError(f"{option('estimator=', '--est ')}{estimator}: give one of {', '.join(ESTIMATORS)}")
    if smooth < 1:
        raise ConfigError(f"{option('smooth=', '-s ')}{smooth}: give a width of at least 1 row")
    runs = find_runs(logdirs, legend, select, exclude)
    if legend:
        for name, root in dict.fromkeys((run.name, run.root) for run in runs):
            print(f"{name}: {root}")
    if save is None and not _can_show():
        remedy = option("save='curve.png'", "--save curve.png")
        raise RunError(f"there is no display to open a window on: give {remedy}")
    curves = {value: _curves(runs, xaxis, value, count, smooth, estimator) for value in values}
    if save is None:
        _show(curves, xaxis)
        return []
    paths = [_output_path(save, value, len(curves)) for value in curves]
    return [_save(curves[value], xaxis, value, path) for value, path in zip(curves, paths, strict=True)]


def _curves(runs: list[Run], xaxis: str, value: str, count: bool, smooth: int, estimator: str) -> list[Curve]:
    groups: dict[str, list[tuple[Array, Array]]] = {}
    names = Counter(_line_name(run) for run in runs)
    for run in runs:
        x, y = column(run, xaxis), column(run, value)
        kept = np.isfinite(x) & np.isfinite(y)
        if kept.any():
            name = _line_name(run) if count else run.name
            if count and names[name] > 1:  # folders of the same name with different parents
                name = f"{run.name} {run.path}"
            groups.setdefault(name, []).append((x[kept], moving_average(y[kept], smooth)))
    if not groups:
        raise RunError(f"no run has a row with both {xaxis} and {value} yet: try again later")
    return [aggregate(name, series, estimator) for name, series in groups.items()]


def _line_name(run: Run) -> str:
    return f"{run.name} {run.path.name}"


def _draw(axes: Any, curves: list[Curve], xaxis: str, value: str) -> None:
    for curve in curves:
        (line,) = axes.plot(curve.x, curve.y, label=curve.name, marker="o" if curve.x.size == 1 else None)
        if curve.spread is not None:
            low, high = curve.y - curve.spread, curve.y + curve.spread
            axes.fill_between(curve.x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    if max(curve.x.max() for curve in curves) > 5e3:
        axes.ticklabel_format(style="sci", axis="x", scilimits=(0, 0))
    axes.set_xlabel(xaxis)
    axes.set_ylabel(value)
    axes.grid(alpha=0.3)
    axes.legend(loc="best")


def _save(curves: list[Curve], xaxis: str, value: str, path: Path) -> Path:
    # A Figure without pyplot needs no window system and changes no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="tight")
    FigureCanvasAgg(figure)
    _draw(figure.add_subplot(), curves, xaxis, value)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{option('save=', '--save ')}{path}: {str(error).splitlines()[0]}") from None
    print(f"saved {path}")
    return path


def _show(curves: dict[str, list[Curve]], xaxis: str) -> None:
    import matplotlib.pyplot as plt

    for value in curves:
        figure = plt.figure(figsize=(8, 5), layout="tight")
        _draw(figure.add_subplot(), curves[value], xaxis, value)
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
