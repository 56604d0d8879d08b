"""Console output of a run: a live progress bar and table on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import abc
import atexit
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from spinup.loggers.progress import ProgressInfo, Status
from spinup.loggers.text import Row, format_cells, plain_table, printable, sparkline

Report = Callable[[str, Any], None]  # called as report("progress", [n, total]) and report("row", row)
NOTEBOOK_SECONDS = 1.0  # between two updates of the line in a notebook
REPORT_SECONDS = 0.5  # between two reports of progress
PLAIN_SECONDS = (5.0, 60.0)  # until the first line of progress in a log file, and between two lines
_LAST_DOCUMENTED = "StepsPerSecond"  # columns after it are for diagnosis

_RICH_COLORS = {"gray": "bright_black", "crimson": "bright_red"}


class Display(abc.ABC):
    """Shows messages, epoch rows and progress."""

    @abc.abstractmethod
    def line(self, message: str, color: str) -> None:
        """Show a message."""

    @abc.abstractmethod
    def table(self, row: Row) -> None:
        """Show the row of an epoch."""

    @abc.abstractmethod
    def progress(self, n: int, total: int, details: ProgressInfo | None = None) -> None:
        """Show that `n` of `total` steps are done; it is called at every step, so it must be fast."""

    @abc.abstractmethod
    def close(self) -> None:
        """Restore the terminal; safe to call twice."""


class SilentDisplay(Display):
    """Shows nothing."""

    def line(self, message: str, color: str) -> None:
        pass

    def table(self, row: Row) -> None:
        pass

    def progress(self, n: int, total: int, details: ProgressInfo | None = None) -> None:
        pass

    def close(self) -> None:
        pass


class PlainDisplay(Display):
    """Lines on standard output, for files and pipes: tables, and a line of progress every PLAIN_SECONDS."""

    def __init__(self) -> None:
        self._status = Status()
        self._due_at = math.inf

    def line(self, message: str, color: str) -> None:
        print(printable(message), flush=True)

    def table(self, row: Row) -> None:
        print(plain_table(row), flush=True)
        self._status.finish_epoch(row)

    def progress(self, n: int, total: int, details: ProgressInfo | None = None) -> None:
        first = self._status.progress.total == 0
        self._status.progress.update(n, total, details)
        now = time.monotonic()
        if first:
            self._due_at = now + PLAIN_SECONDS[0]
        elif now >= self._due_at:
            self._due_at = now + PLAIN_SECONDS[1]
            self._status.update(n, total, details)
            line = "  ".join(filter(None, (self._status.headline(), self._status.results())))
            print(printable(line), flush=True)

    def close(self) -> None:
        pass


class NotebookDisplay(Display):
    """Messages, and one line that is updated in place, with IPython's display."""

    def __init__(self, show: Callable[..., Any]) -> None:
        self._show, self._status = show, Status()
        self._handle: Any = None
        self._due_at = 0.0

    def line(self, message: str, color: str) -> None:
        print(printable(message), flush=True)

    def table(self, row: Row) -> None:
        self._status.finish_epoch(row)
        self._update()

    def progress(self, n: int, total: int, details: ProgressInfo | None = None) -> None:
        self._status.update(n, total, details)
        if time.monotonic() >= self._due_at:
            self._update()

    def close(self) -> None:
        if self._status.progress.total:
            self._update()

    def _update(self) -> None:
        self._due_at = time.monotonic() + NOTEBOOK_SECONDS
        status = self._status
        parts = status.headline(), status.results(), sparkline(status.returns, 20)
        content = {"text/plain": printable("  ".join(filter(None, parts)))}
        if self._handle is None:
            self._handle = self._show(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


class LiveDisplay(Display):
    """A Rich display that a separate thread redraws; `progress` only stores numbers.

    The lines with progress and results are at the bottom. If the table above them does not fit on the
    terminal, it ends with the column _LAST_DOCUMENTED; if that does not fit either, it is left out.
    """

    def __init__(self, console: Any) -> None:
        self._console = console
        self._live: Any = None
        self._status = Status()

    def line(self, message: str, color: str) -> None:
        from rich.text import Text

        self._console.print(Text(printable(message), style=_RICH_COLORS.get(color, color)))

    def table(self, row: Row) -> None:
        self._status.finish_epoch(row)
        if self._live is None:
            self._console.print(self._table(format_cells(self._status.row)))

    def progress(self, n: int, total: int, details: ProgressInfo | None = None) -> None:
        self._status.update(n, total, details)
        if self._live is None:
            self._start()

    def close(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()
            atexit.unregister(self.close)

    def _start(self) -> None:
        from rich.live import Live

        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4)
        self._live.start()
        atexit.register(self.close)  # a crash would otherwise leave the cursor hidden

    def _render(self) -> Any:
        from rich.console import Group

        lines = self._lines()
        room = self._console.height - len(lines) - 3  # for the table's borders, and a line for the cursor
        cells = format_cells(self._status.row)
        if len(cells) > room * self._pairs():
            names = [name for name, _ in cells]
            cells = cells[: names.index(_LAST_DOCUMENTED) + 1] if _LAST_DOCUMENTED in names else cells
        height = math.ceil(len(cells) / self._pairs())
        return Group(self._table(cells), *lines) if 0 < height <= room else Group(*lines)

    def _lines(self) -> list[Any]:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        status, progress = self._status, self._status.progress
        text = status.headline()
        width = max(min(40, self._console.width - len(text) - 2), 4)
        bar = Table.grid(padding=(0, 1))
        bar.add_row(ProgressBar(total=max(progress.total, 1), completed=progress.n, width=width), Text(text))
        results = status.results()
        curve = sparkline(status.returns, max(min(40, self._console.width - len(results) - 8), 0))
        lines = [f"{results}  {curve and f'curve {curve}'}".strip(), progress.details.shares()]
        return [bar, *(Text(printable(line), no_wrap=True, overflow="ellipsis") for line in lines if line)]

    def _pairs(self) -> int:
        """Columns of key-value pairs that the terminal's width allows."""
        return max(1, min(4, int(self._console.width) // 34))

    def _table(self, cells: list[tuple[str, str]]) -> Any:
        """Cells of the row as key-value pairs."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        pairs = self._pairs()
        height = math.ceil(len(cells) / pairs)
        table = Table(box=box.SIMPLE, show_header=False, pad_edge=False, padding=(0, 1))
        for _ in range(pairs):
            table.add_column(justify="right", style="cyan", no_wrap=True)
            table.add_column(justify="right", no_wrap=True)
        for i in range(height):
            group = [cells[j] if j < len(cells) else ("", "") for j in range(i, i + pairs * height, height)]
            table.add_row(*(Text(text) for pair in group for text in pair))  # a str would be read as markup
        return table


class ReportingDisplay(Display):
    """A display that also reports progress and rows to the process that started this one.

    Args:
        display: display of this process.
        report: called with each row, and at most every REPORT_SECONDS with the progress.
    """

    def __init__(self, display: Display, report: Report) -> None:
        self._display, self._report = display, report
        self._latest: list[int] = []
        self._due_at = 0.0

    def line(self, message: str, color: str) -> None:
        self._display.line(message, color)

    def table(self, row: Row) -> None:
        self._display.table(row)
        self._report_progress()
        self._report("row", row)

    def progress(self, n: int, total: int, details: ProgressInfo | None = None) -> None:
        self._display.progress(n, total, details)
        self._latest = [n, total]
        if time.monotonic() >= self._due_at:
            self._report_progress()

    def close(self) -> None:
        self._report_progress()
        self._display.close()

    def _report_progress(self) -> None:
        if self._latest:
            self._report("progress", self._latest)
        self._due_at = time.monotonic() + REPORT_SECONDS


_report: Report | None = None


def report_to(report: Report | None) -> None:
    """Make displays that are created later in this process also report to `report`; None undoes this."""
    global _report
    _report = report


def make_display(quiet: bool = False) -> Display:
    """The display for this process: silent if `quiet`, live on a capable terminal or notebook, else plain."""
    display = SilentDisplay() if quiet else _visible_display()
    return display if _report is None else ReportingDisplay(display, _report)


def _visible_display() -> Display:
    if "ipykernel" in sys.modules and "IPython" in sys.modules:
        from IPython.display import display

        return NotebookDisplay(display)
    console = live_console()
    return PlainDisplay() if console is None else LiveDisplay(console)


def live_console() -> Any:
    """A Rich console if standard output is a terminal on which lines can be redrawn, else None."""
    if not (hasattr(sys.stdout, "isatty") and sys.stdout.isatty()):
        return None
    # Imported here so that runs whose output is a file do not import Rich.
    from rich.console import Console

    console = Console()
    return None if not console.is_terminal or console.is_dumb_terminal or console.is_jupyter else console


def has_display() -> bool:
    """Whether this process can open a window."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
