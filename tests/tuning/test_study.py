"""Searches with Optuna (extra `tune`): the rules with runs that only pretend, and one with real ones."""

from __future__ import annotations

import functools
import os
import pickle
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import optuna
import pytest
from commands import FLAGS, wait_until
from helpers import read_rows
from sqlalchemy import Engine, event

from spinup import sac_pytorch
from spinup.cli.main import main
from spinup.errors import ConfigError, MissingExtraError, RunError
from spinup.loggers.display import Report
from spinup.runs.jobs import RunsFailed
from spinup.runs.run_process import Job
from spinup.tuning import study
from spinup.tuning.space import Choice, Range
from spinup.tuning.study import Best, tune

FIXED = {"env_fn": "Pendulum-v1", "epochs": 4}
SPACE: Any = {"gamma": Range(0.0, 1.0)}


class Pretended:
    """Starts runs whose return after each epoch a function of their arguments gives, and remembers them."""

    def __init__(self, returns: Callable[[dict[str, Any], int], float]) -> None:
        self.returns = returns
        self.started: list[dict[str, Any]] = []
        self.waits: set[int] = set()  # numbers of runs that wait for a stop before their last epoch

    def __call__(self, job: Job, report: Report) -> Any:
        kwargs = pickle.loads(job.call)[1]
        self.started.append(kwargs)
        return PretendedRun(self, kwargs, report)


class PretendedRun:
    """Reports its epochs in another thread, and ends as a real one when it is stopped."""

    def __init__(self, all_runs: Pretended, kwargs: dict[str, Any], report: Report) -> None:
        self.all_runs, self.kwargs, self.report = all_runs, kwargs, report
        self.number = int(kwargs["logger_kwargs"]["exp_name"].rpartition("_t")[2])
        self.stopped = threading.Event()
        self.last = 0
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        """Report all epochs."""
        for epoch in range(1, self.kwargs["epochs"] + 1):
            if epoch == self.kwargs["epochs"] and self.number in self.all_runs.waits:
                self.stopped.wait()
            if self.stopped.is_set():
                self.report("end", [143, "stopped by SIGTERM"])
                return
            value = self.all_runs.returns(self.kwargs, epoch)
            if value == -1.0:
                self.report("end", [2, "a loss became NaN"])
                return
            self.report("row", {"Epoch": epoch, "AverageTestEpRet": value})
        self.report("end", [0, ""])

    def stop(self) -> None:
        """As RunProcess does."""
        self.stopped.set()

    kill = stop


@pytest.fixture(autouse=True)
def no_flush() -> Iterator[None]:
    """SQLite does not wait for the disk, which takes most of the time of a study of pretended runs."""

    def switch_off(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous = OFF").close()

    event.listen(Engine, "connect", switch_off)
    yield
    event.remove(Engine, "connect", switch_off)


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pretended]:
    """Lets all trials be pretended runs with these returns."""

    def start(returns: Callable[[dict[str, Any], int], float]) -> Pretended:
        runs = Pretended(returns)
        monkeypatch.setattr(study, "RunProcess", runs)
        return runs

    return start


def search(tmp_path: Path, trials: int, space: Any = SPACE, **kwargs: Any) -> Best:
    """A search with `sac_pytorch`."""
    fixed = {**FIXED, **kwargs.pop("fixed", {})}
    return tune("t", sac_pytorch, space, trials, fixed, data_dir=tmp_path, **kwargs)


def stored(tmp_path: Path) -> list[Any]:
    """The trials in the study."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/t/study.db")
    trials = optuna.load_study(study_name="tune", storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    return trials


def test_the_best_is_found_with_a_result_that_is_the_mean_of_the_last_epochs(
    pretend: Any, tmp_path: Path
) -> None:
    runs = pretend(lambda kwargs, epoch: 10.0 * epoch - abs(kwargs["gamma"] - 0.7))
    best = search(tmp_path, 25, prune=False)
    assert best.value == pytest.approx(30.0 - abs(best.params["gamma"] - 0.7))  # epochs 2, 3 and 4
    assert abs(best.params["gamma"] - 0.7) < 0.05
    assert best.labels == best.params
    assert best.counts == {"complete": 25}
    assert [path.name for path in best.figures] == ["history.png"]  # one parameter is all that matters
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in best.figures)
    assert len(runs.started) == 25
    folder = str(tmp_path / "t" / "t_t3")
    assert runs.started[3]["logger_kwargs"] == {"output_dir": folder, "exp_name": "t_t3"}
    assert runs.started[3]["env_fn"] == "Pendulum-v1"
    assert runs.started[3]["threads"] == 1
    assert "resume" not in runs.started[3]


@pytest.mark.parametrize(
    ("fixed", "space"),
    [
        ({"recipe": "tqc", "quantiles": 50}, SPACE),
        ({"recipe": "laptop", "target_entropy": -3.0}, SPACE),
        ({"target_critics": 3}, {"critics": Range(3, 6, whole=True)}),
    ],
)
def test_settings_that_are_valid_only_with_those_of_the_recipe_or_the_trial(
    pretend: Any, tmp_path: Path, fixed: dict[str, Any], space: Any
) -> None:
    runs = pretend(lambda kwargs, epoch: 1.0)
    assert search(tmp_path, 2, space, fixed=fixed).counts == {"complete": 2}
    assert all(fixed.items() <= kwargs.items() for kwargs in runs.started)


def test_invalid_epochs_are_refused(pretend: Any, tmp_path: Path) -> None:
    pretend(lambda kwargs, epoch: 1.0)
    with pytest.raises(ConfigError, match=r"^epochs='ten': give a whole number >= 1"):
        search(tmp_path, 1, fixed={"epochs": "ten"})


def test_choices_and_entries_of_dicts(pretend: Any, tmp_path: Path) -> None:
    space = {
        "ac_kwargs:hidden_sizes": Choice([[8], [64, 64]], ["[8]", "[64,64]"]),
        "batch_size": Range(16, 64, log=True, whole=True),
    }
    runs = pretend(
        lambda kwargs, epoch: len(kwargs["ac_kwargs"]["hidden_sizes"]) + kwargs["batch_size"] / 1000
    )
    best = search(tmp_path, 12, space, num_cpu=3)
    assert best.params["ac_kwargs:hidden_sizes"] == [64, 64]
    assert best.labels["ac_kwargs:hidden_sizes"] == "[64,64]"
    assert all(isinstance(kwargs["batch_size"], int) for kwargs in runs.started)
    assert [path.name for path in best.figures] == ["history.png", "importances.png"]


def test_trials_below_the_median_are_pruned_cleanly(pretend: Any, tmp_path: Path, capsys: Any) -> None:
    # Those after the first five are worse, and would wait for ever before their last epoch.
    runs = pretend(lambda kwargs, epoch: float(epoch if len(runs.started) <= 5 else -5.0))
    runs.waits = {5, 6, 7}
    best = search(tmp_path, 8)
    assert best.counts == {"complete": 5, "pruned": 3}
    out = capsys.readouterr().out
    assert "t_t6: done, pruned after epoch " in out
    assert "failed" not in out
    trials = stored(tmp_path)
    assert [trial.state.name for trial in trials[5:]] == ["PRUNED"] * 3
    assert all(1 <= max(trial.intermediate_values) <= 3 for trial in trials[5:])


def test_nothing_is_pruned_in_the_first_quarter_or_if_it_was_switched_off(
    pretend: Any, tmp_path: Path
) -> None:
    returns = pretend(lambda kwargs, epoch: float(epoch > 1 or len(returns.started) <= 5))
    assert search(tmp_path / "a", 8, fixed={"epochs": 8}).counts == {"complete": 8}
    returns = pretend(lambda kwargs, epoch: float(len(returns.started) <= 5))
    assert search(tmp_path / "b", 8, prune=False).counts == {"complete": 8}


def test_failed_trials_are_no_failure_of_the_search(pretend: Any, tmp_path: Path, capsys: Any) -> None:
    runs = pretend(lambda kwargs, epoch: -1.0 if len(runs.started) % 2 else 3.0)
    assert search(tmp_path, 4).counts == {"complete": 2, "fail": 2}
    assert "t_t0: failed, a loss became NaN" in capsys.readouterr().out


def test_if_all_trials_fail_the_first_error_is_raised(pretend: Any, tmp_path: Path) -> None:
    pretend(lambda kwargs, epoch: -1.0)
    with pytest.raises(RunsFailed, match=r"t_t0: a loss became NaN \(2 of 2 runs failed\)"):
        search(tmp_path, 2)
    with pytest.raises(RunError, match=r"no trial in .* has completed: give more trials"):
        search(tmp_path, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupted_search_goes_on_with_the_same_call(pretend: Any, tmp_path: Path, capsys: Any) -> None:
    runs = pretend(lambda kwargs, epoch: kwargs["gamma"])
    runs.waits = {2, 3}

    def interrupt() -> None:
        wait_until(lambda: len(runs.started) == 4)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, 6, num_cpu=2, how_to_continue="do this")
    assert "to continue the runs that are not complete: do this" in capsys.readouterr().out
    before = stored(tmp_path)
    assert [trial.state.name for trial in before] == ["COMPLETE"] * 2 + ["RUNNING"] * 2
    (tmp_path / "t" / "t_t2" / "checkpoint").mkdir(parents=True)  # as if it was a real run

    with pytest.raises(ConfigError, match=r"gamma was '0.0:1.0' and is now '0.0:0.5': a search is continued"):
        search(tmp_path, 6, {"gamma": Range(0.0, 0.5)})
    with pytest.raises(ConfigError, match="epochs was 4 and is now 5"):
        search(tmp_path, 6, fixed={"epochs": 5})

    again = pretend(lambda kwargs, epoch: kwargs["gamma"])
    assert search(tmp_path, 6, prune=False).counts == {"complete": 6}
    names = [kwargs["logger_kwargs"]["exp_name"] for kwargs in again.started]
    assert names == ["t_t2", "t_t3", "t_t4", "t_t5"]
    assert [kwargs.get("resume") for kwargs in again.started] == [True, None, None, None]
    assert [kwargs["gamma"] for kwargs in again.started[:2]] == [t.params["gamma"] for t in before[2:]]
    assert len({trial.params["gamma"] for trial in stored(tmp_path)}) == 6

    none = pretend(lambda kwargs, epoch: kwargs["gamma"])
    assert search(tmp_path, 6).counts == {"complete": 6}
    assert none.started == []


def test_a_search_without_interruption_is_reproducible(pretend: Any, tmp_path: Path) -> None:
    values = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        runs = pretend(lambda kwargs, epoch: kwargs["gamma"])
        search(tmp_path / name, 12, prune=False, fixed={"seed": seed})
        values.append([kwargs["gamma"] for kwargs in runs.started])
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    ("owner", "method", "error"),
    [(optuna.trial.Trial, "report", RunError), (optuna.study.Study, "ask", RunsFailed)],
)
def test_a_study_that_cannot_be_written_ends_the_search_with_a_line(
    owner: Any, method: str, error: Any, pretend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(lambda kwargs, epoch: 1.0)

    def full(*arguments: Any) -> None:
        raise OSError("database or disk is full")

    monkeypatch.setattr(owner, method, full)
    with pytest.raises(error, match=r"study.db \(database or disk is full\): free disk space"):
        search(tmp_path, 2)


def make_pendulum(env_id: str) -> Any:
    """A Pendulum."""
    return gym.make(env_id)


def test_a_search_with_a_partial_function_goes_on(pretend: Any, tmp_path: Path) -> None:
    pretend(lambda kwargs, epoch: 1.0)
    for trials in (1, 2):
        search(tmp_path, trials, fixed={"env_fn": functools.partial(make_pendulum, "Pendulum-v1")})
    assert len(stored(tmp_path)) == 2


def test_invalid_searches(pretend: Any, tmp_path: Path) -> None:
    pretend(lambda kwargs, epoch: 1.0)
    with pytest.raises(ConfigError, match="trials=0: give a whole number >= 1"):
        search(tmp_path, 0)
    with pytest.raises(ConfigError, match="the space is empty"):
        search(tmp_path, 1, {})
    with pytest.raises(ConfigError, match="gamma is both searched and fixed"):
        search(tmp_path, 1, fixed={"gamma": 0.9})
    (tmp_path / "t" / "t_t0").mkdir(parents=True)
    (tmp_path / "t" / "t_t0" / "config.json").touch()
    with pytest.raises(RunError, match="t_t0 holds a run that is not of this search"):
        search(tmp_path, 1)
    (tmp_path / "t" / "study.db").write_bytes(b"no database " * 100)
    with pytest.raises(RunError, match=r"study.db cannot be opened \(.*\): give another name"):
        search(tmp_path, 1)


def test_without_optuna_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"Optuna is not installed: pip install 'spinup\[tune\]'"):
        search(tmp_path, 1)


# The command.


def test_the_command_prints_the_best_settings_as_a_command(tmp_path: Path, capfd: Any) -> None:
    words = [*FLAGS, "--epochs", "2", "--data_dir", str(tmp_path), "--exp_name", "x"]
    space = ["--space", "lr=log:1e-4:1e-2", "hid=[4]|[8,8]", "batch_size=4:8"]
    hid = words.index("--hid")
    words = words[:hid] + words[hid + 2 :]
    batch = words.index("--batch_size")
    words = words[:batch] + words[batch + 2 :]
    assert main(["tune", *words, "--trials", "2", *space, "--jobs", "2"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    for number in (0, 1):
        assert len(read_rows(tmp_path / "x" / f"x_t{number}")) == 2
    assert "2 complete\nbest: trial " in out
    (line,) = [line for line in out.splitlines() if "train with it:" in line]
    command = shlex.split(line.partition(": ")[2])
    assert command[:4] == ["spinup", "sac", "--env", "Pendulum-v1"]
    assert command.count("--exp_name") == 1
    assert command[command.index("--exp_name") + 1] == "x_best"
    assert command[command.index("--hid") + 1] in ("[4]", "[8,8]")
    assert "--jobs" not in command
    number = int(out.partition("best: trial ")[2].partition(",")[0])
    assert main([*command[1:], "--threads", "1"]) == 0
    rows = [read_rows(tmp_path / folder) for folder in (f"x/x_t{number}", "x_best/x_best_s0")]
    assert rows[0][-1]["AverageTestEpRet"] == rows[1][-1]["AverageTestEpRet"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--trials 2", "tune needs --space"),
        ("--space lr=1e-4:1e-2", "tune needs --trials"),
        ("--trials 2 --space lr", "give NAME=LOW:HIGH"),
        ("--trials 2 --space lr=1", "give LOW:HIGH, log:LOW:HIGH or A|B|C"),
        ("--trials 2 --space lr=a:b", "give two numbers"),
        ("--trials 2 --space lr=1e-2:1e-4", "the smaller one first"),
        ("--trials 2 --space lr=log:0:1", "begins above 0"),
        ("--trials 2 --space lr=-1:1", "lr=-1: give a number > 0"),
        ("--trials 2 --space gamma=0.9:2", "gamma=2: give a number from 0 to 1"),
        ("--trials 2 --space batch_size=1.5:2.5", "give whole numbers"),
        ("--trials 2 --space gama=0.9:1", "did you mean '--gamma'"),
        ("--trials 2 --space act=torch.nn.ReLU|torch.nn.Linear", "not a supported activation"),
        ("--trials 2 --space lr=1e-4:1e-3 lr=1e-3:1e-2", "--space has lr twice"),
        ("--trials 2 --space lr=1e-4:1e-3 --lr 1e-3", "lr is both a flag and in --space"),
        ("--trials 2 --space env=Pendulum-v1|Hopper-v5", "only parameters of `spinup sac`"),
        ("--trials 2 --space lr=1e-4:1e-3 --gamma 0.9 0.99", "--gamma has 2 values"),
        ("--trials 2 --space lr=1e-4:1e-3 --resume", "tune takes no --resume"),
        ("--trials 2 --space lr=1e-4:1e-3 --overwrite", "tune takes no --overwrite"),
        ("--trials 2 --space lr=1e-4:1e-3 --track wandb", "tune takes no --track"),
        ("--trials 2 --space lr=1e-4:1e-3 --config none.yaml", "none.yaml"),
        ("--trials two --space lr=1e-4:1e-3", "trials='two': give a whole number"),
        ("--trials 2 3 --space lr=1e-4:1e-3", r"trials=\['2', '3'\]"),
        ("--trials 2 --space lr=1e-4:1e-3 --prune maybe", "--prune maybe: give True or False"),
        ("--trials 2 --space nothing.json", "nothing.json is missing"),
    ],
)
def test_invalid_commands(
    words: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["tune", "--env", "Pendulum-v1", *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("spinup: ")
    assert error.count("\n") == 1
    assert message.replace("\\", "") in error
    assert not list(tmp_path.iterdir())


def test_a_space_in_a_file(
    pretend: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    runs = pretend(lambda kwargs, epoch: kwargs["gamma"])
    Path("space.json").write_text('{"gamma": "0.5:0.9", "alpha": "auto|0.2"}')
    words = ["tune", "--env", "Pendulum-v1", "--trials", "3", "--epochs", "4", "--space"]
    assert main([*words, "space.json"]) == 0
    assert {kwargs["alpha"] for kwargs in runs.started} <= {"auto", 0.2}
    assert main([*words, "alpha=auto|0.2", "gamma=0.5:0.9"]) == 0  # the same search, which is complete
    assert len(runs.started) == 3
    Path("space.json").write_text('{"gamma": [0.5, 0.9]}')
    assert main([*words, "space.json"]) == 2
    assert "give an object of texts" in capsys.readouterr().err
