"""Executes a run in a separate process: starts it, receives its reports, asks it to stop.

The process reads the call from its standard input, which stays open. When the input is closed, because the
run is to stop or the parent process has ended, the run stops as after SIGTERM. The process writes reports to
its standard output, one JSON list [kind, value] per line; the output of the run goes to `log.txt` in its
folder. The process is a new interpreter, never a fork of one that has used torch.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinup.errors import ConfigError, RunError, SpinupError
from spinup.loggers.display import Report, report_to
from spinup.loggers.run_folder import LOG_FILE
from spinup.loggers.runs_display import STARTING
from spinup.loggers.text import error_line

# Ctrl-C reaches every process of a terminal, but only the process that started the runs handles it. The
# import path of that process is set before spinup is imported, which may be found only there.
_PROGRAM = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.path[:], size = json.loads(sys.stdin.buffer.readline())
from spinup.runs.run_process import main
main(size, sys.argv[1])
"""
_SECONDS_TO_STOP = 600.0  # limit for the last step and a checkpoint, if the parent process has ended


@dataclass(frozen=True)
class Job:
    """One run: the folder that it writes to, and its call, pickled."""

    folder: Path
    call: bytes


def make_job(folder: str | Path, function: Callable[..., Any], kwargs: dict[str, Any]) -> Job:
    """The job that calls `function(**kwargs)`; lambdas and main-script definitions are pickled by value.

    Raises:
        ConfigError: if the call cannot be pickled.
    """
    import cloudpickle  # a dependency of gymnasium

    try:
        return Job(Path(folder), cloudpickle.dumps((function, kwargs)))
    except Exception as error:  # pickling runs methods of the user's objects
        raise ConfigError(
            f"the call for {folder} cannot be sent to another process ({type(error).__name__}: "
            f"{error_line(error)}): let env_fn create what it needs when it is called, or run with num_cpu=1"
        ) from error


class RunProcess:
    """A started run.

    Args:
        job: the run.
        report: called as report("state", [state, note]), and in another thread as report("progress",
            [n, total]), report("row", row), and once, at the end, report("end", [exit code, message]).

    Raises:
        RunError: if its folder cannot be written to, or no process can be started.
    """

    def __init__(self, job: Job, report: Report) -> None:
        self._log = job.folder / LOG_FILE
        # Limits libraries whose number of threads the run does not set, such as NumPy's BLAS.
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        command = [sys.executable, "-c", _PROGRAM, str(job.folder)]
        try:
            job.folder.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
                )
        except OSError as error:
            raise RunError(
                f"cannot start a run in {job.folder} ({error.strerror}): give another folder, or fewer runs "
                "at a time"
            ) from None
        report("state", [STARTING, ""])
        threading.Thread(target=self._serve, args=(job.call, report), daemon=True).start()

    def stop(self) -> None:
        """Ask the run to write a checkpoint and end."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # the process has ended
            self._process.stdin.close()

    def kill(self) -> None:
        """End the process now, and wait until it has."""
        self._process.kill()
        self._process.wait()

    def _serve(self, call: bytes, report: Report) -> None:
        """Send the call, then forward reports until the process has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended, or was asked to stop already
            header = json.dumps([[str(path) for path in sys.path], len(call)]).encode()
            self._process.stdin.write(header + b"\n" + call)
            self._process.stdin.flush()
        end = None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):  # a line that was cut off when the process was killed
                kind, value = json.loads(line)
                if kind == "end":
                    end = value
                else:
                    report(kind, value)
        code = self._process.wait()
        self._process.stdout.close()
        self.stop()
        report("end", end or self._unreported_end(code))

    def _unreported_end(self, code: int) -> list[Any]:
        """Exit code and message of a process that did not report its end."""
        see = f"its output is in {self._log}"
        if code >= 0:
            return [code or 1, f"its process ended with exit code {code}; {see}"]
        name = signal.Signals(-code).name
        cause = " (by the system if memory ran out)" if name == "SIGKILL" else ""
        return [128 - code, f"killed by {name}{cause}; {see}"]


def main(size: int, folder: str) -> None:
    """The program of the process: read a call from standard input, run it, and exit.

    Args:
        size: size of the pickled call.
        folder: the run's folder, for messages.
    """
    reports = _take_standard_output()
    faulthandler.enable()
    call = sys.stdin.buffer.read(size)
    threading.Thread(target=_stop_when_input_ends, args=(os.getppid(),), daemon=True).start()

    def report(kind: str, value: Any) -> None:
        with contextlib.suppress(OSError):  # the process that started this one has ended
            reports.write(json.dumps([kind, value], default=str).encode() + b"\n")
            reports.flush()

    report_to(report)
    code, message = _run(call, Path(folder) / LOG_FILE)
    report("end", [code, message])
    sys.exit(code)


def _run(call: bytes, log: Path) -> tuple[int, str]:
    """Execute a pickled call; returns exit code and message."""
    try:
        function, kwargs = pickle.loads(call)  # from the pipe of the process that made it, not from a file
        function(**kwargs)
    except SpinupError as error:
        print(f"spinup: {error_line(error)}", file=sys.stderr)
        return error.exit_code, error_line(error)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        return code, _stopped_by(code)
    except BaseException as error:
        traceback.print_exc()
        return 1, f"{type(error).__name__}: {error_line(error)}; the traceback is in {log}"
    return 0, ""


def _stopped_by(code: int) -> str:
    try:
        return f"stopped by {signal.Signals(code - 128).name}"
    except ValueError:
        return f"exit code {code}"


def _take_standard_output() -> io.BufferedWriter:
    """The pipe for reports; standard output is redirected to standard error, which is the log."""
    reports = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    if hasattr(os, "register_at_fork"):  # else the pipe would stay open as long as a worker process
        os.register_at_fork(after_in_child=reports.close)
    return reports


def _stop_when_input_ends(parent: int) -> None:
    """Wait until standard input is closed, then stop this process as SIGTERM does.

    If the process does not stop, for example because its environment hangs, and the parent process has ended
    and cannot kill it, it kills itself after _SECONDS_TO_STOP.
    """
    # Not sys.stdin.read, whose lock the interpreter needs when it exits.
    while os.read(0, 1):
        pass
    if sys.platform == "win32":
        signal.raise_signal(signal.SIGTERM)
    else:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_SECONDS_TO_STOP)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
