"""Line charts as HTML: an SVG that scales to any width, with labels of constant size around it."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spinup.plotting.curves import Curve

Array = NDArray[np.float64]
UNITS = 1000  # width and height of a chart, in SVG user units
MAX_POINTS = 400  # of a line; more than a screen can show
LOG_RANGE = 1000.0  # positive values that differ by more than this factor get a logarithmic axis


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        group: number of the experiment, which determines the color; the legend hides lines by it.
        curve: its points, and the spread, which is shaded.
        style: "mean", "seed" (thin) or "second" (dotted).
        label: name of the value, if the chart shows more than one.
    """

    group: int
    curve: Curve
    style: str = "mean"
    label: str = ""


class Axis:
    """A scale from values to [0, 1], and its ticks.

    Args:
        low, high: the smallest and largest value, finite.
        log: whether the scale is logarithmic; both are then positive.
        padding: share of the range that is added at both ends.
        ticks: approximate number of ticks.
    """

    def __init__(
        self, low: float, high: float, *, log: bool = False, padding: float = 0.0, ticks: int = 5
    ) -> None:
        self.log = log
        a, b = (math.log10(low), math.log10(high)) if log else (low, high)
        wide = b - a > max(1e-9 * max(abs(a), abs(b)), 1e-250)
        margin = padding * (b - a) if wide else max(0.1 * abs(a), 0.5)
        self.start, self.stop = a - margin, b + margin
        step = _nice_step((self.stop - self.start) / ticks)
        if log:
            step = max(1.0, math.ceil(step))
        first = math.ceil(self.start / step - 1e-9)
        last = math.floor(self.stop / step + 1e-9)
        marks = [i * step for i in range(first, last + 1)]
        if log and len(marks) < 2:  # less than two decades: ticks at 1, 2 and 5 times powers of ten
            decades = range(math.floor(self.start), math.floor(self.stop) + 1)
            marks = [d + math.log10(m) for d in decades for m in (1, 2, 5)]
        kept = [mark for mark in marks if self.start <= mark + 1e-9 and mark - 1e-9 <= self.stop]
        values = [10.0**mark if log else mark for mark in kept]
        texts = _tick_texts(values)
        self.ticks = [(self._share(mark), text) for mark, text in zip(kept, texts, strict=True)]

    def shares(self, values: Array) -> Array:
        """The positions of values, in [0, 1] if they lie within the scale."""
        scaled = np.log10(values) if self.log else values
        return np.asarray((scaled - self.start) / (self.stop - self.start))

    def _share(self, mark: float) -> float:
        return min(max((mark - self.start) / (self.stop - self.start), 0.0), 1.0)


def draw_chart(title: str, xlabel: str, lines: Sequence[Line], note: str = "") -> str:
    """A chart, or an empty string if no line has a point.

    Args:
        title: title of the chart.
        xlabel: label of the x axis.
        lines: the lines, in drawing order.
        note: a remark below the title.
    """
    lines = [line for line in lines if line.curve.x.size]
    if not lines:
        return ""
    low, high = _bounds([line.curve.y for line in lines])
    log = low > 0 and high > LOG_RANGE * low
    bands = [edge for line in lines for edge in _edges(line.curve)]
    # On a logarithmic axis, bands are cut off at the smallest mean, since they may extend below zero.
    low, high = _bounds([np.maximum(edge, low) for edge in bands] if log else bands)
    y = Axis(low, high, log=log, padding=0.06)
    x = Axis(*_bounds([line.curve.x for line in lines]), ticks=4)
    grid = "".join(f"M0 {_y(share):g}H{UNITS}" for share, _ in y.ticks)
    drawn = "".join([*(_band(line, x, y, low) for line in lines), *(_path(line, x, y) for line in lines)])
    scale = f'data-x="{x.start!r} {x.stop!r}" data-y="{y.start!r} {y.stop!r}" data-log="{int(log)}"'
    subtitle = f"<small>{html.escape(', '.join(filter(None, [note, 'logarithmic' * log])))}</small>"
    return f"""<figure class="chart" {scale}>
<figcaption>{html.escape(title)} {subtitle if note or log else ""}</figcaption>
<div class="frame">
<div class="yticks">{_ticks(y, "bottom")}</div>
<svg viewBox="0 0 {UNITS} {UNITS}" preserveAspectRatio="none" role="img" aria-label="{html.escape(title)}">
<path class="grid" d="{grid}"/>{drawn}<path class="cursor" d=""/></svg>
<div class="xticks">{_ticks(x, "left")}</div>
<div class="tip" hidden></div>
</div>
<div class="xlabel">{html.escape(xlabel)}</div>
</figure>
"""


def format_number(value: float) -> str:
    """A number with four significant digits, or an empty string if it is not finite."""
    if not math.isfinite(value):
        return ""
    if 1e4 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return re.sub(r"e([+-])0*", lambda match: "e-" if match[1] == "-" else "e", f"{value:.4g}")


def _tick_texts(values: Sequence[float]) -> list[str]:
    """The texts of ticks, all in thousands (k) or millions (M) if the largest is that large."""
    largest = max(map(abs, values), default=0.0)
    unit, suffix = (1e6, "M") if 1e6 <= largest < 1e9 else (1e3, "k") if 1e4 <= largest < 1e6 else (1.0, "")
    return [format_number(value / unit) + suffix * (value != 0) for value in values]


def _bounds(arrays: Sequence[Array]) -> tuple[float, float]:
    return float(min(a.min() for a in arrays)), float(max(a.max() for a in arrays))


def _edges(curve: Curve) -> list[Array]:
    """The lower and upper edge of the band of a curve, or the curve if it has none."""
    return [curve.y] if curve.spread is None else [curve.y - curve.spread, curve.y + curve.spread]


def _band(line: Line, x: Axis, y: Axis, lowest: float) -> str:
    """The shaded spread around a line."""
    if line.curve.spread is None:
        return ""
    kept = _kept(line.curve.x.size)
    edges = [np.maximum(edge[kept], lowest) for edge in _edges(line.curve)]
    lower, upper = (_points(line.curve.x[kept], edge, x, y) for edge in edges)
    return (
        f'<path class="band g{line.group}" data-group="{line.group}" d="M{"L".join(upper + lower[::-1])}Z"/>'
    )


def _path(line: Line, x: Axis, y: Axis) -> str:
    kept = _kept(line.curve.x.size)
    points = _points(line.curve.x[kept], line.curve.y[kept], x, y)
    dot = len(points) == 1
    if dot:  # drawn as a line of length 0 with round ends
        points *= 2
    label = f' data-label="{html.escape(line.label)}"' if line.label else ""
    return (
        f'<path class="line {line.style}{" dot" * dot} g{line.group}" data-group="{line.group}"{label} '
        f'd="M{"L".join(points)}"/>'
    )


def _points(at: Array, values: Array, x: Axis, y: Axis) -> list[str]:
    horizontal, vertical = x.shares(at) * UNITS, y.shares(values)
    return [f"{a:.1f} {_y(b):.1f}" for a, b in zip(horizontal, vertical, strict=True)]


def _y(share: float) -> float:
    """Convert a share of the height, measured from the bottom, to the SVG's y coordinate."""
    return UNITS * (1.0 - share)


def _kept(size: int) -> NDArray[np.int64]:
    """Indices of the rows of a line that are drawn: evenly spaced, including the first and the last."""
    return np.unique(np.linspace(0, size - 1, min(size, MAX_POINTS)).round().astype(np.int64))


def _ticks(axis: Axis, side: str) -> str:
    return "".join(
        f'<span style="{side}:{share:.2%}">{html.escape(text)}</span>' for share, text in axis.ticks
    )


def _nice_step(rough: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is >= `rough`."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= rough * (1 - 1e-9))
