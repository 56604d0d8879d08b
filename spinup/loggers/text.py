"""Formats values, rows, errors and curves as printable text."""

from __future__ import annotations

import itertools
import math
from typing import Any

Row = dict[str, Any]
_BARS = "▁▂▃▄▅▆▇█"


def printable(text: str) -> str:
    """Replace characters that a terminal does not show by their Python escapes.

    These are control characters (with which sequences begin that color text or move the cursor), invisible
    formatting such as a change of direction, and parts of surrogate pairs. Newlines and tabs are kept.
    """
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def error_line(error: BaseException) -> str:
    """The message of an error as one printable line; the middle of a long one is left out."""
    return _shortened(printable(_shortened(" ".join(str(error).split()))))


def _shortened(line: str) -> str:
    return line if len(line) <= 2000 else f"{line[:1000]} ... {line[-900:]}"


def format_value(value: Any) -> str:
    """A value for a table: floats with five significant digits, others in full."""
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


def format_duration(seconds: float) -> str:
    """A duration as h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def sparkline(values: list[float], width: int) -> str:
    """A curve of at most `width` characters, each a bar of one of eight heights; nan is a blank."""
    if len(values) > width:  # average neighboring values
        edges = [round(i * len(values) / width) for i in range(width + 1)]
        groups = [[v for v in values[a:b] if math.isfinite(v)] for a, b in itertools.pairwise(edges)]
        values = [sum(group) / len(group) if group else math.nan for group in groups]
    finite = [v for v in values if math.isfinite(v)]
    if not finite:
        return ""
    low, scale = min(finite), (max(finite) - min(finite)) or 1.0
    return "".join(_BARS[int((v - low) / scale * 7.999)] if math.isfinite(v) else " " for v in values)
