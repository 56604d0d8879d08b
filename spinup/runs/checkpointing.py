"""Writes checkpoints when they are due, and stops the run on a signal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from spinup.config import SACConfig
from spinup.errors import ConfigError, TrainingDiverged
from spinup.loggers.epoch_logger import EpochLogger
from spinup.loggers.run_folder import CHECKPOINT_FOLDER, NAN_BATCH
from spinup.runs.checkpoint_files import CheckpointFolder
from spinup.runs.signals import SignalHandler
from spinup.training import Trainer

RETRY_SECONDS = 60.0


class Checkpointer:
    """Writes checkpoints when they are due, and stops the run on a signal.

    If a checkpoint cannot be written, the previous one stays intact, training continues, and writing is
    retried after RETRY_SECONDS.

    Args:
        config: the hyperparameters, which say when checkpoints are due.
        settings: the run's settings, as plain JSON, written into each checkpoint.
        logger: receives a line when a checkpoint fails.
        signals: checked between steps.
    """

    def __init__(
        self, config: SACConfig, settings: dict[str, Any], logger: EpochLogger, signals: SignalHandler
    ) -> None:
        self.config, self.settings, self.logger, self.signals = config, settings, logger, signals
        self.folder = CheckpointFolder(Path(logger.output_dir) / CHECKPOINT_FOLDER)
        self.enabled = config.checkpoint_every != 0 or config.checkpoint_minutes > 0
        self._mark: int | None = None
        self._saved: tuple[int, int, bool] | None = None  # n, epoch, stopped of the last checkpoint
        self._due_at = 0.0
        self._failed = False
        self._finite: dict[str, bool] = {}

    def after_step(self, trainer: Trainer) -> None:
        """Write a checkpoint if one is due; stop if a signal was received.

        Raises:
            Interrupted: if a signal was received; the caller then writes a checkpoint.
            TrainingDiverged: if the state became NaN or infinite.
        """
        self.signals.check()
        if self.enabled and (self._progress(trainer) != self._mark or time.monotonic() >= self._due_at):
            self.save(trainer)

    def during_test(self) -> None:
        """Stop if a signal was received.

        Raises:
            Interrupted: if a signal was received.
        """
        self.signals.check()

    def finish(self, trainer: Trainer) -> None:
        """Write a checkpoint at the end of the run, unless the last one has this state already."""
        if (trainer.n, trainer.epoch, trainer.stopped) != self._saved:
            self.save(trainer)

    def save(self, trainer: Trainer) -> bool:
        """Write a checkpoint now, unless checkpoints are switched off; returns whether one was written.

        Raises:
            TrainingDiverged: if the agent's state became NaN or infinite; the previous checkpoint is kept.
            ConfigError: if the state holds an object that is not data.
        """
        if not self.enabled:
            return False
        state = trainer.state_dict()
        self._check_finite(trainer, state["agent"])
        try:
            self.folder.write(state, self.settings, trainer.replay)
        except OSError as error:
            self._put_off(trainer, error)
            return False
        except TypeError as error:
            raise ConfigError(
                f"the state cannot be written to a checkpoint ({error}): let state_dict() of your "
                "environment or wrapper return arrays, numbers and strings, or switch checkpoints off with "
                "checkpoint_every=0 and checkpoint_minutes=0"
            ) from error
        if self._failed:
            self.logger.log("checkpoints could be written again")
        self._failed = False
        self.schedule_next(trainer)
        return True

    def _put_off(self, trainer: Trainer, error: OSError) -> None:
        if not self._failed:
            self.logger.log(
                f"could not write a checkpoint ({error}): training continues, the previous one is intact, "
                "and it is retried every minute",
                color="red",
            )
        self._failed = True
        self.schedule_next(trainer)
        self._due_at = time.monotonic() + RETRY_SECONDS

    def schedule_next(self, trainer: Trainer) -> None:
        """Set when the next checkpoint is due, after one was written or `trainer` was restored from one."""
        minutes = self.config.checkpoint_minutes
        self._mark = self._progress(trainer)
        self._saved = None if self._failed else (trainer.n, trainer.epoch, trainer.stopped)
        self._due_at = time.monotonic() + 60.0 * minutes if minutes else float("inf")

    def _progress(self, trainer: Trainer) -> int:
        """A number that changes whenever a checkpoint is due by steps."""
        every = self.config.checkpoint_every
        if isinstance(every, int):
            return trainer.n // every if every else 0
        return trainer.epoch

    def set_finite(self, agent: dict[str, Any]) -> None:
        """Note which arrays of an agent's state are finite; later ones are compared with them.

        A user's module may contain infinities from the start, for example in a mask.
        """
        self._finite = {path: bool(np.isfinite(array).all()) for path, array in _arrays(agent, "")}

    def _check_finite(self, trainer: Trainer, agent: dict[str, Any]) -> None:
        finite = {path: bool(np.isfinite(array).all()) for path, array in _arrays(agent, "")}
        self._finite = self._finite or finite
        for path, good in finite.items():
            if not good and self._finite.get(path, True):
                trainer.dump(-1)
                raise TrainingDiverged(
                    f"{path} became NaN or infinite by env step {trainer.n}: lower lr={self.config.lr}, or "
                    f"scale the rewards; the last checkpoint is from before it, the batch is in {NAN_BATCH}"
                )


def _arrays(tree: dict[str, Any], path: str) -> list[tuple[str, Any]]:
    found = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += _arrays(value, f"{path}{key}/")
        elif isinstance(value, np.ndarray):
            found.append((f"{path}{key}", value))
    return found
