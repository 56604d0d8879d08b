"""From a configuration to a finished run, for any backend: environments, logger, loop, and their closing."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spinup.collect.collector import Collector, make_collectors
from spinup.config import SACConfig, nearest
from spinup.envs.make import EnvFn
from spinup.envs.rebuild import env_flag
from spinup.envs.workers import EnvCrash
from spinup.errors import ConfigError, EnvError, RunError
from spinup.files import to_json
from spinup.loggers.epoch_logger import EpochLogger
from spinup.runs.checkpointing import Keeper
from spinup.runs.locks import locked
from spinup.runs.resuming import needs_same_call, restore
from spinup.runs.signals import Interrupted, Signals
from spinup.training import Learner, Replay, Trainer

# Of `logger_kwargs`: what config.json keeps, so that `spinup resume` logs as the run did.
KEPT_LOGGING = ("output_fname", "tensorboard", "quiet")


@dataclass(frozen=True)
class Built:
    """What a backend brings to a run.

    learner, replay: for the loop; model: what the caller gets back and callbacks see;
    choices: what "auto" became (engine, device, threads), for config.json; notes: lines for the log.
    """

    learner: Learner
    replay: Replay
    model: Any
    choices: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Request:
    """One call of `sac_pytorch` or `sac_tf1`, framework aside.

    actor_critic: the name of the constructor; resume: continue the run that the folder holds, if it does.
    """

    algorithm: str
    env_fn: EnvFn | str
    ac_kwargs: dict[str, Any]
    logger_kwargs: dict[str, Any]
    callback: Callable[[dict[str, Any], Any], Any] | None
    actor_critic: str = ""
    resume: bool = False


def launch(
    config: SACConfig,
    request: Request,
    build: Callable[[Collector], Built],
    around_tests: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Built:
    """Open the environments, build the learner, train, and close what was opened, whatever happens.

    Raises:
        SpinupError: see `sac_pytorch`.
        KeyboardInterrupt, SystemExit: after a signal, with a checkpoint.
    """
    with ExitStack() as stack:
        collector, tester = make_collectors(request.env_fn, config)
        stack.callback(collector.close)
        stack.callback(tester.close)
        built = build(collector)
        logger = open_logger(request, stack)
        signals = stack.enter_context(Signals())
        settings = describe_run(config, request, built, collector)
        keeper = Keeper(config, settings, logger, signals)
        callback = request.callback
        on_row = None if callback is None else _calling(callback, built.model)
        trainer = Trainer(
            config,
            learner=built.learner,
            replay=built.replay,
            collector=collector,
            tester=tester,
            logger=logger,
            callback=on_row,
            around_tests=around_tests,
            watch=keeper,
        )
        if request.resume:
            restore(trainer, keeper)
        write_settings(logger, settings, request)
        for note in built.notes:
            logger.log(note)
        train(trainer, keeper, request)
        return built


def write_settings(logger: EpochLogger, settings: dict[str, Any], request: Request) -> None:
    """Write config.json, with how the run logs, and vars.json for the environment.

    Raises:
        RunError: if the folder cannot be written to, now that nothing is lost yet.
    """
    logging = {k: v for k, v in request.logger_kwargs.items() if k in KEPT_LOGGING}
    try:
        logger.save_config({k: v for k, v in settings.items() if k != "env"} | {"logger_kwargs": logging})
    except OSError as error:
        raise RunError(f"cannot write into {logger.output_dir} ({error.strerror}): free it first") from error
    logger.save_state({"env": settings["env"]})


def open_logger(request: Request, stack: ExitStack) -> EpochLogger:
    """The logger of the run's folder, which is locked first.

    Raises:
        ConfigError: for an entry of `logger_kwargs` that EpochLogger does not take.
        RunError: if the folder is in use, or holds a run.
    """
    given = dict(request.logger_kwargs)
    known = list(inspect.signature(EpochLogger).parameters)
    for key in given:
        if key not in known:
            hint = nearest(str(key), known)
            raise ConfigError(
                f"logger_kwargs: EpochLogger takes no {key!r}{hint}; it takes {', '.join(known)}"
            )
    given["resume"] = request.resume
    folder = given.get("output_dir")
    if folder is not None:
        stack.enter_context(locked(Path(folder)))
    logger = EpochLogger(**given)
    stack.callback(logger.close)
    if folder is None:
        stack.enter_context(locked(Path(logger.output_dir)))
    return logger


def train(trainer: Trainer, keeper: Keeper, request: Request) -> None:
    """Run to the end, or to a signal or a fault of an environment, and leave a checkpoint there."""
    try:
        trainer.run()
        keeper.finish(trainer)
    except Interrupted as stop:
        saved = keeper.save(trainer)
        how = _how_to_resume(keeper, saved, request)
        trainer.logger.log(f"{stop} at env step {trainer.n}; {how}", color="yellow")
        raise stop.exit() from None
    except EnvCrash as crash:  # in the first reset of all: there is nothing to go back to
        raise EnvError(f"the environment {crash}: mend it, then start again") from crash
    except EnvError:
        keeper.save(trainer)
        raise


def _how_to_resume(keeper: Keeper, saved: bool, request: Request) -> str:
    if not saved:
        return "no checkpoint was written"
    own_callback = "" if request.callback is None else "its callback is your own"
    if why_not := needs_same_call(keeper.settings) or own_callback:
        return f"to continue, call again with resume=True ({why_not})"
    return f"to continue: spinup resume {shlex.quote(keeper.logger.output_dir)}{env_flag(request.env_fn)}"


def _calling(callback: Callable[[dict[str, Any], Any], Any], model: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda row: callback(row, model)


def describe_run(config: SACConfig, request: Request, built: Built, collector: Collector) -> dict[str, Any]:
    """The settings of a run as plain JSON, "auto" resolved: what config.json and checkpoints keep."""
    settings = {
        "algorithm": request.algorithm,
        **vars(config),
        "actor_critic": request.actor_critic,
        "ac_kwargs": request.ac_kwargs,
        **built.choices,
        "env": describe_env(collector)["env"],
    }
    plain: dict[str, Any] = to_json(settings)
    return plain


def describe_env(collector: Collector) -> dict[str, Any]:
    """What vars.json keeps of the environment: id, keyword arguments and step limit, if a spec gives them."""
    spec = collector.vector.spec
    if spec is None:
        return {"env": None}
    return {
        "env": {
            "id": spec.id,
            "kwargs": dict(spec.kwargs),
            "max_episode_steps": spec.max_episode_steps,
            "wrappers": [wrapper.name for wrapper in spec.additional_wrappers],
        }
    }
