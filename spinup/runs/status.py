"""Determines from a run's folder whether the run is running, complete, unfinished or failed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from spinup.errors import RunError
from spinup.files import open_regular
from spinup.loggers.run_folder import LOG_FILE, NAN_BATCH
from spinup.loggers.text import error_line
from spinup.runs.locks import is_locked
from spinup.runs.resuming import is_complete

RUNNING, COMPLETE, UNFINISHED, FAILED = "running", "complete", "unfinished", "failed"
RECENT_SECONDS = 300  # if locks cannot be tested, a run counts as running for this time after its last row
MAX_LOG_BYTES, TAIL_BYTES = 16 * 2**30, 16 * 2**10


def run_status(folder: Path, config: dict[str, Any], output_fname: str = "progress.txt") -> tuple[str, str]:
    """The state of a run, and the cause of a failure as one printable line; empty if there is no failure.

    Failures are recognized by `log.txt`, which exists for runs in separate processes (`--jobs`), and by the
    file that is written when a loss diverges; other runs that ended early count as unfinished.

    Args:
        folder: the run's folder.
        config: the content of its config.json.
        output_fname: the file name of its table.
    """
    locked = is_locked(folder)
    if locked or (locked is None and _age(folder / output_fname) < RECENT_SECONDS):
        return RUNNING, ""
    epochs = config.get("epochs")
    try:
        if isinstance(epochs, int) and is_complete(folder, epochs, output_fname):
            return COMPLETE, ""
    except (RunError, OSError) as error:
        return UNFINISHED, error_line(error)
    # A log that is older than the last row is that of an earlier process; the run was resumed after it.
    log_is_newer = _age(folder / LOG_FILE) <= _age(folder / output_fname)
    if log_is_newer and (message := _last_error(folder / LOG_FILE)):
        return FAILED, message
    if _age(folder / NAN_BATCH) < _age(folder / output_fname):
        return FAILED, f"a loss or parameter became NaN or infinite; the batch is in {NAN_BATCH}"
    return UNFINISHED, ""


def _age(path: Path) -> float:
    """Seconds since a file was written; inf if it does not exist."""
    try:
        return time.time() - os.stat(path).st_mtime
    except (OSError, ValueError):
        return float("inf")


def _last_error(log: Path) -> str:
    """The error at the end of a run's output, or an empty string."""
    try:
        with open_regular(log, MAX_LOG_BYTES, links=False) as file:
            file.seek(max(os.fstat(file.fileno()).st_size - TAIL_BYTES, 0))
            lines = file.read(TAIL_BYTES).decode(errors="replace").rstrip().split("\n")
    except (RunError, OSError):
        return ""
    if lines[-1].startswith("spinup: "):
        return error_line(RunError(lines[-1].removeprefix("spinup: ")))
    # The last line of a traceback follows an indented line.
    raised = len(lines) > 1 and lines[-2].startswith(" ") and not lines[-1].startswith(" ")
    traced = any(line.startswith("Traceback (most recent call last)") for line in lines)
    return error_line(RunError(lines[-1])) if raised and traced else ""
