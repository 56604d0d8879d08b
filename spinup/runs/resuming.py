"""Resuming a run: compares its settings with the saved ones, and restores its state."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, NamedTuple

from spinup.config import BUILT_IN_VARIANTS, SACConfig, field_defaults
from spinup.envs.saved_spec import MakeEnv, wrappers_from_code
from spinup.errors import ConfigError, RunError, first_line, option
from spinup.files import to_json
from spinup.loggers.run_folder import CHECKPOINT_FOLDER
from spinup.runs.checkpointing import Checkpointer
from spinup.runs.manifest import newest_manifest, newest_settings
from spinup.runs.state_check import check_state
from spinup.training import Trainer

# Settings that do not change what a run learns, only when, where and how fast it computes.
MAY_CHANGE = (
    "epochs", "engine", "device", "threads", "env_workers", "env_timeout", "checkpoint_every",
    "checkpoint_minutes", "save_freq", "recipe", "callback_every", "keep_checkpoints", "video_every",
    "ray",
)  # fmt: skip
DEFAULT_ACTOR_CRITIC = "MLPActorCritic"
_NOT_COMPARED = ("render_mode", "by_id")  # entries about the environment
# Actor-critics that `spinup resume` finds without the user's code; "" is the default of sac_tf1.
OUR_ACTOR_CRITICS = ("", DEFAULT_ACTOR_CRITIC, "DiscreteMLPActorCritic", "MLPValueActorCritic")


def previous_choices(logger_kwargs: dict[str, Any]) -> dict[str, Any]:
    """Engine, device and threads of the run in the folder, as chosen for "auto"; empty without a checkpoint.

    Raises:
        ConfigError: if no folder is given.
    """
    folder = logger_kwargs.get("output_dir")
    if folder is None:
        raise ConfigError("resume=True: give the folder of the run, logger_kwargs={'output_dir': ...}")
    settings = newest_settings(Path(folder) / CHECKPOINT_FOLDER)
    return {key: settings[key] for key in ("engine", "threads", "device") if key in settings}


def keep_choices(config: SACConfig, previous: dict[str, Any]) -> SACConfig:
    """The configuration in which each "auto" is replaced by its value in `previous`, if it has one."""
    return dataclasses.replace(config, **{k: v for k, v in previous.items() if getattr(config, k) == "auto"})


def is_complete(folder: Path, epochs: int, output_fname: str = "progress.txt") -> bool:
    """Whether the run in the folder has finished epoch `epochs`, or was ended by its callback.

    Args:
        folder: the run's folder; need not exist.
        epochs: the planned number of epochs.
        output_fname: the file of rows, which is used for a run without checkpoints.

    Raises:
        RunError: if spinup 0.1.0 wrote its checkpoint.
    """
    checkpoint = newest_manifest(folder / CHECKPOINT_FOLDER)
    if checkpoint is None:
        table = folder / output_fname
        return table.is_file() and table.read_bytes().count(b"\n") > epochs  # a header, a row per epoch
    done, planned = checkpoint.state.get("epoch"), checkpoint.settings.get("epochs")
    stopped = checkpoint.state.get("stopped") is True and isinstance(planned, int) and epochs <= planned
    return stopped or (isinstance(done, int) and done >= epochs)


class RunProgress(NamedTuple):
    """The progress of a run: number of finished epochs, and of env steps."""

    epoch: int
    steps: int


def progress_of(folder: Path) -> RunProgress | None:
    """The progress in the newest checkpoint of a run's folder; None if there is none.

    Raises:
        RunError: if spinup 0.1.0 wrote it, or it is damaged.
    """
    checkpoint = newest_manifest(folder / CHECKPOINT_FOLDER)
    if checkpoint is None:
        return None
    try:
        return RunProgress(int(checkpoint.state["epoch"]), int(checkpoint.state["collector"]["env_steps"]))
    except (KeyError, TypeError, ValueError):
        raise RunError(f"the checkpoint in {folder} is damaged: give another folder") from None


def check_settings(folder: Path, config: SACConfig, ac_kwargs: Any, env_fn: Any) -> None:
    """Check that the run in the folder, if there is one, has these settings.

    Args:
        folder: the run's folder; need not exist.
        config: the hyperparameters.
        ac_kwargs: the arguments of the networks.
        env_fn: compared, with its keyword arguments, if it is an environment id or a `MakeEnv`.

    Raises:
        ConfigError: for the first setting that differs and is not in MAY_CHANGE.
        RunError: if spinup 0.1.0 wrote its checkpoint.
    """
    settings = newest_settings(folder / CHECKPOINT_FOLDER)
    if not settings:
        return
    given = {**vars(config), "ac_kwargs": ac_kwargs}
    if config.num_envs == 1:  # a VectorEnv that env_fn returns has another number
        del given["num_envs"]
    changes(settings, to_json(given))
    env = settings.get("env")
    if isinstance(env, dict) and isinstance(env_fn, (str, MakeEnv)):
        made = env_fn if isinstance(env_fn, MakeEnv) else MakeEnv(env_fn)
        before = {"env": env.get("id"), "env_kwargs": env.get("kwargs", {})}
        now = {"env": made.env_id.rpartition(":")[2], "env_kwargs": made.kwargs}
        changes(before, to_json(now))


def restore(trainer: Trainer, checkpointer: Checkpointer, again: bool = False) -> None:
    """Load the newest intact checkpoint into a run; without one, it starts from the beginning.

    Args:
        trainer: the run, in its initial state.
        checkpointer: the run's checkpointer.
        again: whether to continue a run that its callback has ended; otherwise, such a run continues only if
            its number of epochs was raised.

    Raises:
        ConfigError: if a setting that must not change was changed, or more epochs are done than planned.
        RunError: if there are rows or damaged checkpoints but no intact one, or the checkpoint does not fit.
    """
    log = trainer.logger.log
    checkpoint, lines = checkpointer.folder.read()
    for line in lines:
        log(line, color="yellow")
    folder = trainer.logger.output_dir
    if checkpoint is None:
        if lines or trainer.logger.state_dict()["rows"]:
            reason = f" ({lines[0]})" if lines else ""
            start_over = option("overwrite=True in logger_kwargs", "`spinup sac` and --overwrite")
            raise RunError(
                f"{folder} has no intact checkpoint to continue from{reason}: give another folder (or start "
                f"over with {start_over})"
            )
        log("no checkpoint to continue from: the run starts at the beginning", color="yellow")
        return
    done = checkpoint.state.get("epoch") if isinstance(checkpoint.state, dict) else None
    if type(done) is int and done > checkpointer.config.epochs:
        given = f"{option('epochs=', '--epochs ')}{checkpointer.config.epochs}"
        raise ConfigError(f"{given}: epoch {done} of this run is done already; give at least as many")
    for line in changes(checkpoint.settings, checkpointer.settings):
        log(line, color="yellow")
    try:
        replay = trainer.replay
        check_state(
            checkpoint, trainer.state_dict(), checkpointer.config, replay.storage.capacity, replay.sampler
        )
        checkpointer.folder.restore_replay(checkpoint, trainer.replay)
        trainer.load_state_dict(checkpoint.state)
        checkpointer.set_finite(checkpoint.state["agent"])
    except RunError:
        raise
    except Exception as error:  # a file may hold any numbers, and any of these calls may fail on them
        raise RunError(
            f"checkpoint {checkpoint.number} of {folder} does not fit this run "
            f"({first_line(error)}): were its actor-critic, its "
            "environment or the version of spinup changed?"
        ) from error
    if trainer.stopped and (again or checkpointer.config.epochs > checkpoint.settings["epochs"]):
        trainer.stopped = False
    checkpointer.schedule_next(trainer)
    if trainer.epoch >= checkpointer.config.epochs:
        log(f"epoch {trainer.epoch} is done already: to train on, give more epochs", color="yellow")
    else:
        at = f"env step {trainer.n}, epoch {trainer.epoch + 1}"
        log(f"continuing at {at}, from checkpoint {checkpoint.number}")


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """A line about each changed setting of MAY_CHANGE.

    Args:
        old, new: settings as plain JSON, by name; entries that only `old` has are ignored.

    Raises:
        ConfigError: for the first other setting that was changed.
    """
    defaults = field_defaults()
    lines = []
    for name in new:
        before, now = comparable(old.get(name, defaults.get(name))), comparable(new[name])
        if before == now:
            continue
        if name == "prior_data_checksum":
            raise ConfigError(
                f"prior_data={old.get('prior_data')!r} has changed since the run began (training that run "
                "further changes it too): give the data as it was, or start a new run"
            )
        if name not in MAY_CHANGE:
            raise ConfigError(
                f"{name} was {_short(before)} and is now {_short(now)}: a run is resumed with the settings "
                "it began with; give the old value, or start a new run"
            )
        lines.append(f"{name} was {_short(before)} and is now {_short(now)}")
    return lines


def needs_same_call(settings: dict[str, Any]) -> str:
    """Why `spinup resume` cannot rebuild the call from the run's files; empty if it can."""
    env = settings.get("env")
    if not isinstance(env, dict) or not isinstance(env.get("id"), str):
        return "no id describes its environment"
    if env.get("vector"):
        return "its environment is a vector that your code makes"
    if wrappers := wrappers_from_code(env):
        return f"its environment is wrapped in {', '.join(wrappers)} by your code"
    if settings.get("actor_critic", "") not in OUR_ACTOR_CRITICS:
        return "its actor-critic is your own"
    if settings.get("variant", "sac") not in BUILT_IN_VARIANTS:
        return "its variant is your own"
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}..."


def comparable(value: Any) -> Any:
    """A setting as plain data without what differs between equal calls, such as addresses of objects."""
    if isinstance(value, str):
        return re.sub(r" at 0x[0-9a-fA-F]+", "", value)  # the address in the repr of an object
    if isinstance(value, dict):
        return {key: comparable(v) for key, v in value.items() if key not in _NOT_COMPARED}
    if isinstance(value, (list, tuple)):
        return [comparable(v) for v in value]
    return value
