"""Progress of a run: steps, speed, time left, and the row of the current epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from spinup.loggers.text import Row, format_duration

ROW_SECONDS = 1.0  # between two updates of the current epoch's row


@dataclass
class ProgressInfo:
    """Data that a run provides to its display besides the number of steps; the run updates them in place.

    Args:
        begin: number of steps before the first update; they are fast, so the speed excludes them later.
        epochs: planned number of epochs.
        row: returns the row of the current epoch so far; called in the thread of the run.
    """

    begin: int = 0
    epochs: int = 0
    row: Callable[[], Row] = dict
    epoch: int = 0  # number of finished epochs
    resumed_at: int = 0  # number of epochs that were finished when this process continued the run
    phase: str = ""  # current activity between two steps: testing or recording; else empty
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("env", "act", "update", "test"), 0.0)
    )

    @contextmanager
    def during(self, phase: str) -> Iterator[None]:
        """Context in which `phase` is the current activity."""
        self.phase = phase
        try:
            yield
        finally:
            self.phase = ""

    def shares(self) -> str:
        """The share of the time spent in each part so far, as text."""
        total = sum(self.seconds.values())
        if total <= 0:
            return ""
        return "  ".join(f"{name} {seconds / total:.0%}" for name, seconds in self.seconds.items() if seconds)


class Progress:
    """Number of steps done, and the speed since the first step of this process.

    A resumed run starts at n > 1. Once updates have begun, the speed excludes the steps before them. It
    excludes the time of tests, which is added to the time left once per remaining epoch.

    Attributes:
        n: steps done.
        total: steps planned.
    """

    def __init__(self) -> None:
        self.n = self.total = 0
        self.details = ProgressInfo()
        self._first, self._started, self._tested = 0, 0.0, 0.0
        self._learning = True

    def update(self, n: int, total: int, details: ProgressInfo | None = None) -> None:
        """Set the numbers of steps; fast enough to be called at every step."""
        if self.total == 0:
            self.details = details or self.details
            self._measure_from(n - 1)
            self._learning = n > self.details.begin
        elif not self._learning and n > self.details.begin:
            self._measure_from(n)
            self._learning = True
        self.n, self.total = n, total

    def speed(self, at: float) -> float:
        """Steps per second up to the time `at` of `time.monotonic()`, without the time of tests."""
        testing = self.details.seconds["test"] - self._tested
        return (self.n - self._first) / max(at - self._started - testing, 1e-9)

    def seconds_left(self, at: float) -> float | None:
        """Seconds that the remaining steps and tests take at this speed; None before the first update."""
        speed, details = self.speed(at), self.details
        if not self._learning or speed <= 0:
            return None
        finished = details.epoch - details.resumed_at
        per_epoch = details.seconds["test"] / finished if finished else 0.0
        return (self.total - self.n) / speed + max(details.epochs - details.epoch, 0) * per_epoch

    def _measure_from(self, n: int) -> None:
        self._first, self._started = n, time.monotonic()
        self._tested = self.details.seconds["test"]


class Status:
    """The displayed data of a run: progress, the row of the current epoch, and the returns of all epochs.

    The run calls `update` at every step; another thread may call the other methods.
    """

    def __init__(self) -> None:
        self.progress = Progress()
        self.row: Row = {}
        self.returns: list[float] = []
        self._row_due_at = 0.0

    def update(self, n: int, total: int, details: ProgressInfo | None = None) -> None:
        """Set the numbers of steps; every ROW_SECONDS, also get the row of the current epoch."""
        self.progress.update(n, total, details)
        now = time.monotonic()
        if details is not None and now >= self._row_due_at:
            self._row_due_at = now + ROW_SECONDS
            row = details.row()
            # In a new epoch, most columns are nan at first; they keep the last epoch's values until then.
            self.row = self.row | {key: value for key, value in row.items() if not _is_nan(value)}

    def finish_epoch(self, row: Row) -> None:
        """Set the row of a finished epoch, and add its return."""
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
        """Return, alpha, entropy and Q in one line; unknown values are left out."""
        wanted = {"return": mean_return(self.row)}
        names = {"alpha": "Alpha", "entropy": "Entropy", "Q": "AverageQ1Vals"}
        wanted |= {name: self.row.get(column, math.nan) for name, column in names.items()}
        return "  ".join(f"{name} {value:.4g}" for name, value in wanted.items() if not _is_nan(value))


def mean_return(row: Row) -> float:
    """The mean return of a row's test episodes, else of its training episodes; nan if it has neither."""
    returns = [row.get(name) for name in ("AverageTestEpRet", "AverageEpRet")]
    finite = [r for r in returns if isinstance(r, (int, float)) and math.isfinite(r)]
    return finite[0] if finite else math.nan


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
