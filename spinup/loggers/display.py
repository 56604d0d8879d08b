"""Console output of a run: a live progress bar and table on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import abc
import atexit
import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]
Report = Callable[[str, Any], None]  # called as report("progress", [n, total]) and report("row", row)
REPORT_SECONDS = 0.5  # between two reports of progress
ROW_SECONDS = 1.0  # between two looks at the running epoch
PLAIN_SECONDS = (5.0, 60.0)  # until the first line of progress in a log file, and between two
_LAST_DOCUMENTED = "StepsPerSecond"  # columns after it are for diagnosis
_BARS = "▁▂▃▄▅▆▇█"

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


@dataclass
class Details:
    """What a run tells its display besides the number of steps; the run changes it in place.

    Args:
        begin: steps before the first update. They are cheap, and do not count for the time left.
        epochs: planned.
        row: returns the row of the running epoch so far; called in the thread of the run.
    """

    begin: int = 0
    epochs: int = 0
    row: Callable[[], Row] = dict
    epoch: int = 0  # finished
    phase: str = ""  # what is done between two steps: testing or recording; else empty
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("env", "act", "update", "test"), 0.0)
    )

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Set the phase inside this context."""
        self.phase = phase
        try:
            yield
        finally:
            self.phase = ""

    def shares(self) -> str:
        """The share of the time that went into each part so far, as text."""
        total = sum(self.seconds.values())
        if total <= 0:
            return ""
        return "  ".join(f"{name} {seconds / total:.0%}" for name, seconds in self.seconds.items() if seconds)


class Progress:
    """Steps that are done, and the speed of this process, measured from its first step.

    A resumed run starts at n > 1. Once the first update is made, steps before it do not count, and neither
    does the time of tests, which the time left contains once per remaining epoch.

    Attributes:
        n: steps done.
        total: steps planned.
    """

    def __init__(self) -> None:
        self.n = self.total = 0
        self.details = Details()
        self._first, self._started, self._tested = 0, 0.0, 0.0
        self._learning = True

    def update(self, n: int, total: int, details: Details | None = None) -> None:
        """Set the numbers; cheap enough to call at every step."""
        if self.total == 0:
            self.details = details or self.details
            self._measure_from(n - 1)
            self._learning = n > self.details.begin
        elif not self._learning and n > self.details.begin:
            self._measure_from(n)
            self._learning = True
        self.n, self.total = n, total

    def speed(self, at: float) -> float:
        """Steps per second up to the moment `at`, of `time.monotonic`, without the time of tests."""
        testing = self.details.seconds["test"] - self._tested
        return (self.n - self._first) / max(at - self._started - testing, 1e-9)

    def seconds_left(self, at: float) -> float | None:
        """Seconds that the remaining steps and tests take at this speed; None before the first update."""
        speed, details = self.speed(at), self.details
        if not self._learning or speed <= 0:
            return None
        per_epoch = details.seconds["test"] / details.epoch if details.epoch else 0.0
        return (self.total - self.n) / speed + max(details.epochs - details.epoch, 0) * per_epoch

    def _measure_from(self, n: int) -> None:
        self._first, self._started = n, time.monotonic()
        self._tested = self.details.seconds["test"]


class Status:
    """A run in a few lines: progress, the row of the running epoch, and a curve of the returns.

    `update` is called by the run at every step, the rest perhaps by another thread.
    """

    def __init__(self) -> None:
        self.progress = Progress()
        self.row: Row = {}
        self.returns: list[float] = []
        self._row_due_at = 0.0

    def update(self, n: int, total: int, details: Details | None = None) -> None:
        """Set the steps; once per ROW_SECONDS also fetch the row of the running epoch."""
        self.progress.update(n, total, details)
        now = time.monotonic()
        if details is not None and now >= self._row_due_at:
            self._row_due_at = now + ROW_SECONDS
            row = details.row()
            # In a new epoch most columns are nan at first; those of the last one stay until then.
            self.row = self.row | {key: value for key, value in row.items() if not _is_nan(value)}

    def finish_epoch(self, row: Row) -> None:
        """Take the row of a finished epoch."""
        self.row = dict(row)
        self.returns.append(mean_return(row))

    def headline(self) -> str:
        """Steps, speed, time left and phase, in one line of at most 80 characters."""
        progress, at = self.progress, time.monotonic()
        left = progress.seconds_left(at)
        parts = [f"{progress.n:,}/{progress.total:,} steps", f"{progress.speed(at):,.0f}/s"]
        parts.append("before the first update" if left is None else f"{format_duration(left)} left")
        return "  ".join([*parts, progress.details.phase]).rstrip()

    def results(self) -> str:
        """Return, alpha, entropy and Q, as far as they are known, in one line."""
        wanted = {"return": mean_return(self.row)}
        names = {"alpha": "Alpha", "entropy": "Entropy", "Q": "AverageQ1Vals"}
        wanted |= {name: self.row.get(column, math.nan) for name, column in names.items()}
        return "  ".join(f"{name} {value:.4g}" for name, value in wanted.items() if not _is_nan(value))


def mean_return(row: Row) -> float:
    """Of the test episodes in a row, or of training where there were none; nan if there were none either."""
    returns = [row.get(name) for name in ("AverageTestEpRet", "AverageEpRet")]
    finite = [r for r in returns if isinstance(r, (int, float)) and math.isfinite(r)]
    return finite[0] if finite else math.nan


def sparkline(values: list[float], width: int) -> str:
    """A curve of at most `width` characters, each a bar of one of eight heights; nan is a blank."""
    if len(values) > width:  # means of neighbors
        edges = [round(i * len(values) / width) for i in range(width + 1)]
        groups = [[v for v in values[a:b] if math.isfinite(v)] for a, b in itertools.pairwise(edges)]
        values = [sum(group) / len(group) if group else math.nan for group in groups]
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return ""
    low, scale = min(finite), (max(finite) - min(finite)) or 1.0
    return "".join(_BARS[int((v - low) / scale * 7.999)] if math.isfinite(v) else " " for v in values)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


class Display(abc.ABC):
    """Shows messages, epoch rows and progress."""

    @abc.abstractmethod
    def line(self, message: str, color: str) -> None:
        """Show a message."""

    @abc.abstractmethod
    def table(self, row: Row) -> None:
        """Show the row of an epoch."""

    @abc.abstractmethod
    def progress(self, n: int, total: int, details: Details | None = None) -> None:
        """Show that n of total steps are done; called at every step, also of tests, so it must be cheap."""

    @abc.abstractmethod
    def close(self) -> None:
        """Restore the terminal; safe to call twice."""


class SilentDisplay(Display):
    """Shows nothing."""

    def line(self, message: str, color: str) -> None:
        pass

    def table(self, row: Row) -> None:
        pass

    def progress(self, n: int, total: int, details: Details | None = None) -> None:
        pass

    def close(self) -> None:
        pass


class PlainDisplay(Display):
    """Lines on standard output, for files and pipes: tables, and a line of progress now and then."""

    def __init__(self) -> None:
        self._status = Status()
        self._due_at = math.inf

    def line(self, message: str, color: str) -> None:
        print(printable(message), flush=True)

    def table(self, row: Row) -> None:
        print(plain_table(row), flush=True)
        self._status.finish_epoch(row)

    def progress(self, n: int, total: int, details: Details | None = None) -> None:
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
    """Messages, and one line that is updated in place, by IPython's display."""

    def __init__(self, show: Callable[..., Any]) -> None:
        self._show, self._status = show, Status()
        self._handle: Any = None
        self._due_at = 0.0

    def line(self, message: str, color: str) -> None:
        print(printable(message), flush=True)

    def table(self, row: Row) -> None:
        self._status.finish_epoch(row)
        self._update()

    def progress(self, n: int, total: int, details: Details | None = None) -> None:
        self._status.update(n, total, details)
        if time.monotonic() >= self._due_at:
            self._update()

    def close(self) -> None:
        if self._status.progress.total:
            self._update()

    def _update(self) -> None:
        self._due_at = time.monotonic() + ROW_SECONDS
        status = self._status
        parts = status.headline(), status.results(), sparkline(status.returns, 20)
        content = {"text/plain": printable("  ".join(filter(None, parts)))}
        if self._handle is None:
            self._handle = self._show(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)


class LiveDisplay(Display):
    """A Rich display that a separate thread redraws; `progress` only stores numbers.

    The lines with progress and results are at the bottom. The table above them ends with the last documented
    column where the terminal is not high enough for all of it, and is left out if that is not enough.
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

    def progress(self, n: int, total: int, details: Details | None = None) -> None:
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
        room = self._console.height - len(lines) - 3  # the table's rules, and a line for the cursor
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

    def progress(self, n: int, total: int, details: Details | None = None) -> None:
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
    """Let displays that this process makes from now on report to `report` as well; None ends it."""
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
    # Imported here so that runs whose output is a file never load it.
    from rich.console import Console

    console = Console()
    return None if not console.is_terminal or console.is_dumb_terminal or console.is_jupyter else console


def has_display() -> bool:
    """Whether this process can open a window."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
