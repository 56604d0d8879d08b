"""Shared by tests that start the command in a process of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

LIMIT = 300.0  # seconds, for waits that end much earlier unless something is broken
ROOT = Path(__file__).parents[1]
FLAGS = [
    "--env", "Pendulum-v1", "--hid", "[8,8]", "--steps_per_epoch", "60", "--start_steps", "20",
    "--update_after", "20", "--update_every", "10", "--batch_size", "8", "--num_test_episodes", "1",
    "--max_ep_len", "20",
]  # fmt: skip


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, and fail after LIMIT seconds."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


@contextlib.contextmanager
def command(*words: str) -> Iterator[subprocess.Popen[str]]:
    """The command in a process group of its own, all of which is killed at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "spinup.run", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True, cwd=ROOT,
    ) as process:  # fmt: skip
        # A read that waits for output ends when the process does.
        watchdog = threading.Timer(LIMIT, os.killpg, (process.pid, signal.SIGKILL))
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def read_until(process: subprocess.Popen[str], *parts: str) -> None:
    """Read lines of output until each part has been in one."""
    missing = set(parts)
    assert process.stdout is not None
    for line in process.stdout:
        missing -= {part for part in missing if part in line}
        if not missing:
            return
    raise AssertionError(f"{missing} never appeared")
