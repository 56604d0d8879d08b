"""Console output of a run: a live progress bar and table on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import abc
import atexit
import math
import os
import sys
import time
from typing import Any

Row = dict[str, Any]

_RICH_COLORS = {"gray": "bright_black", "crimson": "bright_red"}


def printable(text: str) -> str:
    """The text with characters that a terminal would not show replaced by their escapes in Python.

    These are control characters, which begin the sequences that color text or move the cursor, invisible
    formatting such as a change of direction, and parts of surrogate pairs. Newlines and tabs are kept.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


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
        self._n = self._total = 0
        self._first, self._started = 0, 0.0

    def line(self, message: str, color: str) -> None:
        from rich.text import Text

        self._console.print(Text(printable(message), style=_RICH_COLORS.get(color, color)))

    def table(self, row: Row) -> None:
        self._row = dict(row)
        if self._live is None:
            self._console.print(self._table())

    def progress(self, n: int, total: int) -> None:
        self._n, self._total = n, total
        if self._live is None:
            self._start()

    def close(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()
            atexit.unregister(self.close)

    def _start(self) -> None:
        from rich.live import Live

        # Speed is measured from the first step of this process: a resumed run starts at n > 1.
        self._first, self._started = self._n - 1, time.monotonic()
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4)
        self._live.start()
        atexit.register(self.close)  # a crash would otherwise leave the cursor hidden

    def _render(self) -> Any:
        from rich.console import Group

        return Group(self._table(), self._bar()) if self._row else self._bar()

    def _bar(self) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        elapsed = max(time.monotonic() - self._started, 1e-9)
        speed = (self._n - self._first) / elapsed
        remaining = (self._total - self._n) / speed if speed > 0 else 0.0
        grid = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=max(self._total, 1), completed=self._n, width=30)
        text = f"{self._n:,}/{self._total:,} steps  {speed:,.0f}/s  {format_duration(remaining)} left"
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


def make_display(quiet: bool = False) -> Display:
    """The display for this process: silent if `quiet`, live on a capable terminal, plain otherwise."""
    if quiet:
        return SilentDisplay()
    if not (hasattr(sys.stdout, "isatty") and sys.stdout.isatty()):
        return PlainDisplay()
    # Imported here so that runs whose output is a file never load it.
    from rich.console import Console

    console = Console()
    if not console.is_terminal or console.is_dumb_terminal or console.is_jupyter:
        return PlainDisplay()
    return LiveDisplay(console)


def has_display() -> bool:
    """Whether this process can open a window."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
