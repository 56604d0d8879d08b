"""Search with Optuna: trials are runs in processes, on this machine or on Ray.

The study is an SQLite file in the folder of the search, which only this process opens. It holds the settings
of each trial, its return after each epoch, and its result: the mean return of its last epochs. A trial whose
return is below the median of the others at the same epoch is stopped. The same call continues an interrupted
search: trials that had begun are resumed from their checkpoints.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spinup.checks import check_whole
from spinup.config import field_defaults
from spinup.errors import ConfigError, MissingExtraError, RunError
from spinup.files import to_json
from spinup.loggers.display import Report
from spinup.loggers.progress import mean_return
from spinup.loggers.run_folder import holds_run
from spinup.loggers.text import Row, error_line
from spinup.runs.cores import run_count
from spinup.runs.grid import Call, ExperimentGrid, call_kwargs, make_run_job, setup_logger_kwargs
from spinup.runs.jobs import RunsFailed, Start, StartedRun, run_jobs
from spinup.runs.locks import folder_lock
from spinup.runs.ray_runs import RayRuns, ray_options
from spinup.runs.resuming import comparable
from spinup.runs.run_process import Job, RunProcess
from spinup.runs.signals import EXIT_CODES
from spinup.tuning.figures import draw_study
from spinup.tuning.space import Space

STUDY_FILE = "study.db"
LAST_EPOCHS = 3  # number of epochs whose mean return is the result of a trial
STARTUP_TRIALS = 5  # number of complete trials before any is pruned
_SETTINGS = "settings"


@dataclass(frozen=True)
class Best:
    """The result of a search.

    Attributes:
        folder: folder of the search.
        trial: number of the best trial.
        value: its result, the mean return of its last epochs.
        params: values of the searched parameters in the best trial.
        labels: the same, but with the labels of choices instead of their values.
        counts: number of trials by state: complete, pruned, fail.
        figures: the files drawn.
    """

    folder: Path
    trial: int
    value: float
    params: dict[str, Any]
    labels: dict[str, Any]
    counts: dict[str, int]
    figures: list[Path]


def tune(
    name: str,
    thunk: Callable[..., Any],
    space: Space,
    trials: int,
    fixed: dict[str, Any],
    *,
    data_dir: str | Path | None = None,
    num_cpu: int | str = 1,
    ray: bool | str = False,
    cpus_per_run: float | None = None,
    gpus_per_run: float | None = None,
    prune: bool = True,
    how_to_continue: str = "make the same call again",
) -> Best:
    """Search for the settings with the highest return; repeating the call continues the search.

    Values are proposed by Optuna's TPE sampler. The sampler is seeded with the run's seed and the number of
    trials so far; with one trial at a time and no interruption, a search is reproducible.

    Args:
        name: name of the search; its folder is `<data_dir>/<name>`, with the folder `<name>_t<k>` of trial k.
        thunk: `sac_pytorch`, or another function with these keyword arguments.
        space: range or choice by parameter; the key `a:b` is the entry b of the dict parameter a.
        trials: total number of trials, including those of earlier calls.
        fixed: the other arguments, including `env_fn`, as in a variant of an ExperimentGrid.
        data_dir: see `setup_logger_kwargs`.
        num_cpu: number of trials at a time, each in its own process; "auto" is one per usable core. With
            `ray`, 1 and "auto" mean as many as the cluster's resources allow.
        ray, cpus_per_run, gpus_per_run: see `ExperimentGrid.run`.
        prune: stop trials whose return is below the median of the others, from a quarter of the epochs on,
            once STARTUP_TRIALS trials are complete.
        how_to_continue: what to do to continue an interrupted search, for messages.

    Returns:
        The best trial, including those of earlier calls.

    Raises:
        ConfigError: for invalid arguments, or arguments that differ from those of earlier calls.
        RunError: if the folder is in use, or the study cannot be read or written.
        RunsFailed: if trials failed, and none has completed.
        MissingExtraError: if Optuna is not installed.
        KeyboardInterrupt, SystemExit: after SIGINT, and after SIGTERM or SIGUSR1; checkpoints are written
            first.
    """
    if isinstance(trials, bool) or not isinstance(trials, int) or trials < 1:
        raise ConfigError(f"trials={trials!r}: give a whole number >= 1")
    if not space:
        raise ConfigError("the space is empty: give at least one parameter to search")
    if both := set(space) & set(fixed):
        raise ConfigError(f"{min(both)} is both searched and fixed: give it once")
    count, cluster = run_count("num_cpu", num_cpu), ray_options(ray, cpus_per_run, gpus_per_run)
    optuna = _import_optuna()
    folder = Path(setup_logger_kwargs(name, None, data_dir)["output_dir"]).absolute()
    with folder_lock(folder), _open_study(optuna, folder, fixed, prune) as study:
        search = _Search(optuna, study, folder, thunk, space, fixed)
        search.check_settings()
        with contextlib.ExitStack() as stack:
            jobs = search.jobs(trials)
            if cluster is not None and jobs:
                runs = stack.enter_context(RayRuns(cluster))
                search.start_run = runs.start
                count = runs.room() if num_cpu in (1, "auto") else count
            try:
                if jobs:
                    run_jobs(jobs, count, how_to_continue, start=search.start)
            except RunsFailed:
                search.check_error()
                if not search.completed():
                    raise
            finally:
                figures = draw_study(optuna, study, folder)
        search.check_error()
        return search.best(figures)


class _Search:
    """Runs the trials of a study as jobs.

    Attributes:
        start_run: starts a job: `RunProcess`, or `RayRuns.start`.
    """

    def __init__(
        self,
        optuna: Any,
        study: Any,
        folder: Path,
        thunk: Callable[..., Any],
        space: Space,
        fixed: dict[str, Any],
    ) -> None:
        self._optuna, self._study, self._folder = optuna, study, folder
        self._thunk, self._space, self._fixed = thunk, space, fixed
        self.start_run: Start = RunProcess
        self._lock = threading.Lock()  # reports arrive in other threads
        self._error: Exception | None = None
        self._resumed: dict[str, Any] = {}

    def check_settings(self) -> None:
        """Check that earlier calls, if any, had the same settings.

        Raises:
            ConfigError: naming the first setting that differs.
        """
        space = {f"space of {name}": entry.describe() for name, entry in self._space.items()}
        now = to_json({**self._fixed, **space})
        before = self._study.user_attrs.get(_SETTINGS)
        if before is None:
            self._study.set_user_attr(_SETTINGS, now)
            return
        for key in {**before, **now}:
            if comparable(before.get(key)) != comparable(now.get(key)):
                raise ConfigError(
                    f"{key} was {before.get(key)!r} and is now {now.get(key)!r}: a search is continued with "
                    "the settings it began with; give the old value, or another name"
                )

    def jobs(self, trials: int) -> list[Job]:
        """Jobs for the trials that are not finished; the calls are set only when the trials start.

        Raises:
            RunError: if the folder of a new trial holds a run.
        """
        known = self._study.get_trials(deepcopy=False)
        for trial in known:
            if not trial.state.is_finished():
                if set(trial.params) == set(self._space):
                    self._resumed[self._path(trial.number).name] = trial
                else:  # the process ended while it was being proposed
                    self._study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)
        new = [self._path(number) for number in range(len(known), trials)]
        for path in new:
            if holds_run(path):
                raise RunError(
                    f"{path} holds a run that is not of this search: remove it, or give another name"
                )
        return [Job(self._folder / name, b"") for name in self._resumed] + [Job(path, b"") for path in new]

    def _path(self, number: int) -> Path:
        return self._folder / f"{self._folder.name}_t{number}"

    def start(self, job: Job, report: Report) -> StartedRun:
        """Start a trial. The settings of a new one are proposed here, so that they use all results so far.

        Raises:
            SpinupError: see `RunProcess`.
        """
        frozen = self._resumed.get(job.folder.name)
        try:
            with self._lock:
                if frozen is None:
                    distributions = {
                        name: entry.distribution(self._optuna) for name, entry in self._space.items()
                    }
                    trial = self._study.ask(distributions)
                else:
                    trial = self._optuna.trial.Trial(self._study, frozen._trial_id)
                values = {name: entry.value(trial.params[name]) for name, entry in self._space.items()}
        except Exception as error:  # of Optuna's storage
            raise self._cannot_write(error) from error
        call = self._call(job.folder, values)
        try:
            return _TrialRun(self, trial, {} if frozen is None else frozen.intermediate_values, call, report)
        except Exception:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            raise

    def _call(self, folder: Path, values: dict[str, Any]) -> Call:
        grid = ExperimentGrid(folder.name)
        for key, value in {**self._fixed, **values}.items():
            grid.add(key, [value])
        kwargs = call_kwargs(grid.variants()[0])
        kwargs["logger_kwargs"] = {"output_dir": str(folder), "exp_name": folder.name}
        if holds_run(folder):
            kwargs["resume"] = True
        return Call(str(folder), self._thunk, kwargs)

    def receive_row(self, trial: Any, returns: dict[int, float], row: Row) -> bool:
        """Store the return after an epoch; returns whether the trial is to be pruned.

        Args:
            trial: the trial of Optuna.
            returns: mean returns by epoch; the return in `row` is added.
            row: row of the finished epoch.
        """
        epoch, value = row.get("Epoch"), mean_return(row)
        if not isinstance(epoch, int) or epoch in returns or not math.isfinite(value):
            return False
        with self._guarded():
            returns[epoch] = value
            trial.report(value, epoch)
            return epoch < _setting(self._fixed, "epochs", 1) and bool(trial.should_prune())
        return False

    def receive_end(self, trial: Any, returns: dict[int, float], end: list[Any], stopped: str) -> list[Any]:
        """Store the result of a trial.

        Args:
            trial: the trial of Optuna.
            returns: mean returns by epoch.
            end: exit code and message.
            stopped: "pruned", "interrupted" (the next call continues the trial), or "".

        Returns:
            Exit code and message to show; a pruned trial does not count as failed.
        """
        state, code = self._optuna.trial.TrialState, end[0]
        with self._guarded():
            if code == 0 and returns:
                last = [returns[epoch] for epoch in sorted(returns)[-LAST_EPOCHS:]]
                self._study.tell(trial, sum(last) / len(last))
            elif stopped == "pruned" and code in EXIT_CODES:
                self._study.tell(trial, state=state.PRUNED)
                return [0, f"pruned after epoch {max(returns)}"]
            elif stopped != "interrupted" and not (stopped and code in EXIT_CODES):
                self._study.tell(trial, state=state.FAIL)
        return end

    @contextlib.contextmanager
    def _guarded(self) -> Iterator[None]:
        """Context for access to the study in the thread of a run; errors are kept for `check_error`."""
        with self._lock:
            try:
                yield
            except Exception as error:
                self._error = self._error or error
            finally:
                self._study._storage.remove_session()

    def check_error(self) -> None:
        """Raise the first error that occurred in `_guarded`.

        Raises:
            RunError: if there was an error.
        """
        if self._error is not None:
            raise self._cannot_write(self._error) from self._error

    def _cannot_write(self, error: Exception) -> RunError:
        path = self._folder / STUDY_FILE
        return RunError(f"cannot write to {path} ({error_line(error)}): free disk space")

    def completed(self) -> list[Any]:
        """The trials with a result."""
        return list(self._study.get_trials(deepcopy=False, states=[self._optuna.trial.TrialState.COMPLETE]))

    def best(self, figures: list[Path]) -> Best:
        """The best trial.

        Raises:
            RunError: if none has completed.
        """
        if not self.completed():
            raise RunError(f"no trial in {self._folder} has completed: give more trials, or another space")
        best = self._study.best_trial
        params = {name: entry.value(best.params[name]) for name, entry in self._space.items()}
        counts = Counter(trial.state.name.lower() for trial in self._study.get_trials(deepcopy=False))
        return Best(self._folder, best.number, best.value, params, dict(best.params), dict(counts), figures)


class _TrialRun:
    """A trial that was started; see `RunProcess`."""

    def __init__(
        self, search: _Search, trial: Any, returns: dict[int, float], call: Call, report: Report
    ) -> None:
        self._search, self._trial, self._returns, self._report = search, trial, dict(returns), report
        self._stopped = ""
        self._started = threading.Event()
        self._run = search.start_run(make_run_job(call), self._receive)
        self._started.set()

    def stop(self) -> None:
        """See `RunProcess`."""
        self._stopped = self._stopped or "interrupted"
        self._run.stop()

    def kill(self) -> None:
        """See `RunProcess`."""
        self._run.kill()

    def _receive(self, kind: str, value: Any) -> None:
        if kind == "row" and not self._stopped:
            if self._search.receive_row(self._trial, self._returns, value):
                self._stopped = "pruned"
                self._started.wait()
                self._run.stop()
        elif kind == "end":
            value = self._search.receive_end(self._trial, self._returns, value, self._stopped)
        self._report(kind, value)


def _setting(fixed: dict[str, Any], name: str, low: int) -> int:
    """A setting that all trials share, a whole number >= `low`."""
    return check_whole(name, fixed.get(name, field_defaults()[name]), low)


def _import_optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ImportError:
        raise MissingExtraError("Optuna is not installed: pip install 'spinup[tune]'") from None


@contextlib.contextmanager
def _open_study(optuna: Any, folder: Path, fixed: dict[str, Any], prune: bool) -> Iterator[Any]:
    """The study in a folder, created if there is none.

    Raises:
        RunError: if it cannot be opened.
    """
    epochs, pruners = _setting(fixed, "epochs", 1), optuna.pruners
    pruner = pruners.MedianPruner(STARTUP_TRIALS, max(1, epochs // 4)) if prune else pruners.NopPruner()
    url = importlib.import_module("sqlalchemy").URL.create("sqlite", database=str(folder / STUDY_FILE))
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = None
    try:
        try:
            storage = optuna.storages.RDBStorage(url.render_as_string())
            study = optuna.create_study(
                storage=storage, study_name="tune", direction="maximize", load_if_exists=True, pruner=pruner
            )
            seed = (_setting(fixed, "seed", 0) + len(study.trials)) % 2**32
            study.sampler = optuna.samplers.TPESampler(seed=seed)
        except Exception as error:  # of SQLite, SQLAlchemy, Alembic and Optuna
            raise RunError(
                f"{folder / STUDY_FILE} cannot be opened ({error_line(error)}): give another name, or "
                "remove it"
            ) from error
        yield study
    finally:
        optuna.logging.set_verbosity(verbosity)
        if storage is not None:
            storage.remove_session()
            storage.engine.dispose()
