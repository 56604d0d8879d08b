"""Collectors on a real Ray cluster of several nodes on this machine; needs the extra `ray`."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import SMALL, Diary, check_diary, joined, parameters, read_rows, rows_of, train, without_timing

from spinup import ray_connection, sac_pytorch
from spinup.collect import remote
from spinup.collect.ray_transport import RayTransport
from spinup.errors import EnvError, MissingExtraError, RunError
from spinup.runs.checkpoint_files import CheckpointFolder
from spinup.runs.manifest import read_segment

MARK = "SPINUP_TEST_CLUSTER"


class Cluster:
    """A head node without CPUs and two worker nodes; `mark` is in the environment of all its processes."""

    def __init__(self) -> None:
        import ray
        from ray.cluster_utils import Cluster as RayCluster

        self.mark = uuid.uuid4().hex
        os.environ[MARK] = self.mark
        os.environ |= {
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_prestart_worker_first_driver": "0", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.ray = ray
        self.cluster = RayCluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        self.nodes = [self.cluster.add_node(num_cpus=2) for _ in range(2)]
        ray.init(address=self.cluster.address, log_to_driver=False, include_dashboard=False)

    def workers(self) -> list[int]:
        """Process ids of the collectors that run."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                name, environ = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
            except OSError:
                continue
            if b"RayWorker" in name and f"{MARK}={self.mark}".encode() in environ:
                found.append(int(path.name))
        return found

    def kill_a_worker(self, rng: random.Random) -> bool:
        """SIGKILL to one of the collectors; whether there was one."""
        running = self.workers()
        if running:
            os.kill(rng.choice(running), signal.SIGKILL)
        return bool(running)

    def replace_a_node(self, rng: random.Random) -> None:
        """Kill a worker node with all that runs there; another joins a moment later."""
        node = self.nodes.pop(rng.randrange(len(self.nodes)))
        self.cluster.remove_node(node, allow_graceful=False)
        time.sleep(rng.uniform(0.0, 2.0))
        self.nodes.append(self.cluster.add_node(num_cpus=2))

    def close(self) -> None:
        """End it."""
        self.ray.shutdown()
        self.cluster.shutdown()
        os.environ.pop(MARK)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One cluster for all tests of this module."""
    for attempts_left in (2, 1, 0):
        try:
            made = Cluster()
            break
        except Exception:  # a node that takes more than 30 seconds to start, on a busy machine
            if not attempts_left:
                raise
    yield made
    made.close()


class SlowDiary(Diary):
    """A Diary whose step takes 2 ms."""

    def step(self, action: Any) -> Any:
        time.sleep(0.002)
        return super().step(action)


def check_replay(folder: Path, envs: int) -> int:
    """All rows of a run's last checkpoint are those of Diaries, whole from a start; returns their number."""
    checkpoints = CheckpointFolder(folder / "checkpoint")
    checkpoint, lines = checkpoints.read()
    assert checkpoint is not None
    assert not lines
    parts = [read_segment(folder / "checkpoint", s, checkpoint.files) for s in checkpoint.segments]
    rows = joined(parts)
    for env in range(envs):
        mine = rows_of(rows, env)
        begins = np.flatnonzero((mine["obs"] == 0).all(axis=1))
        assert len(mine["reward"]) == 0 or begins[0] == 0  # it may not have started before the end
        for start, stop in zip(begins, [*begins[1:], len(mine["reward"])], strict=False):
            check_diary({name: column[start:stop] for name, column in mine.items()})
    return len(rows["reward"])


def chaos(cluster: Cluster, folder: Path, kills: int, nodes: int, seed: int = 0) -> None:
    """Train while collectors and nodes are killed; then all counts are exact and all rows are whole."""
    rng, done = random.Random(seed), threading.Event()
    doings = ["worker"] * kills + ["node"] * nodes
    rng.shuffle(doings)
    ends: list[dict[str, Any]] = []

    def kill_workers() -> None:
        while doings and not done.is_set():
            time.sleep(rng.uniform(0.2, 2.0))
            if doings[-1:] == ["worker"] and cluster.kill_a_worker(rng):
                doings.pop()

    def after_epoch(row: dict[str, Any], ac: Any) -> bool:
        if doings[-1:] == ["node"]:  # here, since Ray starts nodes in the main thread only
            cluster.replace_a_node(rng)
            doings.pop()
        over = not doings and bool(ends)
        ends.append(row)
        return not over

    thread = threading.Thread(target=kill_workers)
    thread.start()
    settings: dict[str, Any] = {
        **SMALL, "steps_per_epoch": 200, "epochs": 2000, "collectors": 4, "num_envs": 2, "n_step": 3,
        "num_test_episodes": 0, "callback": after_epoch, "checkpoint_every": 200, "max_staleness": 400,
    }  # fmt: skip
    logger_kwargs = {"output_dir": str(folder), "quiet": True, "tensorboard": False}
    try:
        sac_pytorch(SlowDiary, **settings, logger_kwargs=logger_kwargs)
    finally:
        done.set()
        thread.join()
    n = ends[-1]["TotalEnvInteracts"]
    assert n == 200 * len(ends) == check_replay(folder, 8)
    # From update_after = 40 on, blocks of update_every = 10; the first is for steps 31 to 40.
    assert ends[-1]["UpdatesPerStep"] == 1.0
    assert all(row["UpdatesPerStep"] == 1.0 for row in ends)
    assert ends[-1]["CollectorRestarts"] >= kills
    assert max(row["MaxStaleness"] for row in ends) <= 400


def test_kills_of_collectors_and_a_node_leave_all_counts_exact(cluster: Cluster, tmp_path: Path) -> None:
    chaos(cluster, tmp_path, kills=4, nodes=1)


@pytest.mark.slow
def test_fifty_kills_leave_all_counts_exact(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_RESTARTS", 100)  # several may hit a collector before it has delivered
    chaos(cluster, tmp_path, kills=45, nodes=5, seed=1)


def test_halfcheetah_in_lockstep_equals_local_bit_for_bit(cluster: Cluster, tmp_path: Path) -> None:
    fixed: dict[str, Any] = {"env_fn": "HalfCheetah-v5", "steps_per_epoch": 120, "alpha": "auto"}
    local, rows = train(tmp_path / "local", num_envs=4, epochs=2, **fixed)
    apart = {"num_envs": 2, "collectors": 2, "collect": "lockstep", **fixed}
    train(tmp_path / "remote", epochs=1, **apart)
    resumed, remote_rows = train(tmp_path / "remote", epochs=2, resume=True, **apart)
    assert parameters(local).equal(parameters(resumed))
    known = list(without_timing(rows)[0])
    assert [{k: row[k] for k in known} for row in remote_rows] == without_timing(rows)


def break_after(steps: int) -> Any:
    """A Diary that raises after some steps."""

    class Breaking(Diary):
        def step(self, action: Any) -> Any:
            if len(self.actions) == steps:
                raise ValueError("the arm is broken")
            return super().step(action)

    return Breaking


@pytest.mark.slow
def test_an_environment_that_raises_on_the_cluster_is_named(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(
        EnvError, match=r"^collector \d failed: raised ValueError: the arm is broken, after 5 re"
    ):
        train(tmp_path, break_after(25), collectors=2, epochs=50)


def test_the_command_line_starts_a_ray_of_its_own(tmp_path: Path) -> None:
    words = (
        "sac --env Pendulum-v1 --exp_name r --collectors 2 --ray --steps_per_epoch 400 --epochs 2 --threads 1"
    )
    more = "--start_steps 100 --update_after 100 --num_test_episodes 1 --hid [8] --data_dir data"
    command = [sys.executable, "-m", "spinup", *words.split(), *more.split()]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr
    rows = read_rows(tmp_path / "data" / "r" / "r_s0")
    assert [row["TotalEnvInteracts"] for row in rows] == ["400", "800"]
    assert float(rows[-1]["UpdatesPerStep"]) == 1.0
    config = json.loads((tmp_path / "data" / "r" / "r_s0" / "config.json").read_text())
    assert (config["collectors"], config["collect"], config["ray"]) == (2, "async", "local")


def test_without_ray_one_line_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"^Ray is not installed: pip install 'spinup\[ray\]'$"):
        train(tmp_path, collectors=2)


def test_a_cluster_that_cannot_be_reached_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    transport = RayTransport("192.0.2.1:6379")

    class Unreachable:
        @staticmethod
        def is_initialized() -> bool:
            return False

        @staticmethod
        def init(**kwargs: Any) -> None:
            raise ConnectionError("Failed to connect\nin many lines")

        @staticmethod
        def shutdown() -> None:
            pass

    monkeypatch.setattr(ray_connection, "import_ray", lambda: Unreachable)
    with pytest.raises(
        RunError, match=r"^cannot connect to a Ray cluster at 192.0.2.1:6379 \(ConnectionError: [^\n]*$"
    ):
        transport.open(b"", 1)
