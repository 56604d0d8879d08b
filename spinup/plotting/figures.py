"""Learning curves: seeds of one experiment as a line with its spread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.cli.parser import Parser
from spinup.errors import ConfigError, RunError
from spinup.playback.viewer import has_display
from spinup.plotting.curves import ESTIMATORS, Curve, Run, aggregate, column, find_runs, smoothed

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
        logdirs: folders, searched to any depth; a path that is none stands for all that begin with it.
        legend: a name for each of them; by default experiments are named by their exp_name.
        xaxis: the column along x.
        values: the columns along y; Performance is AverageTestEpRet where there is one, else AverageEpRet.
        count: a line for each run, instead of one for all seeds of an experiment.
        smooth: width of the centred moving average, in rows.
        select: keep runs whose path contains all of these.
        exclude: drop runs whose path contains any of these.
        estimator: mean, median, max or min, over seeds. The shade is one standard deviation to each side.
        save: an image file instead of windows; with several values each gets its name added.

    Returns:
        The files that were written.

    Raises:
        RunError: if there is no run there, or no display to show it on.
        ConfigError: for a column that no run has, or a value that cannot be.
    """
    if estimator not in ESTIMATORS:
        raise ConfigError(f"--est {estimator}: give one of {', '.join(ESTIMATORS)}")
    if smooth < 1:
        raise ConfigError(f"-s {smooth}: give a width of at least 1 row")
    runs = find_runs(logdirs, legend, select, exclude)
    if save is None and not _can_show():
        raise RunError("there is no display to open a window on: give --save FILE, as in --save curve.png")
    drawn = {value: _curves(runs, xaxis, value, count, smooth, estimator) for value in values}
    if save is None:
        _show(drawn, xaxis)
        return []
    return [_save(curves, xaxis, value, _name(save, value, len(drawn))) for value, curves in drawn.items()]


def _curves(runs: list[Run], xaxis: str, value: str, count: bool, smooth: int, estimator: str) -> list[Curve]:
    groups: dict[str, list[tuple[Array, Array]]] = {}
    names = Counter(_line_name(run) for run in runs)
    for run in runs:
        x, y = column(run, xaxis), column(run, value)
        kept = np.isfinite(x) & np.isfinite(y)
        if kept.any():
            name = _line_name(run) if count else run.name
            if count and names[name] > 1:  # the same names below different parents
                name = f"{run.name} {run.path}"
            groups.setdefault(name, []).append((x[kept], smoothed(y[kept], smooth)))
    if not groups:
        raise RunError(f"no run has a row with both {xaxis} and {value} yet: plot it a little later")
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
    # A Figure of its own, not pyplot: no window system is asked, and no global state is touched.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="tight")
    FigureCanvasAgg(figure)
    _draw(figure.add_subplot(), curves, xaxis, value)
    try:
        figure.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--save {path}: {str(error).splitlines()[0]}") from None
    print(f"saved {path}")
    return path


def _show(drawn: dict[str, list[Curve]], xaxis: str) -> None:
    import matplotlib.pyplot as plt

    for value, curves in drawn.items():
        figure = plt.figure(figsize=(8, 5), layout="tight")
        _draw(figure.add_subplot(), curves, xaxis, value)
    plt.show()


def _can_show() -> bool:
    if not has_display():
        return False
    import matplotlib.pyplot as plt

    # Without a GUI toolkit, Matplotlib falls back on a backend that only draws to files.
    return str(plt.get_backend()).lower() not in ("agg", "cairo", "pdf", "pgf", "ps", "svg", "template")


def _name(save: str | Path, value: str, count: int) -> Path:
    path = Path(save)
    path = path if path.suffix else path.with_suffix(".png")
    return path if count == 1 else path.with_stem(f"{path.stem}_{value}")


def main(words: Sequence[str]) -> int:
    """`spinup plot`.

    Raises:
        SpinupError: see `make_plots`.
    """
    parser = Parser(
        "spinup plot",
        "Plot learning curves; the seeds of one experiment share a line, shaded by their spread.",
        "examples:\n  spinup plot data/hc\n  spinup plot data/hc data/hop -l cheetah hopper --save both.png",
    )
    add = parser.add_argument
    add(
        "logdir",
        nargs="+",
        metavar="LOGDIR",
        help="folders with runs in them; or what their names begin with",
    )
    add("-l", "--legend", nargs="+", metavar="LEGEND", help="a name for each LOGDIR")
    add(
        "-x", "--xaxis", default="TotalEnvInteracts", metavar="COL", help="column (default TotalEnvInteracts)"
    )
    add("-y", "--value", nargs="+", default=["Performance"], metavar="COL", help="columns, a figure each")
    add("--count", action="store_true", help="a line for each seed")
    add("-s", "--smooth", type=int, default=1, metavar="SMOOTH", help="moving average over this many rows")
    add("--select", nargs="+", default=[], metavar="S", help="only runs whose path contains all of these")
    add("--exclude", nargs="+", default=[], metavar="S", help="no runs whose path contains any of these")
    add("--est", default="mean", metavar="EST", help="over seeds: mean (default), median, max or min")
    add("--save", metavar="FILE", help="write an image instead of opening a window")
    args = parser.parse(words)
    make_plots(
        args.logdir, args.legend, args.xaxis, args.value, args.count, args.smooth,
        args.select, args.exclude, args.est, args.save,
    )  # fmt: skip
    return 0
