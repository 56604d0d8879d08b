"""Writes the report of runs to a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from spinup.errors import ConfigError, RunError, option
from spinup.files import atomic_write
from spinup.hints import nearest
from spinup.plotting.curves import steps_or_epochs
from spinup.reports.page import draw_page
from spinup.reports.run_summary import RunSummary, find_folders, read_run, text_of


def write_report(
    logdirs: Sequence[str | Path],
    output: str | Path = "report.html",
    legend: Sequence[str] | None = None,
    xaxis: str = "TotalEnvInteracts",
    values: Sequence[str] = ("Performance",),
    smooth: int = 1,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Path:
    """Write one HTML file about the runs under some folders: curves, table, diagnostics, settings, videos.

    The file is self-contained, except that videos of more than 4 MiB are links. A run whose files are damaged
    is listed in the table with the reason.

    Args:
        logdirs: folders, searched recursively; a path that is not a folder stands for all folders whose
            paths begin with it.
        output: the file, replaced if it exists.
        legend: a name for each of `logdirs`, or for each folder that they stand for, in the same order; by
            default experiments are named by exp_name.
        xaxis: the column on the x axis.
        values: the columns of the large charts; Performance is AverageTestEpRet if there is one, else
            AverageEpRet.
        smooth: width of the centered moving average, in rows.
        select: only runs whose path contains all of these.
        exclude: no runs whose path contains any of these.

    Returns:
        The file.

    Raises:
        RunError: if a folder does not exist, or holds no run.
        ConfigError: for an invalid value, or a file that cannot be written.
    """
    path = Path(output)
    given = f"{option('output=', '-o ')}{output}"
    if path.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(f"{given}: give a file name that ends in .html")
    if smooth < 1:
        raise ConfigError(f"{option('smooth=', '-s ')}{smooth}: give a width of at least 1 row")
    folders = find_folders(logdirs, legend, select, exclude)
    runs = [run for folder, label in folders if (run := read_run(folder, label)) is not None]
    if not runs:
        among = " that --select and --exclude leave" if select or exclude else ""
        raise RunError(
            f"no run under {', '.join(map(str, logdirs))}{among}: give the folder of a run, or of runs"
        )
    xaxis = steps_or_epochs([run.columns for run in runs], xaxis)
    _check_columns(runs, xaxis, values)
    title = ", ".join(Path(os.path.abspath(logdir)).name for logdir in logdirs)
    page = draw_page(runs, f"Runs in {text_of(title)}", xaxis, values, smooth, path.absolute().parent)
    try:
        atomic_write(path, page.encode())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{given} cannot be written ({reason}): give another file") from None
    print(f"{len(runs)} run{'s' * (len(runs) != 1)}, {len(page) / 2**20:.2g} MiB: saved {path}")
    return path


def _check_columns(runs: Sequence[RunSummary], xaxis: str, values: Sequence[str]) -> None:
    """Check that some run has each column, if any has rows."""
    columns = list(dict.fromkeys(name for run in runs for name in run.columns))
    for name in (xaxis, *values):
        if columns and name not in (*columns, "Performance"):
            hint = nearest(name, columns)
            raise ConfigError(f"no run has a column {name!r}{hint or ': they have ' + ', '.join(columns)}")
