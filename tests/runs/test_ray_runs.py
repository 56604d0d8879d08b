"""Runs on Ray (extra `ray`): a cluster of several nodes on this machine, whose nodes and workers die."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import queue
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
from commands import FLAGS, LIMIT, command, read_until, wait_until
from helpers import SMALL, read_rows
from ray._private import services
from ray.cluster_utils import Cluster
from resuming import assert_same_files

from spinup import sac_pytorch
from spinup.cli.main import main
from spinup.errors import ConfigError, MissingExtraError, RunError
from spinup.ray_connection import import_ray
from spinup.runs import ray_runs, ray_task
from spinup.runs.grid import ExperimentGrid
from spinup.runs.jobs import RunsFailed, run_jobs
from spinup.runs.locks import folder_lock
from spinup.runs.ray_runs import RayOptions, RayRuns, ray_options
from spinup.runs.run_process import make_job

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="Ray's cluster for tests"),
    # Ray leaves sockets and processes to the interpreter's end.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]


def patiently(get_node: Any) -> Any:
    """Waits for a node that has not started yet; Ray gives up after 30 s, too few on a busy machine."""

    def get(*arguments: Any) -> Any:
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                return get_node(*arguments)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)

    return get


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster whose head has no CPUs, and another node has two."""
    cluster = Cluster(shutdown_at_exit=False)  # which takes the main thread, and its handler of SIGTERM
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setattr(services, "get_node", patiently(services.get_node))
        cluster.add_node(num_cpus=0, include_dashboard=False)
        cluster.add_node(num_cpus=2)
        yield cluster
        cluster.shutdown()
    gc.collect()  # of what Ray leaves open, while its warnings are ignored


def slow_pendulum(seconds: float) -> Any:
    """A function that makes a Pendulum whose steps take so long; Ray's workers receive it by value."""

    def make() -> Any:
        class Slow(gym.Wrapper[Any, Any, Any, Any]):
            def step(self, action: Any) -> Any:
                time.sleep(seconds)
                return super().step(action)

        return Slow(gym.make("Pendulum-v1"))

    return make


def grid(name: str, seeds: list[int], seconds: float = 0.0, **changes: Any) -> ExperimentGrid:
    """A grid of short runs."""
    made = ExperimentGrid(name)
    made.add("env_fn", slow_pendulum(seconds))
    for key, value in {**SMALL, "seed": seeds, **changes}.items():
        made.add(key, value)
    return made


def test_a_node_dies_and_its_run_ends_as_if_nothing_had_happened(
    cluster: Any, tmp_path: Path, capfd: Any
) -> None:
    changes = {"epochs": 8, "steps_per_epoch": 50, "num_test_episodes": 1, "checkpoint_every": 10}
    undisturbed = grid("x", [0, 1], **changes).run(sac_pytorch, data_dir=tmp_path / "a")
    folders = [tmp_path / "b" / "x" / f"x_s{seed}" for seed in (0, 1)]

    def kill_the_node() -> None:
        wait_until(lambda: all((f / "progress.txt").is_file() and len(read_rows(f)) >= 2 for f in folders))
        (node,) = cluster.worker_nodes
        cluster.remove_node(node, allow_graceful=False)
        cluster.add_node(num_cpus=2)

    killer = threading.Thread(target=kill_the_node)
    killer.start()
    grid("x", [0, 1], 0.02, **changes).run(sac_pytorch, data_dir=tmp_path / "b", ray=cluster.address)
    killer.join()
    for a, b in zip(undisturbed, folders, strict=True):
        assert_same_files(Path(a), b)
    out = capfd.readouterr().out
    assert out.count("it starts again from its last checkpoint (1/3)") == 2
    assert {"x_s0: done", "x_s1: done"} <= set(out.splitlines())
    assert all("continuing at env step" in (folder / "log.txt").read_text() for folder in folders)


def test_a_failed_run_does_not_stop_the_others(cluster: Any, tmp_path: Path, capfd: Any) -> None:
    words = [*FLAGS, "--exp_name", "x", "--lr", "1e30", "1e-3", "--data_dir", str(tmp_path), "--epochs", "2"]
    assert main(["sac", *words, "--threads", "1", "--ray", cluster.address]) == 2
    out, err = capfd.readouterr()
    failed, fine = tmp_path / "x_lr1e-30" / "x_lr1e-30_s0", tmp_path / "x_lr0.001" / "x_lr0.001_s0"
    assert err.startswith(f"spinup: {failed}: a loss became NaN or infinite")
    assert err.endswith("(1 of 2 runs failed)\n")
    assert err.count("\n") == 1
    assert "lr0.001_s0: done" in out
    assert "starts again" not in out
    assert f"--ray {cluster.address} --resume\n" in out
    words = [*FLAGS, "--exp_name", "y", "--data_dir", str(tmp_path), "--epochs", "2", "--threads", "1"]
    assert main(["sac", *words]) == 0
    assert len(read_rows(fine)) == 2
    assert_same_files(fine, tmp_path / "y" / "y_s0")


def test_ctrl_c_checkpoints_all(cluster: Any, tmp_path: Path) -> None:
    words = ["sac", *FLAGS, "--exp_name", "x", "--data_dir", str(tmp_path), "--seed", "0", "1", "2"]
    with command(*words, "--epochs", "100000", "--ray", cluster.address) as process:
        read_until(process, "x_s0: epoch 1,", "x_s1: epoch 1,")
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        assert process.stdout is not None
        rest = process.stdout.read()
        assert process.wait(LIMIT) == 130
    for line in ("x_s0: stopped", "x_s1: stopped", "x_s2: stopped", "received SIGINT", "--resume"):
        assert line in rest
    assert "Traceback" not in rest
    assert not (tmp_path / "x" / "x_s2").exists()
    for seed in (0, 1):
        log = (tmp_path / "x" / f"x_s{seed}" / "log.txt").read_text()
        assert "stopped by SIGTERM at env step" in log


def test_no_run_goes_on_if_the_command_is_killed(cluster: Any, tmp_path: Path) -> None:
    words = ["sac", *FLAGS, "--exp_name", "x", "--data_dir", str(tmp_path), "--epochs", "100000"]
    with command(*words, "--ray", cluster.address) as process:
        read_until(process, "x_s0: epoch 1,")
        process.kill()

        def is_free() -> bool:
            try:
                with folder_lock(tmp_path / "x" / "x_s0"):
                    return True
            except RunError:
                return False

        wait_until(is_free)


def pretended() -> Any:
    """A class of runs that end as the names of their folders say, after they have left a file there.

    It is defined in a function so that Ray sends it by value, as nodes cannot import tests.
    """

    class Pretended:
        def __init__(self, job: Any, report: Any) -> None:
            name = job.folder.name
            job.folder.mkdir(exist_ok=True)
            (job.folder / str(time.time_ns())).touch()
            if name == "takes_its_worker_along":
                os.kill(os.getpid(), signal.SIGKILL)
            if name == "killed":
                report("end", [137, "killed by SIGKILL"])
            if name == "fails":
                report("end", [7, "seventh"])
            if name == "completes":
                report("row", {"Epoch": 1, "AverageEpRet": 3.0})
                report("end", [0, ""])

        def stop(self) -> None:
            pass

        kill = stop

    return Pretended


def test_restarts_are_bounded(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(ray_runs, "MAX_RESTARTS", 1)
    names = ("takes_its_worker_along", "killed", "fails", "completes")
    jobs = [make_job(tmp_path / name, print, {}) for name in names]
    with RayRuns(RayOptions(cluster.address), pretended()) as runs, pytest.raises(RunsFailed) as failed:
        run_jobs(jobs, 4, "", start=runs.start)
    starts = [len(list((tmp_path / name).glob("[0-9]*"))) for name in names]
    assert starts == [2, 2, 1, 1]
    died, killed, fails = failed.value.failures.values()
    assert died[0] == 1
    assert died[1].startswith("its node or its worker process died")
    assert "2 times without a finished epoch in between; its output is in " in died[1]
    assert killed == (
        137,
        "killed by SIGKILL, 2 times without a finished epoch in between; its output is in "
        f"{tmp_path / 'killed' / 'log.txt'}",
    )
    assert fails == (7, "seventh")
    assert "completes: epoch 1, " in capsys.readouterr().out


# Without a cluster.


def ray_command(*words: str) -> tuple[int, str]:
    """Exit code and output of a command, again if the machine is too busy for Ray to start within 30 s."""
    for _ in range(5):
        with command(*words) as process:
            assert process.stdout is not None
            out = process.stdout.read()
        if "Ray cannot be started" not in out:
            break
    return process.returncode, out


def test_ray_on_this_machine(tmp_path: Path) -> None:
    words = ["sac", *FLAGS, "--exp_name", "x", "--data_dir", str(tmp_path), "--epochs", "1", "--ray"]
    code, out = ray_command(*words, "--cpus_per_run", "1000")
    assert code == 2
    last = out.splitlines()[-1]
    assert "which this machine does not have: give other --cpus_per_run and --gpus_per_run" in last
    code, out = ray_command(*words)
    assert code == 0
    assert [line for line in out.splitlines() if "epoch" not in line] == [
        "x_s0: starting", "x_s0: running", "x_s0: done",
    ]  # fmt: skip
    assert len(read_rows(tmp_path / "x" / "x_s0")) == 1


def test_without_ray_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'spinup\[ray\]'"):
        import_ray()
    words = [*FLAGS, "--exp_name", "x", "--data_dir", str(tmp_path), "--ray"]
    assert main(["sac", *words]) == 2
    assert capsys.readouterr().err == "spinup: Ray is not installed: pip install 'spinup[ray]'\n"


def test_options() -> None:
    assert ray_options(False) is None
    assert ray_options(True) == RayOptions()
    assert ray_options("auto", 2, 0.5) == RayOptions("auto", 2, 0.5)
    for given in ((1,), ("",), ("auot",), ("head",)):
        with pytest.raises(ConfigError, match=r"^ray="):
            ray_options(*given)
    for given in ((True, True), (True, float("nan"))):
        with pytest.raises(ConfigError, match=r"^cpus_per_run="):
            ray_options(*given)
    with pytest.raises(ConfigError, match=r"^gpus_per_run=-1"):
        ray_options(True, None, -1)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("trained", [False, True])
def test_a_run_that_starts_again_resumes(overwrite: bool, trained: bool) -> None:
    logger_kwargs = {"output_dir": "x", **({"overwrite": True} if overwrite else {})}
    job = make_job("x", sac_pytorch, {"seed": 3, "logger_kwargs": logger_kwargs})
    again = ray_runs._resuming(job, trained)
    kwargs = pickle.loads(again.call)[1]
    if overwrite and not trained:  # the run of an earlier command may still be in the folder
        assert kwargs == {"seed": 3, "logger_kwargs": logger_kwargs}
    else:
        assert kwargs == {"seed": 3, "logger_kwargs": {"output_dir": "x"}, "resume": True}


def test_a_function_without_resume_starts_from_the_beginning() -> None:
    job = make_job("x", print, {"end": ""})
    assert ray_runs._resuming(job, True) == job


def test_of_several_reports_of_progress_the_last_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_task, "_REPORT_SECONDS", 0.05)
    reports: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
    for report in (("progress", [1, 9]), ("row", {}), ("progress", [2, 9]), ("progress", [3, 9])):
        reports.put(report)
    batches = ray_task.batches(reports)
    assert next(batches) == [("row", {}), ("progress", [3, 9])]
    assert next(batches) == []
    reports.put(("end", [0, ""]))
    assert next(batches) == [("end", [0, ""])]


def test_a_folder_that_is_in_use_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ray_task, "_REPORT_SECONDS", 0.01)
    monkeypatch.setattr(ray_task, "LOCK_SECONDS", 0.1)
    looks: list[None] = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(folder_lock(tmp_path))
        assert not ray_task.released(tmp_path, lambda: True)
        with pytest.raises(RunError, match="is in use by a run"):
            ray_task.released(tmp_path, lambda: False)

        def release() -> bool:
            looks.append(None)
            stack.close()
            return False

        assert ray_task.released(tmp_path, release)
    assert len(looks) == 1


# Many kills.


def run_processes(folder: Path) -> dict[int, int]:
    """The processes of runs below a folder, and the worker process of Ray that started each."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (path / "cmdline").read_bytes().split(b"\0")
            if len(words) > 1 and words[-2].startswith(os.fsencode(folder)):
                found[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds processes there")
def test_nodes_workers_and_runs_are_killed_at_random(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(ray_runs, "MAX_RESTARTS", 10)
    kills, rng = 25, random.Random(0)
    changes = {"epochs": 40, "steps_per_epoch": 50, "num_test_episodes": 1, "checkpoint_every": 10}
    seeds = [0, 1, 2, 3]
    undisturbed = grid("x", seeds, **changes).run(sac_pytorch, data_dir=tmp_path / "a")
    folder = tmp_path / "b" / "x"
    done: dict[str, int] = {"node": 0, "worker": 0, "run": 0}
    cluster.add_node(num_cpus=2)
    ended = threading.Event()

    def rows() -> int:
        return sum(path.read_bytes().count(b"\n") for path in folder.glob("*/progress.txt"))

    def kill() -> None:
        while sum(done.values()) < kills and not ended.is_set():
            before = rows()
            wait_until(lambda before=before: rows() > before or ended.is_set())
            kind, running = rng.choice(list(done)), run_processes(folder)
            if kind == "node":
                cluster.remove_node(rng.choice(sorted(cluster.worker_nodes, key=id)), allow_graceful=False)
                cluster.add_node(num_cpus=2)
            elif running:
                run = rng.choice(sorted(running))
                with contextlib.suppress(ProcessLookupError):  # it has ended
                    os.kill(run if kind == "run" else running[run], signal.SIGKILL)
            else:
                continue
            done[kind] += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        grid("x", seeds, 0.02, **changes).run(sac_pytorch, data_dir=tmp_path / "b", ray=cluster.address)
    finally:
        ended.set()
        killer.join()
    assert sum(done.values()) == kills, done
    assert all(done.values())
    for a, seed in zip(undisturbed, seeds, strict=True):
        assert_same_files(Path(a), folder / f"x_s{seed}")
        assert len(read_rows(folder / f"x_s{seed}")) == 40
    assert not re.search(r"x_s\d: failed", capfd.readouterr().out)
