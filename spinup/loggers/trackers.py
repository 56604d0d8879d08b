"""Experiment trackers: wandb, trackio and mlflow receive the rows of progress.txt under the same names.

Each is an optional package, imported when a run that uses it begins. If a tracker fails, for example because
of the network, this is reported once, the tracker is disabled, and the run continues.
"""

from __future__ import annotations

import abc
import importlib.util
import math
import os
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from spinup.errors import ConfigError, MissingExtraError, RunError
from spinup.files import read_json, to_json, write_json
from spinup.hints import nearest
from spinup.loggers.run_folder import TRACKED

PROJECT = "spinup"


class Tracker(abc.ABC):
    """The record of one run in a tracking service.

    Args:
        folder: the run's folder.
        project: the experiment's name.
        config: the settings, as plain JSON.
        run_id: the id of the record that a resumed run continues; None for a new run.
    """

    package: ClassVar[str]
    run_id: str

    @abc.abstractmethod
    def __init__(self, folder: Path, project: str, config: dict[str, Any], run_id: str | None) -> None: ...

    @abc.abstractmethod
    def row(self, step: int, values: dict[str, float]) -> None:
        """Record finite values by column at an env step."""

    @abc.abstractmethod
    def video(self, step: int, path: Path) -> None:
        """Record a video file."""

    @abc.abstractmethod
    def close(self) -> None:
        """Write pending data, and end the record."""


class WandbTracker(Tracker):
    """Weights & Biases; with WANDB_MODE=offline, records stay in the run's folder, for `wandb sync`."""

    package = "wandb"

    def __init__(self, folder: Path, project: str, config: dict[str, Any], run_id: str | None) -> None:
        import wandb

        self.run_id = run_id or uuid.uuid4().hex[:8]
        settings = wandb.Settings(console="off", silent=True)
        self._wandb = wandb
        self._run = wandb.init(
            project=project, name=folder.name, dir=str(folder), config=config, id=self.run_id,
            resume="allow", reinit="create_new", settings=settings,
        )  # fmt: skip

    def row(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def video(self, step: int, path: Path) -> None:
        self._run.log({"video": self._wandb.Video(str(path), format="mp4")}, step=step)

    def close(self) -> None:
        self._run.finish()


class TrackioTracker(Tracker):
    """Trackio; its records are in TRACKIO_DIR, and `trackio show` displays them."""

    package = "trackio"

    def __init__(self, folder: Path, project: str, config: dict[str, Any], run_id: str | None) -> None:
        import trackio

        self.run_id = run_id or f"{folder.name}-{uuid.uuid4().hex[:6]}"
        self._trackio = trackio
        self._run = trackio.init(
            project=project, name=self.run_id, config=config, resume="allow", embed=False
        )

    def row(self, step: int, values: dict[str, float]) -> None:
        self._run.log(values, step=step)

    def video(self, step: int, path: Path) -> None:
        self._run.log({"video": self._trackio.Video(str(path), format="mp4")}, step=step)

    def close(self) -> None:
        self._run.finish()


class MlflowTracker(Tracker):
    """MLflow, at MLFLOW_TRACKING_URI."""

    package = "mlflow"

    def __init__(self, folder: Path, project: str, config: dict[str, Any], run_id: str | None) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        self._client, self._metric = MlflowClient(), Metric
        if run_id is None:
            known = self._client.get_experiment_by_name(project)
            experiment = self._client.create_experiment(project) if known is None else known.experiment_id
            run_id = self._client.create_run(experiment, run_name=folder.name).info.run_id
            params = [Param(key, str(value)[:500]) for key, value in config.items()]
            self._client.log_batch(run_id, params=params)
        else:
            self._client.update_run(run_id, status="RUNNING")
        self.run_id = run_id

    def row(self, step: int, values: dict[str, float]) -> None:
        now = int(1000 * time.time())
        metrics = [self._metric(key, value, now, step) for key, value in values.items()]
        self._client.log_batch(self.run_id, metrics=metrics)

    def video(self, step: int, path: Path) -> None:
        self._client.log_artifact(self.run_id, str(path), "videos")

    def close(self) -> None:
        self._client.set_terminated(self.run_id)


TRACKERS: dict[str, type[Tracker]] = {
    "wandb": WandbTracker, "trackio": TrackioTracker, "mlflow": MlflowTracker,
}  # fmt: skip


def check_trackers(names: Sequence[str]) -> list[str]:
    """The names as a list without duplicates, after a check; "tensorboard" is a valid name too.

    Raises:
        ConfigError: for a name that is not known.
        MissingExtraError: if its package is not installed.
    """
    known = ["tensorboard", *TRACKERS]
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"trackers={names!r}: give a list of names, of {', '.join(known)}")
    for name in names:
        if name not in known:
            hint = nearest(name, known)
            raise ConfigError(
                f"trackers: {name!r} is not known{hint or ': give some of ' + ', '.join(known)}"
            )
        if name in TRACKERS and importlib.util.find_spec(TRACKERS[name].package) is None:
            raise MissingExtraError(f"tracker {name!r} is not installed: pip install 'spinup[{name}]'")
    return list(dict.fromkeys(names))


class Trackers:
    """The trackers of a run, started by its first record.

    Args:
        names: keys of TRACKERS.
        folder: the run's folder.
        project: the experiment's name; None is PROJECT.
        log: receives a line when a tracker fails.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, project: str | None, log: Callable[[str], None]
    ) -> None:
        self._names, self._folder, self._project, self._log = list(names), folder, project or PROJECT, log
        self._config: dict[str, Any] = {}
        self._started: dict[str, Tracker] | None = None

    def config(self, config: dict[str, Any]) -> None:
        """Set the run's settings, and start all trackers with them."""
        self._config = to_json(config)
        self._start()

    def row(self, step: int, row: dict[str, Any]) -> None:
        """Record the finite numbers of a row."""
        numbers = {
            key: float(v) for key, v in row.items() if isinstance(v, (int, float)) and math.isfinite(v)
        }
        self._each(lambda tracker: tracker.row(step, numbers))

    def video(self, step: int, path: Path) -> None:
        """Record a video file."""
        self._each(lambda tracker: tracker.video(step, path))

    def close(self) -> None:
        """End all records; safe to call twice."""
        if self._started:
            self._each(lambda tracker: tracker.close())
        self._started, self._names = {}, []

    def _each(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in [*self._start().items()]:
            try:
                call(tracker)
            except Exception as error:  # trackers raise exceptions of any type
                self._start().pop(name)
                self._report(name, error)

    def _start(self) -> dict[str, Tracker]:
        if self._started is None:
            self._started = {}
            ids = self._read_ids()
            for name in self._names:
                try:
                    given = (self._folder, self._project, self._config, ids.get(name))
                    self._started[name] = TRACKERS[name](*given)
                except Exception as error:
                    self._report(name, error)
            if self._started:
                self._write_ids(ids | {name: tracker.run_id for name, tracker in self._started.items()})
        return self._started

    def _read_ids(self) -> dict[str, str]:
        path = self._folder / TRACKED
        try:
            found = read_json(path) if os.path.lexists(path) else {}
        except RunError as error:
            self._log(f"{error}; trackers begin new records")
            return {}
        return {name: value for name, value in found.items() if isinstance(value, str)}

    def _write_ids(self, ids: dict[str, str]) -> None:
        try:
            write_json(self._folder / TRACKED, ids)
        except OSError as error:
            self._log(f"could not write {TRACKED} ({error}): a resumed run begins new records")

    def _report(self, name: str, error: Exception) -> None:
        reason = " ".join(str(error).split())[:300]
        self._log(f"tracker {name} failed ({type(error).__name__}: {reason}): training continues without it")
