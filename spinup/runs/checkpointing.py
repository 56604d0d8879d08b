"""When a run is written to disk, and when it stops because it was asked to."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from spinup.config import SACConfig
from spinup.errors import ConfigError
from spinup.loggers.epoch_logger import EpochLogger
from spinup.runs.checkpoint_files import CheckpointFolder
from spinup.runs.signals import Signals
from spinup.training import Trainer, TrainingDiverged

FOLDER = "checkpoint"
RETRY_SECONDS = 60.0


class Keeper:
    """Writes checkpoints when they are due, and stops the run on a signal.

    A checkpoint that cannot be written is tried again a minute later; training goes on, since the one
    before it is still whole.

    Args:
        config: says when.
        settings: of the run, as plain JSON, written into each checkpoint.
        logger: for a line when something goes wrong.
        signals: asked between steps.
    """

    def __init__(
        self, config: SACConfig, settings: dict[str, Any], logger: EpochLogger, signals: Signals
    ) -> None:
        self.config, self.settings, self.logger, self.signals = config, settings, logger, signals
        self.folder = CheckpointFolder(Path(logger.output_dir) / FOLDER)
        self.enabled = config.checkpoint_every != 0 or config.checkpoint_minutes > 0
        self._mark: int | None = None
        self._saved: tuple[int, int] | None = None  # n and epoch of the last one
        self._due_at = 0.0
        self._failed = False
        self._finite: dict[str, bool] = {}

    def after_step(self, trainer: Trainer) -> None:
        """Checkpoint if one is due; stop if a signal asked for it.

        Raises:
            Interrupted: between two steps; the caller saves then.
            TrainingDiverged: the state is not finite any more.
        """
        self.signals.check()
        if self.enabled and (self._progress(trainer) != self._mark or time.monotonic() >= self._due_at):
            self.save(trainer)

    def within_test(self) -> None:
        """Stop if a signal asked for it.

        Raises:
            Interrupted: so.
        """
        self.signals.check()

    def restored(self, trainer: Trainer) -> None:
        """Count on from the checkpoint that `trainer` was restored from."""
        self._set_marks(trainer)

    def finish(self, trainer: Trainer) -> None:
        """Checkpoint the end of the run, from which it can be continued further."""
        if (trainer.n, trainer.epoch) != self._saved:
            self.save(trainer)

    def save(self, trainer: Trainer) -> bool:
        """Write a checkpoint now, unless the configuration says never; returns whether there is one.

        Raises:
            TrainingDiverged: the state is not finite, so that the checkpoint before is kept.
            ConfigError: it holds what is no data.
        """
        if not self.enabled:
            return False
        state = trainer.state_dict()
        self._check_finite(trainer, state["learner"])
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
        self._set_marks(trainer)
        return True

    def _put_off(self, trainer: Trainer, error: OSError) -> None:
        if not self._failed:
            self.logger.log(
                f"could not write a checkpoint ({error}): training goes on, the one before it is whole, "
                "and it is tried again every minute",
                color="red",
            )
        self._failed = True
        self._set_marks(trainer)
        self._due_at = time.monotonic() + RETRY_SECONDS

    def _set_marks(self, trainer: Trainer) -> None:
        minutes = self.config.checkpoint_minutes
        self._mark = self._progress(trainer)
        self._saved = None if self._failed else (trainer.n, trainer.epoch)
        self._due_at = time.monotonic() + 60.0 * minutes if minutes else float("inf")

    def _progress(self, trainer: Trainer) -> int:
        """A number that changes where a checkpoint is due by steps."""
        every = self.config.checkpoint_every
        if isinstance(every, int):
            return trainer.n // every if every else 0
        return trainer.epoch

    def _check_finite(self, trainer: Trainer, learner: dict[str, Any]) -> None:
        finite = {path: bool(np.isfinite(array).all()) for path, array in _arrays(learner, "")}
        # A user's module may hold infinities on purpose, in a mask, say: from the start on.
        self._finite = self._finite or finite
        for path, good in finite.items():
            if not good and self._finite.get(path, True):
                trainer.dump(-1)
                raise TrainingDiverged(
                    f"{path} became NaN or infinite by env step {trainer.n}: lower lr={self.config.lr}, or "
                    "scale the rewards; the last checkpoint is from before it, the batch is in nan_batch.npz"
                )


def _arrays(tree: dict[str, Any], path: str) -> list[tuple[str, Any]]:
    found = []
    for key, value in tree.items():
        if isinstance(value, dict):
            found += _arrays(value, f"{path}{key}/")
        elif isinstance(value, np.ndarray):
            found.append((f"{path}{key}", value))
    return found
