"""The task that supervises a run on its node of a Ray cluster, and the mailbox through which it reports."""

from __future__ import annotations

import contextlib
import importlib
import queue
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from spinup.errors import RunError, SpinupError
from spinup.loggers.text import error_line
from spinup.runs.jobs import Start
from spinup.runs.locks import folder_lock
from spinup.runs.run_process import Job

LOCK_SECONDS = 300.0  # maximum wait for the process of a run's previous start to release the folder
STOPPED = [128 + signal.SIGTERM, "stopped by SIGTERM"]
_REPORT_SECONDS = 1.0  # between two messages of a task


def supervise(
    job: Job, number: int, resumed: bool, paths: list[str], mailbox: Any, process: Start
) -> list[Any]:
    """The Ray task that executes a run on a node, and supervises it.

    Args:
        job: the run.
        number: identifies the run in the mailbox.
        resumed: whether the run was started before, so that its previous process may still be running.
        paths: `sys.path` of the process that submitted it.
        mailbox: receives reports.
        process: starts the run's process, see `RayRuns`.

    Returns:
        Exit code and message of the run.
    """
    ray = importlib.import_module("ray")

    def post(reports: list[tuple[str, Any]]) -> bool:
        """Send reports; returns whether the run is to stop."""
        try:
            # Not ray.get: while a task waits there, Ray gives its CPU to another task.
            return bool(mailbox.post.remote(number, reports).future().result())
        except ray.exceptions.RayError:  # the process that submitted it has ended
            return True

    sys.path += [path for path in paths if path not in sys.path]
    if post([("begun", None)]):
        return STOPPED
    if not job.folder.parent.is_dir():
        where = ray.util.get_node_ip_address()
        return [
            2,
            f"{job.folder.parent} does not exist on the node {where}: give a folder that all nodes share",
        ]
    reports: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    try:
        if resumed and not released(job.folder, lambda: post([])):
            return STOPPED
        run = process(job, lambda kind, value: reports.put((kind, value)))
    except SpinupError as error:
        return [error.exit_code, error_line(error)]
    try:
        for batch in batches(reports):
            if post([report for report in batch if report[0] != "end"]):
                run.stop()
            for kind, value in batch:
                if kind == "end":
                    return list(value)
    finally:
        run.stop()
    raise AssertionError("unreachable")


def batches(reports: queue.SimpleQueue[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    """Group reports into batches of about one second, with only the latest progress in each.

    The last batch ends with the report "end".
    """
    while True:
        batch: list[tuple[str, Any]] = []
        due = time.monotonic() + _REPORT_SECONDS
        while (left := due - time.monotonic()) > 0 and not (batch and batch[-1][0] == "end"):
            with contextlib.suppress(queue.Empty):
                batch.append(reports.get(timeout=left))
        last = max((i for i, (kind, _) in enumerate(batch) if kind == "progress"), default=-1)
        yield [report for i, report in enumerate(batch) if report[0] != "progress" or i == last]


def released(folder: Path, stopped: Callable[[], bool]) -> bool:
    """Wait until no process holds the lock of a folder; returns False if the run is to stop before that.

    Raises:
        RunError: if the lock is still held after LOCK_SECONDS.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            with folder_lock(folder):
                return True
        except RunError:
            if time.monotonic() > deadline:
                raise
        if stopped():
            return False
        time.sleep(_REPORT_SECONDS)


def mailbox_class() -> type:
    """The class of the actor through which tasks and the process that submitted them communicate.

    The class is local to a function so that Ray pickles it by value; its process need not import spinup.
    """
    import asyncio

    class Mailbox:
        """Holds reports until they are taken, and the numbers of the runs that are to stop."""

        def __init__(self) -> None:
            self._reports: list[tuple[int, str, Any]] = []
            self._to_stop: set[int] = set()
            self._arrived = asyncio.Event()

        async def post(self, number: int, reports: list[tuple[str, Any]]) -> bool:
            """Add the reports of a run; returns whether it is to stop."""
            if reports:
                self._reports += [(number, kind, value) for kind, value in reports]
                self._arrived.set()
            return number in self._to_stop

        async def take(self, seconds: float) -> list[tuple[int, str, Any]]:
            """Remove and return all reports; waits at most `seconds` for the first one."""
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), seconds)
            self._arrived.clear()
            taken, self._reports = self._reports, []
            return taken

        async def stop(self, number: int) -> None:
            """Mark a run as to be stopped."""
            self._to_stop.add(number)

    return Mailbox
