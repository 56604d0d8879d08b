"""A table of runs, read from the files in their folders: live on a terminal, or once as text."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spinup.errors import ConfigError, RunError, option
from spinup.loggers.display import live_console
from spinup.loggers.runs_display import runs_table
from spinup.loggers.text import format_duration, sparkline
from spinup.reports.run_summary import DAMAGED, Array, RunSummary, find_folders, read_run, text_of
from spinup.runs.locks import is_locked
from spinup.runs.status import COMPLETE, FAILED, RUNNING, UNFINISHED

COLUMNS = ("run", "epoch", "step", "return", "curve", "steps/s", "time left", "state")
CURVE_WIDTH = 16  # characters
WIDE = 100  # columns of a terminal; a narrower one gets a shorter curve and no columns _OMITTED
_OMITTED = ("epoch", "steps/s")
SPEED_ROWS = 5  # number of last rows from which the speed is computed
SCAN_SHARE = 20  # ratio of the time between two searches for folders to the time of a search
_STYLES = {RUNNING: "green", UNFINISHED: "yellow", FAILED: "red", DAMAGED: "red", COMPLETE: "bright_black"}


def watch(
    logdirs: Sequence[str | Path],
    interval: float = 2.0,
    once: bool = False,
    select: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> None:
    """Show the runs under some folders until Ctrl-C, or once if standard output is not a terminal.

    Args:
        logdirs: folders, searched recursively, or prefixes of folder names.
        interval: seconds between two updates from the files.
        once: print one table and return.
        select: only runs whose path contains all of these.
        exclude: no runs whose path contains any of these.

    Raises:
        RunError: if a folder does not exist at the start.
        ConfigError: if `interval` is not in [0.1, 3600].
    """
    if not 0.1 <= interval <= 3600:
        raise ConfigError(f"{option('interval=', '-n ')}{interval:g}: give 0.1 to 3600 seconds")
    watched = WatchedRuns(logdirs, select, exclude)
    watched.refresh()
    console = None if once else live_console()
    if console is None:
        print(plain_text(watched.rows()), flush=True)
        return
    from rich.live import Live

    with Live(_table(watched, console.width, console.height), console=console, auto_refresh=False) as live:
        try:
            while True:
                time.sleep(interval)
                watched.refresh()
                live.update(_table(watched, console.width, console.height), refresh=True)
        except KeyboardInterrupt:
            pass


class WatchedRuns:
    """The runs under some folders, read again when their files change.

    Args:
        logdirs, select, exclude: see `watch`.

    Raises:
        RunError: if a folder does not exist.
    """

    def __init__(
        self, logdirs: Sequence[str | Path], select: Sequence[str] = (), exclude: Sequence[str] = ()
    ) -> None:
        self._search = (logdirs, None, select, exclude)
        self._folders: list[Path] = []
        self._read: dict[Path, tuple[Any, WatchedRun | None]] = {}
        self._next_search = 0.0
        self._find()

    def refresh(self) -> None:
        """Search for new and removed folders, and read the files that changed."""
        if time.monotonic() >= self._next_search:
            try:
                self._find()
            except (RunError, OSError):  # a folder that existed at the start has been removed
                self._folders = []
        self._read = {folder: self._updated(folder) for folder in self._folders if folder.is_dir()}

    def rows(self) -> list[WatchedRun]:
        """The runs in the order of their folders."""
        return [run for _, run in self._read.values() if run is not None]

    def _find(self) -> None:
        started = time.monotonic()
        self._folders = [folder for folder, _ in find_folders(*self._search)]
        now = time.monotonic()
        self._next_search = now + SCAN_SHARE * (now - started)

    def _updated(self, folder: Path) -> tuple[Any, WatchedRun | None]:
        signature = _signature(folder)
        known = self._read.get(folder)
        if known is not None and known[0] == signature:
            return known
        try:
            run = read_run(folder)
        except OSError:  # it is being removed
            run = None
        return signature, None if run is None else watched_run(run)


@dataclass(frozen=True)
class WatchedRun:
    """The content of a run's row in the table.

    Attributes:
        name: name of the run's folder, printable.
        status: see `RunSummary`.
        problem: the first problem, or an empty string.
        epoch, step, total, mean_return: values of the last row; nan, or 0 for `total`, if unknown.
        returns: finite mean returns of the last rows, (n,).
        speed: environment steps per second over the last rows; nan if unknown.
        written_at: `time.time()` when the last row was written, or 0.
    """

    name: str
    status: str
    problem: str
    epoch: float
    step: float
    total: int
    mean_return: float
    returns: Array
    speed: float
    written_at: float

    def cells(self, curve_width: int = CURVE_WIDTH) -> tuple[str, ...]:
        """One text per column of the table; empty if unknown."""
        step = f"{self.step:,.0f}" if np.isfinite(self.step) else "0" if self.total else ""
        return (
            self.name,
            f"{self.epoch:.0f}" if np.isfinite(self.epoch) else "",
            f"{step}/{self.total:,}" if self.total else step,
            f"{self.mean_return:.5g}" if np.isfinite(self.mean_return) else "",
            sparkline(self.returns.tolist(), curve_width) if self.returns.size > 1 else "",
            f"{self.speed:,.0f}" if np.isfinite(self.speed) else "",
            self._time_left(),
            self.status,
        )

    def _time_left(self) -> str:
        if self.status != RUNNING or not (self.speed > 0 and self.total and np.isfinite(self.step)):
            return ""
        elapsed = max(time.time() - self.written_at, 0.0)  # since the last row; files have no later steps
        return format_duration(max((self.total - self.step) / self.speed - elapsed, 0.0))


def watched_run(run: RunSummary) -> WatchedRun:
    """The row of the table for a run that was read."""
    step, seconds = run.column("TotalEnvInteracts"), run.column("Time")
    speed = float("nan")
    if 1 < step.size == seconds.size:
        first = max(step.size - 1 - SPEED_ROWS, 0)
        elapsed = seconds[-1] - seconds[first]
        speed = float((step[-1] - step[first]) / elapsed) if elapsed > 0 else speed
    elif step.size == 1:
        speed = run.last("StepsPerSecond")
    returns = run.column("Performance")
    try:
        written_at = os.stat(run.path / run.table).st_mtime
    except OSError:
        written_at = 0.0
    return WatchedRun(
        name=text_of(run.path.name) or text_of(str(run.path)),
        status=run.status,
        problem=run.problems[0] if run.problems else "",
        epoch=run.last("Epoch"),
        step=run.last("TotalEnvInteracts"),
        total=run.total,
        mean_return=run.last("Performance"),
        returns=returns[np.isfinite(returns)],
        speed=speed,
        written_at=written_at,
    )


def plain_text(runs: Sequence[WatchedRun]) -> str:
    """The table as aligned columns, then the problems and the number of runs by state."""
    cells = [COLUMNS, *(run.cells() for run in runs)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            text.ljust(width) if name in ("run", "curve", "state") else text.rjust(width)
            for name, text, width in zip(COLUMNS, row, widths, strict=True)
        ).rstrip()
        for row in cells
    ]
    problems = [f"{run.name}: {run.problem}" for run in runs if run.problem]
    text = "\n".join([*lines, *problems, _caption(runs)])
    encoding = sys.stdout.encoding or "ascii"
    return text.encode(encoding, "replace").decode(encoding)


def _caption(runs: Sequence[WatchedRun]) -> str:
    count = Counter(run.status for run in runs)
    return ", ".join(f"{number} {status}" for status, number in count.items()) or "no runs yet"


def _table(watched: WatchedRuns, width: int, height: int) -> Any:
    """The table of the runs that fit on the terminal; running ones have priority."""
    runs = watched.rows()
    order = sorted(runs, key=lambda run: (run.status != RUNNING, -run.written_at))
    room = max(height - 7, 1)  # for header, borders, caption, a problem and a line for the cursor
    chosen = {id(run) for run in order[:room]}
    shown = [run for run in runs if id(run) in chosen]
    hidden = f", {len(runs) - len(shown)} not shown" if len(shown) < len(runs) else ""
    problems = [f"{run.name}: {run.problem}" for run in shown if run.problem]
    caption = f"{_caption(runs)}{hidden}. Ctrl-C ends this view, not the runs."
    kept = [i for i, name in enumerate(COLUMNS) if width >= WIDE or name not in _OMITTED]
    curve_width = CURVE_WIDTH if width >= WIDE else CURVE_WIDTH // 2
    rows = [
        ([cells[i] for i in kept], _STYLES.get(run.status))
        for run in shown
        for cells in [run.cells(curve_width)]
    ]
    return runs_table([COLUMNS[i] for i in kept], rows, "\n".join([caption, *problems[-1:]]))


def _signature(folder: Path) -> Any:
    """A value that changes when a run writes to its folder, begins or ends."""
    try:
        with os.scandir(folder) as entries:
            files = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    except OSError:
        return None
    return is_locked(folder), {name: (file.st_mtime_ns, file.st_size) for name, file in files.items()}
