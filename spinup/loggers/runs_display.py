"""Console output of several runs at once: one live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import abc
import atexit
import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from spinup.loggers.display import live_console
from spinup.loggers.progress import Progress, mean_return
from spinup.loggers.text import Row, format_duration

WAITING, STARTING, RUNNING, STOPPING = "waiting", "starting", "running", "stopping"
DONE, STOPPED, FAILED = "done", "stopped", "failed"
ENDED = (DONE, STOPPED, FAILED)
_STYLES = {RUNNING: "green", STOPPING: "yellow", STOPPED: "yellow", FAILED: "red", WAITING: "bright_black"}
_COLUMNS = ("run", "epoch", "step", "return", "steps/s", "time left", "state")


class RunStatus:
    """The current status of one run.

    Attributes:
        name: the run's name.
        state: one of the constants above.
        epoch: the last finished epoch; None before the first.
        mean_return: mean return in the last row, of test episodes, or of training episodes if none.
    """

    def __init__(self, name: str) -> None:
        self.name, self.state = name, WAITING
        self.epoch: int | None = None
        self.mean_return = math.nan
        self._progress = Progress()
        self._ended_at: float | None = None

    def set_state(self, state: str) -> None:
        """Set the state; the speed is kept when the run ends."""
        self.state = state
        if state == STARTING:  # also after a restart, which begins at an earlier step
            self._progress = Progress()
        if state in ENDED:
            self._ended_at = time.monotonic()

    def set_progress(self, n: int, total: int) -> None:
        """Set steps done and planned."""
        self._progress.update(n, total)

    def set_row(self, row: Row) -> None:
        """Set epoch and mean return from the row of a finished epoch."""
        self.epoch, self.mean_return = row.get("Epoch"), mean_return(row)

    def cells(self) -> tuple[str, ...]:
        """One text per column of the table; empty if unknown."""
        progress, at = self._progress, self._ended_at or time.monotonic()
        known = progress.total > 0
        left = format_duration(progress.seconds_left(at) or 0.0) if known and self.state not in ENDED else ""
        return (
            self.name,
            "" if self.epoch is None else str(self.epoch),
            f"{progress.n:,}/{progress.total:,}" if known else "",
            "" if self.epoch is None else f"{self.mean_return:.5g}",
            f"{progress.speed(at):,.0f}" if known else "",
            left,
            self.state,
        )


class RunsDisplay(abc.ABC):
    """Shows the states of several runs.

    Args:
        names: names of the runs.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.runs = [RunStatus(name) for name in names]

    def progress(self, i: int, n: int, total: int) -> None:
        """Run i has done n of total steps."""
        self.runs[i].set_progress(n, total)
        if self.runs[i].state == STARTING:
            self.state(i, RUNNING)

    def row(self, i: int, row: Row) -> None:
        """Run i has finished an epoch."""
        self.runs[i].set_row(row)

    def state(self, i: int, state: str, note: str = "") -> None:
        """Run i has changed its state, for the reason in `note`."""
        self.runs[i].set_state(state)

    @abc.abstractmethod
    def line(self, message: str) -> None:
        """Show a message."""

    @abc.abstractmethod
    def close(self) -> None:
        """Restore the terminal; safe to call twice."""


class PlainRunsDisplay(RunsDisplay):
    """A line for each finished epoch and each change of a state, for files, pipes and notebooks."""

    def row(self, i: int, row: Row) -> None:
        super().row(i, row)
        name, epoch, step, mean_return, speed, left, _ = self.runs[i].cells()
        parts = (("epoch ", epoch, ""), ("step ", step, ""), ("return ", mean_return, ""),
                 ("", speed, " steps/s"), ("", left, " left"))  # fmt: skip
        known = ", ".join(f"{before}{value}{after}" for before, value, after in parts if value)
        self.line(f"{name}: {known}")

    def state(self, i: int, state: str, note: str = "") -> None:
        super().state(i, state, note)
        self.line(f"{self.runs[i].name}: {state}{note and f', {note}'}")

    def line(self, message: str) -> None:
        print(message, flush=True)

    def close(self) -> None:
        pass


class LiveRunsDisplay(RunsDisplay):
    """A table that Rich redraws in a separate thread; notes are printed above it."""

    def __init__(self, names: Sequence[str], console: Any) -> None:
        from rich.live import Live

        super().__init__(names)
        self._console = console
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=4)
        self._live.start()
        atexit.register(self.close)  # a crash would otherwise leave the cursor hidden

    def state(self, i: int, state: str, note: str = "") -> None:
        super().state(i, state, note)
        if note:
            self.line(f"{self.runs[i].name}: {state}, {note}")

    def line(self, message: str) -> None:
        from rich.text import Text

        self._console.print(Text(message))

    def close(self) -> None:
        self._live.stop()
        atexit.unregister(self.close)

    def _table(self) -> Any:
        count = Counter(run.state for run in self.runs)
        caption = ", ".join(f"{number} {state}" for state, number in count.items())
        return runs_table(_COLUMNS, [(run.cells(), _STYLES.get(run.state)) for run in self._shown()], caption)

    def _shown(self) -> list[RunStatus]:
        """The runs that fit on the terminal, in order; active runs have priority."""
        room = max(self._console.height - 6, 1)  # for header, borders, caption and a line for the cursor
        order = sorted(self.runs, key=lambda run: (run.state in ENDED, run.state == WAITING))
        chosen = {id(run) for run in order[:room]}
        return [run for run in self.runs if id(run) in chosen]


def runs_table(columns: Sequence[str], rows: Sequence[tuple[Sequence[str], str | None]], caption: str) -> Any:
    """A Rich table of runs.

    Args:
        columns: names of the columns.
        rows: for each row, the texts of its cells and its style.
        caption: text below the table.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False, caption=Text(caption), caption_justify="left")
    for name in columns:
        left = name in ("run", "state", "curve")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for cells, style in rows:
        table.add_row(*map(Text, cells), style=style)  # a str would be read as markup
    return table


def make_runs_display(names: Sequence[str]) -> RunsDisplay:
    """The display for this process: a live table on a capable terminal, plain lines otherwise."""
    console = live_console()
    return PlainRunsDisplay(names) if console is None else LiveRunsDisplay(names, console)
