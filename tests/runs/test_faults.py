"""Faults that a run survives, and how it stops after others."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from helpers import FourCalls, Point, parameters, read_rows, train, without_timing
from resuming import StepHook, assert_same, point, signal_at, talking

from spinup.cli.main import main
from spinup.collect.collector import EnvCollector
from spinup.collect.crash_recovery import MAX_RESTARTS, restart
from spinup.envs.make import make_vector
from spinup.envs.saved_spec import MakeEnv
from spinup.envs.workers import EnvCrash
from spinup.errors import ConfigError, EnvError, RunError, TrainingDiverged
from spinup.loggers.epoch_logger import EpochLogger
from spinup.runs.checkpoint_files import CheckpointFolder
from spinup.runs.signals import SignalHandler
from spinup.seeding import TRAIN_STREAM

# Gymnasium repeats the traceback of a broken worker as warnings.
quiet_workers = pytest.mark.filterwarnings("ignore:.*(Worker|ERROR|Traceback|main process)")


def newest(folder: Path) -> dict[str, Any]:
    """The state in the newest checkpoint, which must be intact."""
    checkpoint, lines = CheckpointFolder(folder / "checkpoint").read()
    assert checkpoint is not None
    assert not lines
    return checkpoint.state


# A full disk.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 600 KB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small file system takes Linux and root; the next test limits file sizes")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(tmp_path: Path, small_disk: Path, capfd: Any) -> None:
    run, junk = small_disk / "run", small_disk / "junk"
    seen: dict[str, Any] = {}

    def fill(row: dict[str, Any], ac: Any) -> None:
        if row["Epoch"] == 2:
            with pytest.raises(OSError, match="No space"):
                fill_up(junk)
            seen["files"] = contents(run)
        elif row["Epoch"] == 4:
            assert newest(run)["epoch"] == 1  # from before the disk was full, and still intact
            for name, data in contents(run).items():  # a row may fit into the last block of the file
                before = seen["files"].pop(name)
                assert data.startswith(before) if name.endswith("progress.txt") else data == before
            assert not seen["files"]
            junk.unlink()

    whole, _ = train(tmp_path / "whole", epochs=6)
    ac, rows = train(run, epochs=6, callback=fill, logger_kwargs=talking(run))
    out = capfd.readouterr().out
    assert out.count("could not write a checkpoint") == 1
    assert out.count("could not write model (") == 1
    assert "checkpoints could be written again" in out
    assert_same_but_best(whole, ac, tmp_path / "whole", run)
    assert newest(run)["epoch"] == 6
    assert len(rows) == 6


def fill_up(path: Path) -> None:
    """Write a file until the disk is full."""
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def assert_same_but_best(a: Any, b: Any, folder_a: Path, folder_b: Path) -> None:
    """As `assert_same`, except for model_best.pt, which could not be written in some epochs."""
    assert parameters(a).equal(parameters(b))
    assert without_timing(read_rows(folder_a)) == without_timing(read_rows(folder_b))
    model = Path("pyt_save", "model.pt")
    assert (folder_a / model).read_bytes() == (folder_b / model).read_bytes()


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of every file below a folder, by path."""
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


LIMITED = """
import resource, sys
sys.path[:0] = [{tests!r}]
from helpers import train
from resuming import talking
from pathlib import Path

def limit(row, ac):
    if row["Epoch"] in (2, 4):
        resource.setrlimit(resource.RLIMIT_FSIZE, (10 if row["Epoch"] == 2 else -1, -1))

folder = Path({folder!r})
train(folder, epochs=6, callback=limit, logger_kwargs=talking(folder))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file size limits")
def test_writes_that_fail(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", epochs=6)
    script = LIMITED.format(tests=str(Path(__file__).parent.parent), folder=str(tmp_path / "run"))
    done = run_script(script)
    assert done.returncode == 0, done.stderr
    assert "could not write a checkpoint ([Errno 27] File too large)" in done.stdout
    assert read_rows(tmp_path / "run")[-1]["Epoch"] == "6"
    resumed, _ = train(tmp_path / "run", epochs=6, resume=True)
    assert_same_but_best(whole, resumed, tmp_path / "whole", tmp_path / "run")


def run_script(script: str) -> Any:
    """Run a script in a new process."""
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )


# Environments that raise, die or hang.


class Broken(Point):
    """Breaks once: in step 7 of the first episode that gets there, or in its second reset."""

    how, flag = "raise", ""

    def __init__(self) -> None:
        super().__init__()
        self.resets = 0

    def reset(self, **kwargs: Any) -> Any:
        self.resets += 1
        if self.how == "raise in reset" and self.resets == 2:
            self.fail()
        return super().reset(**kwargs)

    def step(self, action: Any) -> Any:
        if self.t == 7 and self.how != "raise in reset":
            self.fail()
        return super().step(action)

    def fail(self) -> None:
        """Break, if nothing has yet."""
        if os.path.exists(self.flag):
            return
        if self.flag:
            open(self.flag, "x").close()
        if self.how == "hang":
            time.sleep(1000)
        if self.how == "die":
            os._exit(1)
        raise ValueError("the spring is broken")


@quiet_workers
@pytest.mark.parametrize("how", ["raise", "raise in reset", "die", "hang"])
def test_a_worker_that_breaks_is_replaced(
    tmp_path: Path, how: str, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broken, "how", how)
    monkeypatch.setattr(Broken, "flag", str(tmp_path / "flag"))
    _, rows = train(
        tmp_path / "run", Broken, num_envs=2, env_workers="async", num_test_episodes=1,
        env_timeout=2.0 if how == "hang" else 20.0, logger_kwargs=talking(tmp_path / "run"),
    )  # fmt: skip
    out = capfd.readouterr().out
    reason = {"hang": "gave no answer within env_timeout=2 seconds", "die": "raised"}
    assert reason.get(how, "raised ValueError: the spring is broken: restarted") in out
    assert [row["TotalEnvInteracts"] for row in rows] == ["100", "200"]


@quiet_workers
def test_a_crash_does_not_affect_other_environments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Broken, "flag", str(tmp_path / "flag"))
    (tmp_path / "flag").touch()
    actions = np.random.default_rng(0).uniform(-1, 1, (30, 2, 1)).astype(np.float32)
    first, second = (
        EnvCollector(make_vector(Broken, 2, kind, 5.0), seed=3, stream=TRAIN_STREAM, max_ep_len=20)
        for kind in ("sync", "async")
    )
    first.start()
    second.start()
    for k, action in enumerate(actions):
        if k == 11:
            second.vector.envs.processes[1].kill()  # type: ignore[attr-defined]
            with pytest.raises(EnvCrash) as crash:
                second.step(action)
            assert crash.value.broken == [1]
            assert "environment 1 raised" in restart(second, crash.value)
            assert second.episodes[1].length == 0
            assert second.episodes[1].number == 2  # not 1, whose reset may be what failed
            assert second.episodes[0] == first.episodes[0]
        a, b = first.step(action)[0], second.step(action)[0]
        for name in ("obs", "reward", "next_obs"):
            assert a[name][0].tobytes() == b[name][0].tobytes()
        assert (a["obs"][1].tobytes() == b["obs"][1].tobytes()) == (k < 11)
    first.close()
    second.close()


def normalized() -> Any:
    """A Broken with running statistics."""
    return gym.wrappers.NormalizeObservation(Broken())


@quiet_workers
def test_a_repeated_test_starts_from_the_statistics_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It breaks in step 7 of the second test, when its statistics differ from the initial and the saved ones.
    flag = tmp_path / "flag"
    flag.touch()
    monkeypatch.setattr(Broken, "flag", str(flag))
    settings = {"env_workers": "async", "steps_per_epoch": 3, "num_test_episodes": 1, "max_ep_len": 10}
    ac, _ = train(tmp_path / "run", normalized, callback=lambda row, ac: flag.unlink(), **settings)
    flag.touch()
    whole, _ = train(tmp_path / "whole", normalized, **settings)
    assert_same(whole, ac, tmp_path / "whole", tmp_path / "run")


@quiet_workers
def test_a_crash_during_the_replay_of_an_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Broken, "flag", str(tmp_path / "flag"))
    (tmp_path / "flag").touch()
    collector = EnvCollector(make_vector(Broken, 3, "async", 5.0), seed=3, stream=TRAIN_STREAM, max_ep_len=20)
    collector.start()
    actions = np.zeros((3, 1), np.float32)
    for _ in range(10):
        collector.step(actions)
    lengths = [e.length for e in collector.episodes]
    assert lengths == [10, 10, 10]
    (tmp_path / "flag").unlink()
    line = restart(collector, EnvCrash("was stopped", [1]))
    assert collector.restarts == 2
    lengths = sorted(e.length for e in collector.episodes)
    assert lengths in ([0, 0, 10], [0, 0, 0])  # the first to break, or both at the same time
    assert line.count("restarted") == 1
    collector.step(actions)
    collector.close()


def test_a_crash_while_environments_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = EnvCollector(make_vector(Point, 2, "sync", 5.0), seed=3, stream=TRAIN_STREAM, max_ep_len=20)
    collector.start()
    rebuild, calls = collector.vector.rebuild, []

    def fail_once() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise EnvCrash("was lost", [0])
        rebuild()

    monkeypatch.setattr(collector.vector, "rebuild", fail_once)
    assert "environment 0, 1 was lost: restarted" in restart(collector, EnvCrash("was stopped", [1]))
    assert (len(calls), collector.restarts) == (2, 2)


@quiet_workers
@pytest.mark.parametrize("workers", ["sync", "async"])
def test_an_environment_that_keeps_failing_ends_the_run_with_a_checkpoint(
    tmp_path: Path, workers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EnvError, match="the spring is broken") as stopped:
        train(tmp_path, Broken, num_envs=2, env_workers=workers, env_timeout=20.0)
    assert "\n" not in str(stopped.value)
    if workers == "async":
        assert f"after {MAX_RESTARTS} restarts" in str(stopped.value)
    assert stopped.value.__cause__ is not None
    assert newest(tmp_path)["collector"]["env_steps"] == (
        14 if workers == "sync" else 14 * (MAX_RESTARTS + 1)
    )
    monkeypatch.setattr(Broken, "how", "raise in reset")
    monkeypatch.setattr(Broken, "flag", str(tmp_path))  # fixed
    _, rows = train(tmp_path, Broken, num_envs=2, env_workers=workers, resume=True)
    assert [row["TotalEnvInteracts"] for row in rows] == ["100", "200"]


@quiet_workers
def test_a_crash_of_a_test_environment_repeats_the_test(
    tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ten training steps are too few for a second reset; the second test resets for the second time.
    monkeypatch.setattr(Broken, "flag", str(tmp_path / "flag"))
    monkeypatch.setattr(Broken, "how", "raise in reset")
    settings = {"env_workers": "async", "steps_per_epoch": 5, "num_test_episodes": 1, "start_steps": 0}
    run = tmp_path / "run"
    ac, _ = train(run, Broken, logger_kwargs=talking(run), **settings)
    assert "test environment raised ValueError: the spring is broken: restarted" in capfd.readouterr().out
    whole, _ = train(tmp_path / "whole", Broken, **settings)
    assert_same(whole, ac, tmp_path / "whole", run)


class TwoArguments(Exception):
    """Can be pickled but not rebuilt, since it is made from two arguments."""

    def __init__(self, part: str, fault: str) -> None:
        super().__init__(f"{part} {fault}")


class WithLock(Exception):
    """Holds an object that cannot be pickled."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


def local_exception(text: str) -> Exception:
    """An exception of a class that pickle cannot find."""

    class Local(Exception):
        pass

    return Local(text)


class Raising(Point):
    """Raises another exception in each case: in the first reset, in step 7, or in its state_dict."""

    error: Any = None
    where = "step"
    state_dict: Any = None

    def __init__(self) -> None:
        super().__init__()
        if self.where == "state_dict":
            self.state_dict, self.load_state_dict = self.fail, self.fail

    def fail(self, *args: Any) -> Any:
        """Raise."""
        words = ("the spring", "is broken") if self.error is TwoArguments else ("the spring is broken",)
        raise self.error(*words)

    def reset(self, **kwargs: Any) -> Any:
        return self.fail() if self.where == "reset" else super().reset(**kwargs)

    def step(self, action: Any) -> Any:
        return self.fail() if self.where == "step" and self.t == 7 else super().step(action)


@quiet_workers
@pytest.mark.usefixtures("time_limit")
@pytest.mark.parametrize("error", [TwoArguments, WithLock, local_exception])
@pytest.mark.parametrize("where", ["reset", "step", "state_dict"])
def test_an_exception_that_cannot_be_sent_does_not_hang(
    tmp_path: Path, error: Any, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Raising, "error", staticmethod(error) if error is local_exception else error)
    monkeypatch.setattr(Raising, "where", where)
    with pytest.raises(EnvError, match=r"raised [^\n]*: the spring is broken[^\n]*$"):
        train(tmp_path, Raising, env_workers="async", num_test_episodes=1, env_timeout=20.0)


class Hoarder(Point):
    """Has a state_dict that holds an object."""

    def state_dict(self) -> dict[str, Any]:
        """A state that cannot be saved."""
        return {"thing": object()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Never called."""


def test_a_state_that_is_not_data_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"of type object is not JSON.*return arrays, numbers and strings"
    ) as no:
        train(tmp_path, Hoarder)
    assert "\n" not in str(no.value)


class Curriculum(Point):
    """Rewards depend on the number of steps ever made, which state_dict returns."""

    made = 0

    def step(self, action: Any) -> Any:
        self.made += 1
        obs, r, *rest = super().step(action)
        return obs, r * self.made, *rest

    def state_dict(self) -> dict[str, Any]:
        """The number of steps."""
        return {"made": self.made}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the number of steps."""
        self.made = state["made"]


def curriculum() -> Any:
    """A Curriculum with the hook."""
    return StepHook(Curriculum())


def test_the_state_of_an_environment_is_restored(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", curriculum)
    signal_at(57)
    with pytest.raises(SystemExit):
        train(tmp_path / "stopped", curriculum)
    signal_at(None)
    resumed, _ = train(tmp_path / "stopped", curriculum, resume=True)
    assert_same(whole, resumed, tmp_path / "whole", tmp_path / "stopped")


# Values that are not finite.


class Poison(Point):
    """Returns NaN as an observation or a reward in step 7 of its third episode, or resets to it."""

    where = "observation"

    def __init__(self) -> None:
        super().__init__()
        self.episode = 0

    def reset(self, **kwargs: Any) -> Any:
        self.episode += 1
        obs, info = super().reset(**kwargs)
        return (obs * math.nan, info) if self.where == "reset" and self.episode == 3 else (obs, info)

    def step(self, action: Any) -> Any:
        obs, r, *rest = super().step(action)
        if self.episode == 3 and self.t == 7:
            obs = obs * math.nan if self.where == "observation" else obs
            r = math.nan if self.where == "reward" else r
        return obs, r, *rest


@pytest.mark.parametrize(("where", "n"), [("observation", 36), ("reward", 36), ("reset", 29)])
def test_nan_from_the_environment(
    tmp_path: Path, where: str, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Poison, "where", where)
    with pytest.raises(EnvError, match=r"returned the (observation value|reward) nan") as stopped:
        train(tmp_path, Poison)
    assert "\n" not in str(stopped.value)
    assert newest(tmp_path)["collector"]["env_steps"] == n
    monkeypatch.setattr(Poison, "where", "fixed")
    assert len(train(tmp_path, Poison, resume=True)[1]) == 2


class Rich(Point):
    """Its rewards become so large that the loss overflows."""

    paid = 0

    def step(self, action: Any) -> Any:
        Rich.paid += 1
        obs, r, *rest = super().step(action)
        return obs, 1e30 if Rich.paid > 70 else r, *rest


def finite(tree: dict[str, Any]) -> bool:
    """Whether every array of a state is finite."""
    return all(
        finite(v) if isinstance(v, dict) else bool(np.isfinite(v).all())
        for v in tree.values()
        if isinstance(v, (dict, np.ndarray))
    )


def test_a_loss_that_overflows(tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rich, "paid", 0)
    with (
        pytest.raises(TrainingDiverged, match="became NaN or infinite at env step"),
        np.errstate(all="ignore"),
    ):
        train(tmp_path, Rich, engine=engine, checkpoint_every=10)
    state = newest(tmp_path)
    assert finite(state["agent"])
    assert 70 <= state["collector"]["env_steps"] < 100
    with np.load(tmp_path / "nan_batch.npz", allow_pickle=False) as batch:
        assert set(batch) == {"obs", "action", "reward", "discount", "next_obs", "noise"}
        assert batch["obs"].shape == (8, 2)
        assert batch["noise"].shape == (2, 8, 1)
        assert batch["reward"].max() == np.float32(1e30)


def test_a_parameter_that_is_nan_never_reaches_a_checkpoint(tmp_path: Path, engine: str) -> None:
    def poison(row: dict[str, Any], ac: Any) -> None:
        if row["Epoch"] == 2:
            next(ac.pi.parameters()).data.flatten()[0] = math.nan

    with pytest.raises(TrainingDiverged, match=r"became NaN or infinite by env step 200.*nan_batch\.npz"):
        train(tmp_path, engine=engine, callback=poison, epochs=3)
    assert newest(tmp_path)["epoch"] == 1
    assert finite(newest(tmp_path)["agent"])
    assert (tmp_path / "nan_batch.npz").exists()


def test_a_parameter_that_is_nan_soon_after_resuming_never_reaches_a_checkpoint(tmp_path: Path) -> None:
    def poison(row: dict[str, Any], ac: Any) -> None:
        next(ac.pi.parameters()).data.flatten()[0] = math.nan

    train(tmp_path, epochs=1)
    with pytest.raises(TrainingDiverged, match="became NaN or infinite by env step 200"):
        train(tmp_path, callback=poison, epochs=2, resume=True)
    assert newest(tmp_path)["epoch"] == 1
    assert finite(newest(tmp_path)["agent"])


def test_environments_that_cannot_be_closed_do_not_end_a_run(tmp_path: Path, capfd: Any) -> None:
    class Stuck(Point):
        closes = 0

        def close(self) -> None:
            Stuck.closes += 1
            if Stuck.closes > 2:  # those that were looked at before training
                raise OSError("device busy")

    _, rows = train(tmp_path, Stuck, epochs=1)
    assert len(rows) == 1
    assert (
        capfd.readouterr().err.count("warning: closing the environments raised OSError: device busy\n") == 2
    )


# Two runs in a folder.

HOLD = """
import sys, time
from pathlib import Path
from spinup.runs.locks import folder_lock
with folder_lock(Path({folder!r})):
    print("held", flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_a_folder_in_use_is_refused(tmp_path: Path, how: dict[str, bool]) -> None:
    place = {"output_dir": str(tmp_path), "quiet": True, "tensorboard": False}
    place |= {"overwrite": True} if "overwrite" in how else {}
    command = [sys.executable, "-c", HOLD.format(folder=str(tmp_path))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(RunError, match="is in use by a run: wait for it"):
            train(tmp_path, logger_kwargs=place, resume="resume" in how)
        other.kill()
        other.wait()
    train(tmp_path, logger_kwargs=place, resume="resume" in how, epochs=1)


def test_a_folder_in_use_by_this_process_is_refused(tmp_path: Path) -> None:
    def again(row: Any, ac: Any) -> None:
        with pytest.raises(RunError, match="is in use by a run"):
            train(tmp_path, resume=True)

    train(tmp_path, callback=again, epochs=1)
    train(tmp_path, resume=True, epochs=1)


# Signals.


def test_a_second_interrupt_exits_at_once_and_the_last_checkpoint_is_intact(tmp_path: Path) -> None:
    def signal_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("continued")

    signal_at(163)
    StepHook.call = signal_twice
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, point)
    signal_at(None)
    assert newest(tmp_path)["epoch"] == 1
    whole, _ = train(tmp_path / "whole", point)
    resumed, _ = train(tmp_path, point, resume=True)
    assert_same(whole, resumed, tmp_path / "whole", tmp_path)


class Interrupting(SyncVectorEnv):
    """In its tenth step, the run receives `signum`, and the step fails as if a worker process did too."""

    signum, error = signal.SIGINT, KeyboardInterrupt()

    def __init__(self) -> None:
        super().__init__([Point] * 2)
        self.count = 0

    def step(self, actions: Any) -> Any:
        self.count += 1
        if self.count == 10 and Interrupting.error is not None:
            os.kill(os.getpid(), Interrupting.signum)
            raise Interrupting.error
        return super().step(actions)


@pytest.mark.parametrize(
    ("signum", "error"), [(signal.SIGINT, KeyboardInterrupt()), (signal.SIGTERM, EOFError())]
)
def test_a_signal_that_ends_the_processes_of_a_users_vector_too(
    tmp_path: Path, signum: Any, error: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Interrupting, "signum", signum)
    monkeypatch.setattr(Interrupting, "error", error)
    with pytest.raises(KeyboardInterrupt if signum == signal.SIGINT else SystemExit) as stopped:
        train(tmp_path, Interrupting, epochs=1)
    if signum == signal.SIGTERM:
        assert stopped.value.code == 128 + signal.SIGTERM
    assert newest(tmp_path)["collector"]["env_steps"] == 18
    monkeypatch.setattr(Interrupting, "error", None)
    _, rows = train(tmp_path, Interrupting, epochs=1, resume=True)
    assert rows[-1]["TotalEnvInteracts"] == "100"


def test_a_signal_after_the_last_step_stops_what_follows() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as stopped, SignalHandler():
        os.kill(os.getpid(), signal.SIGTERM)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before

    def fail() -> None:
        with SignalHandler():
            os.kill(os.getpid(), signal.SIGTERM)
            raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        fail()


COMMAND = [
    "--env", "Pendulum-v1", "--exp_name", "x", "--hid", "[8,8]", "--steps_per_epoch", "200",
    "--epochs", "9999", "--num_envs", "2", "--env_workers", "async", "--num_test_episodes", "1",
    "--start_steps", "20",
]  # fmt: skip


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_the_whole_job(tmp_path: Path, signum: int) -> None:
    # As a terminal or a batch system sends it: to the worker processes too.
    command = [sys.executable, "-m", "spinup.run", "sac", *COMMAND, "--data_dir", str(tmp_path)]
    folder = tmp_path / "x" / "x_s0"
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as job:
        while not (folder / "progress.txt").exists() and job.poll() is None:
            time.sleep(0.05)
        os.killpg(job.pid, signum)
        out = job.communicate()[0]
    assert job.returncode == 128 + signum, out
    assert "Traceback" not in out
    assert "restarted" not in out
    assert f"to continue: spinup resume {folder}" in out
    state = newest(folder)
    assert state["collector"]["env_steps"] > 0
    assert main(["resume", str(folder), "--epochs", str(state["epoch"] + 1)]) == 0
    assert read_rows(folder)[-1]["Epoch"] == str(state["epoch"] + 1)


def test_workers_ignore_signals_to_the_whole_job() -> None:
    collector = EnvCollector(make_vector(Point, 2, "async", 20.0), seed=0, stream=TRAIN_STREAM, max_ep_len=20)
    collector.start()
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        for process in collector.vector.envs.processes:  # type: ignore[attr-defined]
            os.kill(process.pid, signum)
        time.sleep(0.2)
        assert len(collector.step(np.zeros((2, 1), np.float32))[0]["reward"]) == 2
    collector.close()


MODULE = "helpers:Pendulum-v1"
PRINTED_COMMANDS = [
    ("Pendulum-v1", {}, "to continue: spinup resume {folder}"),
    (MODULE, {}, f"to continue: spinup resume {{folder}} --env {MODULE}"),
    (MakeEnv(MODULE), {}, f"to continue: spinup resume {{folder}} --env {MODULE}"),
    (point, {}, "call again with resume=True (no id describes its environment)"),
    (
        "Pendulum-v1",
        {"actor_critic": FourCalls},
        "call again with resume=True (its actor-critic is your own)",
    ),
    ("Pendulum-v1", {"callback": lambda *_: None}, "call again with resume=True (its callback is your own)"),
]


@pytest.mark.parametrize(("env", "changes", "line"), PRINTED_COMMANDS)
def test_the_command_to_resume_is_printed(
    tmp_path: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch, env: Any, changes: Any, line: str
) -> None:
    write_row = EpochLogger.dump_tabular

    def write_and_signal(logger: EpochLogger) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGTERM)
        return write_row(logger)

    monkeypatch.setattr(EpochLogger, "dump_tabular", write_and_signal)
    with pytest.raises(SystemExit):
        train(tmp_path, env, logger_kwargs=talking(tmp_path), **changes)
    (printed,) = [
        s for s in capfd.readouterr().out.splitlines() if "stopped by SIGTERM at env step 100; " in s
    ]
    assert printed.endswith(line.format(folder=tmp_path))


def test_handlers_are_restored_and_ignored_signals_stay_ignored(tmp_path: Path) -> None:
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(s) for s in names]
    seen = []
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        train(tmp_path, epochs=1, callback=lambda row, ac: seen.extend(signal.getsignal(s) for s in names))
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, before[2])
    assert [signal.getsignal(s) for s in names] == before
    assert seen[2] is signal.SIG_IGN
    assert seen[0] is not before[0]


def test_a_run_in_another_thread_installs_no_handlers(tmp_path: Path) -> None:
    before, seen = signal.getsignal(signal.SIGINT), []
    thread = threading.Thread(
        target=lambda: train(
            tmp_path, epochs=1, callback=lambda row, ac: seen.append(signal.getsignal(signal.SIGINT))
        )
    )
    thread.start()
    thread.join()
    assert seen == [before]


# Memory.

MEMORY = """
import sys
sys.path[:0] = [{tests!r}]
from helpers import train
from pathlib import Path

def resident(row, ac):
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    print(pages * 4096, flush=True)

folder = Path({folder!r})
train(folder, "Pendulum-v1", epochs={epochs}, steps_per_epoch=2000, max_ep_len=200, updates_per_step={ratio},
      update_every=50, replay_size=2000, checkpoint_every=500, callback=resident)
"""


def check_memory(folder: Path, epochs: int, ratio: float) -> None:
    """Memory grows by less than 8 MiB after the third epoch."""
    done = subprocess.run(
        [sys.executable, "-c", MEMORY.format(
            tests=str(Path(__file__).parent.parent), folder=str(folder), epochs=epochs, ratio=ratio)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sizes = [int(line) for line in done.stdout.split()]
    assert len(sizes) == epochs
    assert max(sizes[3:]) - sizes[2] < 8 * 2**20, sizes


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_over_20k_steps(tmp_path: Path) -> None:
    check_memory(tmp_path, 10, 0.05)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_over_200k_steps(tmp_path: Path) -> None:
    check_memory(tmp_path, 100, 0.2)
