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

Row = dict[str, Any]
Report = Callable[[str, Any], None]  # called as report("progress", [n, total]) and report("row", row)
REPORT_SECONDS = 0.5  # between two reports of progress

_RICH_COLORS = {"gray": "bright_black", "crimson": "bright_red"}


def printable(text: str) -> str:
    """The text with characters that a terminal would not show replaced by their escapes in Python.

    These are control characters, which begin the sequences that color text or move the cursor, invisible
    formatting such as a change of direction, and parts of surrogate pairs. Newlines and tabs are kept.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def error_line(error: BaseException) -> str:
    """The message of an error, printable, on one line, without the middle of one that quotes a long file."""
    return _shortened(printable(_shortened(" ".join(str(error).split()))))


def _shortened(line: str) -> str:
    return line if len(line) <= 2000 else f"{line[:1000]} ... {line[-900:]}"


def format_value(value: Any) -> str:
    """A table value: floats with five significant digits, all else in full."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def format_cells(row: Row) -> list[tuple[str, str]]:
    """Columns and values as printable text."""
    return [(printable(key), printable(format_value(value))) for key, value in row.items()]


def plain_table(row: Row) -> str:
    """The row as an aligned two-column table."""
    cells = format_cells(row)
    left = max((len(key) for key, _ in cells), default=0)
    right = max((len(value) for _, value in cells), default=0)
    rule = "-" * (left + right + 7)
    return "\n".join([rule, *(f"| {key:>{left}} | {value:>{right}} |" for key, value in cells), rule])


class Progress:
    """Steps that are done, and the speed of this process, measured from its first step.

    A resumed run starts at n > 1.

    Attributes:
        n: steps done.
        total: steps planned.
    """

    def __init__(self) -> None:
        self.n = self.total = 0
        self._first, self._started = 0, 0.0

    def update(self, n: int, total: int) -> None:
        """Set the numbers; cheap enough to call at every step."""
        if self.total == 0:
            self._first, self._started = n - 1, time.monotonic()
        self.n, self.total = n, total

    def speed(self, at: float) -> float:
        """Steps per second up to the moment `at`, of `time.monotonic`."""
        return (self.n - self._first) / max(at - self._started, 1e-9)

    def seconds_left(self, at: float) -> float:
        """Seconds that the remaining steps take at this speed; 0 if it is 0."""
        speed = self.speed(at)
        return (self.total - self.n) / speed if speed > 0 else 0.0


class Display(abc.ABC):
    """Shows messages, epoch rows and progress."""

    @abc.abstractmethod
    def line(self, message: str, color: str) -> None:
        """Show a message."""

    @abc.abstractmethod
    def table(self, row: Row) -> None:
        """Show the row of an epoch."""

    @abc.abstractmethod
    def progress(self, n: int, total: int) -> None:
        """Show that n of total steps are done; called at every step, so it must be cheap."""

    @abc.abstractmethod
    def close(self) -> None:
        """Restore the terminal; safe to call twice."""


class SilentDisplay(Display):
    """Shows nothing."""

    def line(self, message: str, color: str) -> None:
        pass

    def table(self, row: Row) -> None:
        pass

    def progress(self, n: int, total: int) -> None:
        pass

    def close(self) -> None:
        pass


class PlainDisplay(Display):
    """Lines on standard output, for files, pipes and notebooks."""

    def line(self, message: str, color: str) -> None:
        print(printable(message), flush=True)

    def table(self, row: Row) -> None:
        print(plain_table(row), flush=True)

    def progress(self, n: int, total: int) -> None:
        pass

    def close(self) -> None:
        pass


class LiveDisplay(Display):
    """A Rich display that a separate thread redraws; `progress` only stores two numbers."""

    def __init__(self, console: Any) -> None:
        self._console = console
        self._live: Any = None
        self._row: Row = {}
        self._progress = Progress()

    def line(self, message: str, color: str) -> None:
        from rich.text import Text

        self._console.print(Text(printable(message), style=_RICH_COLORS.get(color, color)))

    def table(self, row: Row) -> None:
        self._row = dict(row)
        if self._live is None:
            self._console.print(self._table())

    def progress(self, n: int, total: int) -> None:
        self._progress.update(n, total)
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

        return Group(self._table(), self._bar()) if self._row else self._bar()

    def _bar(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        progress, now = self._progress, time.monotonic()
        speed, left = progress.speed(now), format_duration(progress.seconds_left(now))
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(progress.total, 1), completed=progress.n, width=30)
        text = f"{progress.n:,}/{progress.total:,} steps  {speed:,.0f}/s  {left} left"
        grid.add_row(bar, text)
        return grid

    def _table(self) -> Any:
        """The row as key-value pairs, in up to three columns as the terminal's width allows."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        cells = format_cells(self._row)
        pairs = max(1, min(3, self._console.width // 36))
        height = math.ceil(len(cells) / pairs)
        table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
        for _ in range(pairs):
            table.add_column(justify="right", style="cyan", no_wrap=True)
            table.add_column(justify="right", no_wrap=True)
        for i in range(height):
            group = [cells[j] if j < len(cells) else ("", "") for j in range(i, i + pairs * height, height)]
            table.add_row(*(Text(text) for pair in group for text in pair))  # a str would be read as markup
        return table


def format_duration(seconds: float) -> str:
    """A duration as h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


class ReportingDisplay(Display):
    """Also reports progress and rows to the process that started this one.

    Args:
        display: shows everything here.
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

    def progress(self, n: int, total: int) -> None:
        self._display.progress(n, total)
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
    """Let displays that this process makes from now on report to `report` as well; None ends it."""
    global _report
    _report = report


def make_display(quiet: bool = False) -> Display:
    """The display for this process: silent if `quiet`, live on a capable terminal, plain otherwise."""
    console = None if quiet else live_console()
    display = SilentDisplay() if quiet else PlainDisplay() if console is None else LiveDisplay(console)
    return display if _report is None else ReportingDisplay(display, _report)


def live_console() -> Any:
    """A Rich console if standard output is a terminal on which lines can be redrawn, else None."""
    if not (hasattr(sys.stdout, "isatty") and sys.stdout.isatty()):
        return None
    # Imported here so that runs whose output is a file never load it.
    from rich.console import Console

    console = Console()
    return None if not console.is_terminal or console.is_dumb_terminal or console.is_jupyter else console


def has_display() -> bool:
    """Whether this process can open a window."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
