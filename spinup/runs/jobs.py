"""Schedules several runs at once, and handles failures and signals.

A run that fails does not stop the others. After SIGINT, SIGTERM or SIGUSR1, every running run is asked to
write a checkpoint and end; a second SIGINT kills them. The function that starts a run is a parameter, so that
runs can be processes on this machine or on a cluster.
"""

from __future__ import annotations

import contextlib
import queue
import signal
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from spinup.errors import RunError, SpinupError
from spinup.loggers.display import Report
from spinup.loggers.runs_display import (
    DONE,
    FAILED,
    STOPPED,
    STOPPING,
    RunsDisplay,
    make_runs_display,
)
from spinup.loggers.text import error_line
from spinup.runs.run_process import Job, RunProcess
from spinup.runs.signals import EXIT_CODES, SignalHandler

_POLL_SECONDS = 0.2  # between two checks for a received signal


class RunsFailed(RunError):
    """Some of several runs failed.

    Attributes:
        failures: exit code and message by folder, in the order of the runs.
    """

    def __init__(self, failures: dict[str, tuple[int, str]], count: int) -> None:
        folder, (self.exit_code, message) = next(iter(failures.items()))
        others = f" ({len(failures)} of {count} runs failed)" if count > 1 else ""
        super().__init__(f"{folder}: {message}{others}")
        self.failures = failures


class StartedRun(Protocol):
    """A run that was started."""

    def stop(self) -> None:
        """Ask the run to write a checkpoint and end."""

    def kill(self) -> None:
        """End the run now."""


Start = Callable[[Job, Report], StartedRun]


def run_jobs(
    jobs: Sequence[Job],
    count: int,
    how_to_continue: str,
    after: Callable[[str], None] | None = None,
    start: Start = RunProcess,
) -> None:
    """Run all jobs, at most `count` at a time, in order, and show their progress.

    Args:
        jobs: the runs.
        count: maximum number of runs at a time.
        how_to_continue: what to do to continue runs that did not complete, for messages.
        after: called with the folder of each run that completed.
        start: starts a run; see `RunProcess` and `RayRuns.start`.

    Raises:
        RunsFailed: if any run failed, once all others have ended.
        KeyboardInterrupt, SystemExit: after SIGINT, and after SIGTERM or SIGUSR1, once all runs have ended.
    """
    with SignalHandler() as signals, contextlib.closing(make_runs_display(_names(jobs))) as display:
        schedule = _Schedule(jobs, count, display, start, after)
        try:
            schedule.run(signals)
        finally:
            schedule.kill()  # needed after a second SIGINT; otherwise no run is left
            if schedule.failures or signals.received is not None:
                display.line(f"to continue the runs that are not complete: {how_to_continue}")
    if schedule.failures:
        failures = {str(jobs[i].folder): failure for i, failure in sorted(schedule.failures.items())}
        raise RunsFailed(failures, len(jobs))


class _Schedule:
    """Starts runs, at most `count` at a time, and tracks those that wait, run or have failed."""

    def __init__(
        self,
        jobs: Sequence[Job],
        count: int,
        display: RunsDisplay,
        start: Start,
        after: Callable[[str], None] | None,
    ) -> None:
        self._jobs, self._count, self._display, self._start, self._after = jobs, count, display, start, after
        self._waiting = list(range(len(jobs)))
        self._running: dict[int, StartedRun] = {}
        self._reports: queue.SimpleQueue[tuple[int, str, Any]] = queue.SimpleQueue()
        self.failures: dict[int, tuple[int, str]] = {}
        self.stopping = False

    def run(self, signals: SignalHandler) -> None:
        """Start runs as others end; returns when all have ended or, after a signal, the started ones have."""
        while self._running or (self._waiting and not self.stopping):
            if signals.received is not None and not self.stopping:
                self._stop(signals.received)
            while self._waiting and len(self._running) < self._count and not self.stopping:
                self._start_next()
            with contextlib.suppress(queue.Empty):
                self._receive(*self._reports.get(timeout=_POLL_SECONDS))

    def kill(self) -> None:
        """End all running runs now."""
        for run in self._running.values():
            run.kill()

    def _start_next(self) -> None:
        i = self._waiting.pop(0)
        try:
            self._running[i] = self._start(self._jobs[i], partial(self._report, i))
        except SpinupError as error:
            self._fail(i, error.exit_code, error_line(error))

    def _stop(self, signum: int) -> None:
        self.stopping = True
        again = "; Ctrl-C again kills them" if signum == signal.SIGINT else ""
        self._display.line(
            f"received {signal.Signals(signum).name}: each run writes a checkpoint and ends{again}"
        )
        for i, run in self._running.items():
            self._display.state(i, STOPPING)
            run.stop()

    def _report(self, i: int, kind: str, value: Any) -> None:
        self._reports.put((i, kind, value))

    def _receive(self, i: int, kind: str, value: Any) -> None:
        if kind == "progress":
            self._display.progress(i, *value)
        elif kind == "row":
            self._display.row(i, value)
        elif kind == "state":
            if not self.stopping:
                self._display.state(i, *value)
        else:
            del self._running[i]
            self._end(i, *value)

    def _end(self, i: int, code: int, message: str) -> None:
        if code == 0:
            self._display.state(i, DONE, message)
            if self._after is not None:
                self._after(str(self._jobs[i].folder))
        elif self.stopping and code in EXIT_CODES:
            self._display.state(i, STOPPED)
        else:
            self._fail(i, code, message)

    def _fail(self, i: int, code: int, message: str) -> None:
        self.failures[i] = (code, message)
        self._display.state(i, FAILED, message)


def _names(jobs: Sequence[Job]) -> list[str]:
    """The names of the runs' folders, or their paths if two runs share a name."""
    folders = [Path(job.folder) for job in jobs]
    names = [folder.name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]
