"""Status of runs, and whether a lock is held, from their folders alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from report_runs import write_run

from spinup.errors import RunError
from spinup.runs import status
from spinup.runs.locks import LOCK_FILE, folder_lock, is_locked
from spinup.runs.status import run_status

TRACEBACK = """Traceback (most recent call last):
  File "x.py", line 1, in <module>
    f()
ValueError: no \x1bmemory
"""
HOLD = """
import sys
from pathlib import Path
from spinup.runs.locks import folder_lock
with folder_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_of_another_process_is_seen_and_not_taken(tmp_path):
    assert is_locked(tmp_path) is False
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        assert is_locked(tmp_path) is True
        assert run_status(tmp_path, {}) == ("running", "")
        assert is_locked(tmp_path) is True
    assert is_locked(tmp_path) is False
    with folder_lock(tmp_path):
        pass


def test_a_lock_of_this_process_is_seen_and_kept(tmp_path):
    with folder_lock(tmp_path):
        assert is_locked(tmp_path) is True
        code = "import sys; from pathlib import Path; from spinup.runs.locks import is_locked; "
        code += "print(is_locked(Path(sys.argv[1])))"
        command = [sys.executable, "-c", code, str(tmp_path)]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        assert out.stdout == "True\n"


def test_a_second_lock_in_this_process_is_refused_and_keeps_the_first(tmp_path):
    with folder_lock(tmp_path):
        with pytest.raises(RunError, match="is in use by a run"), folder_lock(tmp_path):
            pass
        code = "import sys; from pathlib import Path; from spinup.runs.locks import is_locked; "
        code += "print(is_locked(Path(sys.argv[1])))"
        command = [sys.executable, "-c", code, str(tmp_path)]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


def test_a_lock_file_that_is_none(tmp_path):
    os.mkfifo(tmp_path / LOCK_FILE)
    assert is_locked(tmp_path) in (False, None)


def test_complete_and_unfinished(tmp_path):
    folder = write_run(tmp_path / "a_s0", [1.0, 2.0])
    assert run_status(folder, {"epochs": 2}) == ("complete", "")
    assert run_status(folder, {"epochs": 3}) == ("unfinished", "")
    assert run_status(folder, {"epochs": "3"}) == ("unfinished", "")
    assert run_status(tmp_path / "nothing", {"epochs": 3}) == ("unfinished", "")


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("", ("unfinished", "")),
        ("Epoch 1\nspinup: reward is nan: fix it\n", ("failed", "reward is nan: fix it")),
        (TRACEBACK, ("failed", r"ValueError: no \x1bmemory")),
        ("spinup: first\ncontinuing at env step 3\n", ("unfinished", "")),
        (TRACEBACK + "received SIGTERM at env step 4; to continue: spinup resume x\n", ("unfinished", "")),
        ("x" * 100_000 + "\n" + TRACEBACK, ("failed", r"ValueError: no \x1bmemory")),
    ],
)  # fmt: skip
def test_the_end_of_the_log_tells_a_failure(tmp_path, log, expected):
    folder = write_run(tmp_path / "a_s0", [1.0])
    (folder / "log.txt").write_text(log)
    assert run_status(folder, {"epochs": 3}) == expected
    assert run_status(folder, {"epochs": 1}) == ("complete", "")
    os.utime(folder / "log.txt", (1, 1))  # of an earlier process; the run went on without a log
    assert run_status(folder, {"epochs": 3}) == ("unfinished", "")


def test_a_log_that_is_no_file(tmp_path):
    folder = write_run(tmp_path / "a_s0", [1.0])
    os.mkfifo(folder / "log.txt")
    assert run_status(folder, {"epochs": 3}) == ("unfinished", "")


def test_a_batch_of_a_diverged_update_tells_a_failure_until_the_run_goes_on(tmp_path):
    folder = write_run(tmp_path / "a_s0", [1.0])
    (folder / "nan_batch.npz").write_bytes(b"")
    os.utime(folder / "progress.txt", (1000, 1000))
    assert run_status(folder, {"epochs": 3})[0] == "failed"
    os.utime(folder / "nan_batch.npz", (900, 900))
    assert run_status(folder, {"epochs": 3})[0] == "unfinished"


def test_without_locks_a_recent_table_is_that_of_a_running_run(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "a_s0", [1.0])
    monkeypatch.setattr(status, "is_locked", lambda folder: None)
    assert run_status(folder, {"epochs": 3})[0] == "running"
    os.utime(folder / "progress.txt", (1000, 1000))
    assert run_status(folder, {"epochs": 3})[0] == "unfinished"
