"""Several runs at once: real processes, and the rules of failures and signals with runs that only pretend."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from commands import FLAGS, LIMIT, command, read_until, wait_until
from helpers import SMALL, read_rows
from resuming import assert_same_files

from spinup import sac_pytorch
from spinup.cli.main import main
from spinup.errors import ConfigError, RunError
from spinup.runs.grid import ExperimentGrid
from spinup.runs.jobs import RunsFailed, run_jobs
from spinup.runs.resuming import is_complete
from spinup.runs.run_process import Job, RunProcess, make_job

# Real runs.


def small_grid(name: str, seeds: list[int]) -> ExperimentGrid:
    """A grid of short runs; threads are not set."""
    grid = ExperimentGrid(name)
    grid.add("env_fn", lambda: gym.make("Pendulum-v1"))
    for key, value in SMALL.items():
        if key != "threads":
            grid.add(key, value)
    grid.add("seed", seeds)
    return grid


def test_runs_in_parallel_are_those_one_after_another(tmp_path: Path, capfd: Any) -> None:
    one = small_grid("x", [3, 0])
    one.add("threads", 1)
    sequential = one.run(sac_pytorch, data_dir=tmp_path / "a")
    capfd.readouterr()
    complete: list[str] = []
    parallel = small_grid("x", [3, 0]).run(
        sac_pytorch, num_cpu=2, data_dir=tmp_path / "b", after=lambda folder, variant: complete.append(folder)
    )
    assert [Path(folder).name for folder in parallel] == ["x_s3", "x_s0"]
    assert sorted(complete) == sorted(parallel)
    for a, b in zip(sequential, parallel, strict=True):
        assert_same_files(Path(a), Path(b))
        assert json.loads(Path(b, "config.json").read_text())["threads"] == 1
        assert " AverageTestEpRet |" in Path(b, "log.txt").read_text()
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert err == ""
    assert {"x_s3: starting", "x_s0: running", "x_s3: done", "x_s0: done"} <= set(lines)
    assert sum(": epoch " in line and "steps/s" in line for line in lines) == 4
    assert len(lines) == 10


def test_a_failed_run_ends_the_command_with_its_line_after_the_others(tmp_path: Path, capfd: Any) -> None:
    words = [*FLAGS, "--exp_name", "x", "--lr", "1e30", "1e-3", "--data_dir", str(tmp_path), "--epochs", "2"]
    assert main(["sac", *words, "--jobs", "2"]) == 2
    out, err = capfd.readouterr()
    failed, fine = tmp_path / "x_lr1e-30" / "x_lr1e-30_s0", tmp_path / "x_lr0.001" / "x_lr0.001_s0"
    assert err.startswith(f"spinup: {failed}: a loss became NaN or infinite")
    assert err.endswith("(1 of 2 runs failed)\n")
    assert err.count("\n") == 1
    assert len(read_rows(fine)) == 2
    assert "lr0.001_s0: done" in out
    assert "--jobs 2 --resume\n" in out


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_ctrl_c_checkpoints_all_and_they_are_continued(tmp_path: Path, capfd: Any) -> None:
    words = ["sac", *FLAGS, "--exp_name", "x", "--data_dir", str(tmp_path / "b")]
    with command(*words, "--seed", "0", "1", "2", "--jobs", "2", "--epochs", "100000") as process:
        read_until(process, "x_s0: epoch 2,", "x_s1: epoch 2,")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the command and to its runs
        assert process.stdout is not None
        rest = process.stdout.read()
        assert process.wait(LIMIT) == 130
    for line in ("x_s0: stopped", "x_s1: stopped", "received SIGINT", "spinup sac --env", "--resume"):
        assert line in rest
    assert "Traceback" not in rest
    folder = tmp_path / "b" / "x"
    assert not (folder / "x_s2").exists()
    assert "stopped by SIGTERM at env step" in (folder / "x_s0" / "log.txt").read_text()
    done = [len(read_rows(folder / f"x_s{seed}")) for seed in (0, 1)]
    epochs = max(done) + 1

    assert main(["resume", str(folder), "--jobs", "2", "--epochs", str(epochs)]) == 0
    assert main(["resume", str(folder), "--jobs", "2", "--epochs", str(epochs)]) == 0
    assert capfd.readouterr().out.count("is complete: skipped") == 2
    again = [*words, "--seed", "0", "1", "2", "--epochs", str(epochs), "--resume"]
    assert main([*again, "--jobs", "2"]) == 0
    out = capfd.readouterr().out
    assert out.count("is complete: skipped") == 2
    assert "x_s2: done" in out
    assert main([*again, "--gamma", "0.5"]) == 2
    assert "gamma was 0.99 and is now 0.5" in capfd.readouterr().err

    whole = ["sac", *FLAGS, "--exp_name", "x", "--data_dir", str(tmp_path / "a"), "--threads", "1"]
    assert main([*whole, "--seed", "0", "2", "--epochs", str(epochs)]) == 0
    for seed in (0, 2):
        assert_same_files(tmp_path / "a" / "x" / f"x_s{seed}", folder / f"x_s{seed}")


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_runs_stop_with_a_checkpoint_if_the_command_is_killed(tmp_path: Path) -> None:
    words = ["sac", *FLAGS, "--exp_name", "x", "--data_dir", str(tmp_path), "--epochs", "100000"]
    with command(*words, "--jobs", "2") as process:
        read_until(process, "x_s0: epoch 1,")
        process.kill()
        log = tmp_path / "x" / "x_s0" / "log.txt"
        wait_until(lambda: "stopped by SIGTERM at env step" in log.read_text())


def ends_of(tmp_path: Path, *functions: Callable[[], Any]) -> list[tuple[int, str]]:
    """Exit code and message of each function, called in a process of its own."""
    jobs = [make_job(tmp_path / str(i), function, {}) for i, function in enumerate(functions)]
    with pytest.raises(RunsFailed) as failed:
        run_jobs(jobs, 2, "")
    return [failed.value.failures.get(str(job.folder), (0, "")) for job in jobs]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_how_runs_end(tmp_path: Path) -> None:
    def killed() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def exits_at_once() -> None:
        os._exit(3)

    def exits() -> None:
        sys.exit(4)

    def raises() -> None:
        print("printed before")
        raise TypeError("two\nlines")

    def refused() -> None:
        raise ConfigError("give another")

    def completes() -> None:
        print("printed")

    functions = (killed, exits_at_once, exits, raises, refused, completes)
    logs = [tmp_path / str(i) / "log.txt" for i in range(len(functions))]
    assert ends_of(tmp_path, *functions) == [
        (137, f"killed by SIGKILL (by the system if memory ran out); its output is in {logs[0]}"),
        (3, f"its process ended with exit code 3; its output is in {logs[1]}"),
        (4, "exit code 4"),
        (1, f"TypeError: two lines; the traceback is in {logs[3]}"),
        (2, "give another"),
        (0, ""),
    ]
    assert logs[3].read_text().startswith("printed before\nTraceback")
    assert logs[4].read_text() == "spinup: give another\n"
    assert logs[5].read_text() == "printed\n"


def test_what_cannot_be_pickled_is_refused_before_the_first_run(tmp_path: Path) -> None:
    lock = threading.Lock()
    grid = small_grid("x", [0, 1])
    grid.add("callback", lambda row, ac: lock.acquire())
    with pytest.raises(ConfigError, match=r"x_s0 cannot be sent to another process.*num_cpu=1"):
        grid.run(sac_pytorch, num_cpu=2, data_dir=tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot start a run in"):
        RunProcess(Job(tmp_path / "file" / "x", b""), lambda kind, value: None)


def test_overwrite_empties_the_log(tmp_path: Path) -> None:
    (tmp_path / "x" / "x_s0").mkdir(parents=True)
    log = tmp_path / "x" / "x_s0" / "log.txt"
    log.write_text("of an earlier run\n")
    grid = small_grid("x", [0])
    grid.run(sac_pytorch, data_dir=tmp_path)
    assert log.read_text() == "of an earlier run\n"
    grid.run(sac_pytorch, data_dir=tmp_path, overwrite=True)
    assert log.read_text() == ""


# Which runs are complete.


def test_complete_runs_of_a_folder_are_skipped_one_after_another(tmp_path: Path, capfd: Any) -> None:
    words = [*FLAGS, "--exp_name", "x", "--data_dir", str(tmp_path), "--threads", "1"]
    assert main(["sac", *words, "--epochs", "2", "--seed", "0"]) == 0
    assert main(["sac", *words, "--epochs", "1", "--seed", "1"]) == 0
    capfd.readouterr()
    assert main(["resume", str(tmp_path), "--epochs", "2"]) == 0
    assert f"{tmp_path / 'x' / 'x_s0'} is complete: skipped" in capfd.readouterr().out
    assert len(read_rows(tmp_path / "x" / "x_s1")) == 2
    assert main(["sac", *words, "--epochs", "2", "--seed", "0", "1", "2", "--resume"]) == 0
    assert capfd.readouterr().out.count("is complete: skipped") == 2
    assert len(read_rows(tmp_path / "x" / "x_s2")) == 2
    words = ["CartPole-v1" if word == "Pendulum-v1" else word for word in words]
    assert main(["sac", *words, "--epochs", "2", "--seed", "0", "1", "--resume"]) == 2
    assert "env was 'Pendulum-v1' and is now 'CartPole-v1'" in capfd.readouterr().err


def test_a_run_ended_by_its_callback_is_complete(tmp_path: Path) -> None:
    grid = small_grid("x", [0])
    grid.add("callback", lambda row, ac: False)
    (folder,) = map(Path, grid.run(sac_pytorch, data_dir=tmp_path))
    assert is_complete(folder, 2)
    assert not is_complete(folder, 3)


def test_a_run_without_checkpoints_is_complete_by_its_rows(tmp_path: Path) -> None:
    grid = small_grid("x", [0])
    grid.add("checkpoint_every", 0)
    grid.add("checkpoint_minutes", 0)
    (folder,) = map(Path, grid.run(sac_pytorch, data_dir=tmp_path))
    assert is_complete(folder, 2)
    assert not is_complete(folder, 3)
    assert not is_complete(tmp_path / "nothing", 1)


# The rules, with runs that only pretend.


class Pretended:
    """Starts runs that end when told to, and remembers what happened to them."""

    def __init__(self, ends: dict[str, tuple[int, str]]) -> None:
        self.ends = ends
        self.started: list[str] = []
        self.active = self.most = 0
        self.stopped: list[str] = []
        self.killed: list[str] = []

    def __call__(self, job: Job, report: Callable[[str, Any], None]) -> Any:
        name = job.folder.name
        self.started.append(name)
        code, message = self.ends.get(name, (0, ""))
        if code < 0:
            raise RunError(message)
        self.active += 1
        self.most = max(self.most, self.active)
        return PretendedRun(self, name, report, code, message)


class PretendedRun:
    """Ends after a moment; with code 999, once it is stopped; with 1000, only once it is killed."""

    def __init__(self, all_runs: Pretended, name: str, report: Any, code: int, message: str) -> None:
        self.all_runs, self.name, self.report = all_runs, name, report
        self.code, self.message = code, message
        if code < 999:
            threading.Timer(0.05, self.end, (code,)).start()

    def end(self, code: int) -> None:
        """Report the end."""
        self.all_runs.active -= 1
        self.report("end", [code, self.message])

    def stop(self) -> None:
        """As RunProcess does."""
        self.all_runs.stopped.append(self.name)
        if self.code == 999:
            self.end(128 + signal.SIGTERM)

    def kill(self) -> None:
        """As RunProcess does."""
        self.all_runs.killed.append(self.name)


def pretend(count: int, runs: int, **ends: tuple[int, str]) -> tuple[Pretended, Callable[[], None]]:
    """Pretended runs named r0, r1, ..., and a function that runs them."""
    start = Pretended(ends)
    jobs = [Job(Path(f"r{i}"), b"") for i in range(runs)]
    return start, lambda: run_jobs(jobs, count, "do this", start=start)


def test_runs_start_in_order_and_at_most_so_many_at_a_time() -> None:
    start, run = pretend(2, 5)
    run()
    assert start.started == ["r0", "r1", "r2", "r3", "r4"]
    assert start.most == 2


def test_failures_do_not_stop_the_others_and_the_first_in_order_is_raised(capsys: Any) -> None:
    start, run = pretend(2, 5, r1=(7, "seventh"), r2=(-1, "cannot start"), r4=(1, "last"))
    with pytest.raises(RunsFailed, match=r"^r1: seventh \(3 of 5 runs failed\)$") as failed:
        run()
    assert len(start.started) == 5
    assert failed.value.exit_code == 7
    assert failed.value.failures == {"r1": (7, "seventh"), "r2": (2, "cannot start"), "r4": (1, "last")}
    out = capsys.readouterr().out
    assert "r2: failed, cannot start\n" in out
    assert out.endswith("to continue the runs that are not complete: do this\n")


def signal_once_started(start: Any, send: Callable[[], None]) -> None:
    """Call `send` in a thread after two runs have started: before, signals would end this process."""

    def wait_and_send() -> None:
        wait_until(lambda: len(start.started) == 2)
        send()

    threading.Thread(target=wait_and_send, daemon=True).start()


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_signal_stops_all_and_starts_no_more(name: str, capsys: Any) -> None:
    signum = getattr(signal, name)
    start, run = pretend(2, 4, r0=(999, ""), r1=(999, ""))
    signal_once_started(start, lambda: os.kill(os.getpid(), signum))
    with pytest.raises(KeyboardInterrupt if name == "SIGINT" else SystemExit) as stopped:
        run()
    if name != "SIGINT":
        assert stopped.value.code == 128 + signum
    assert start.started == start.stopped == ["r0", "r1"]
    assert start.killed == []
    assert "do this" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_second_ctrl_c_kills(capsys: Any) -> None:
    start, run = pretend(2, 2, r0=(1000, ""), r1=(999, ""))

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        wait_until(lambda: len(start.stopped) == 2)
        os.kill(os.getpid(), signal.SIGINT)

    signal_once_started(start, twice)
    with pytest.raises(KeyboardInterrupt):
        run()
    assert "r0" in start.killed
    assert "do this" in capsys.readouterr().out


def test_runs_that_share_a_name_are_called_by_their_paths(capsys: Any) -> None:
    jobs = [Job(Path("a/x_s0"), b""), Job(Path("b/x_s0"), b"")]
    run_jobs(jobs, 2, "", start=Pretended({}))
    assert "a/x_s0: done" in capsys.readouterr().out
