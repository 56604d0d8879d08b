"""Launches a run in any framework: opens environments and logger, trains, and closes everything."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from spinup.checks import check_callback, is_word
from spinup.collect.collector import EnvCollector
from spinup.collect.evaluation import EnvEvaluator
from spinup.collect.make import TrainingCollector, make_collectors
from spinup.collect.remote import RemoteCollector
from spinup.collect.transport import PolicySource, Transport
from spinup.collect.update_schedule import UpdateSchedule
from spinup.config import SACConfig, field_defaults
from spinup.envs.episode_replay import normalizes
from spinup.envs.make import EnvFn
from spinup.envs.saved_spec import MakeEnv, env_flag
from spinup.envs.user_vector import UserVector
from spinup.envs.workers import EnvCrash
from spinup.errors import ArgumentError, ConfigError, EnvError, RunError, first_line
from spinup.files import to_json
from spinup.hints import nearest, renamed_argument
from spinup.interfaces import Agent, Diagnostics, Engine
from spinup.loggers.epoch_logger import EpochLogger
from spinup.recipes import source_of_settings, with_recipe
from spinup.replay.buffer import ReplayBuffer
from spinup.runs.checkpointing import Checkpointer
from spinup.runs.locks import folder_lock, process_lock
from spinup.runs.machine import describe_machine
from spinup.runs.manifest import newest_manifest
from spinup.runs.resuming import needs_same_call, restore
from spinup.runs.signals import Interrupted, SignalHandler
from spinup.training import Record, Trainer

Params = ParamSpec("Params")
Result = TypeVar("Result")
# Entries of `logger_kwargs` that config.json stores, so that `spinup resume` logs in the same way.
KEPT_LOGGING = ("output_fname", "tensorboard", "trackers", "quiet")


def training_function(function: Callable[Params, Result]) -> Callable[Params, Result]:
    """Decorator of `sac_pytorch` and `sac_tf1`: checks argument names, applies recipes, locks the process.

    Raises:
        ArgumentError: when called, for the first unknown keyword argument.
        RunError: when called while another thread of this process runs a training.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Params.args, **kwargs: Params.kwargs) -> Result:
        check_parameters(function, kwargs)
        given: dict[str, Any] = dict(kwargs)
        if kwargs.get("recipe") is not None:
            given = dict(signature.bind_partial(*args, **kwargs).arguments)
            args, kwargs = (), with_recipe(given)  # type: ignore[assignment]
        with process_lock(), source_of_settings(given):
            return function(*args, **kwargs)

    return call


def check_parameters(function: Callable[..., Any], kwargs: dict[str, Any]) -> None:
    """Check that a training function takes these keyword arguments.

    Raises:
        ArgumentError: for the first unknown one, with the closest name or the equivalent one here.
    """
    known = list(inspect.signature(function).parameters)
    for name, value in kwargs.items():
        if name not in known:
            hint = renamed_argument(name, value) or nearest(name, known)
            if name in field_defaults():
                hint = ": sac_pytorch has it"
            raise ArgumentError(f"{function.__name__}() has no parameter {name!r}{hint}")


@dataclass(frozen=True)
class RunParts:
    """The framework-specific parts of a run.

    Attributes:
        agent, engine, replay, record, diagnostics: see `Trainer`.
        model: the object that callbacks receive; `sac_pytorch` also returns it.
        choices: the values chosen for "auto", such as engine and device, for config.json.
        notes, warnings: lines for the log.
        policy: the policy for remote collectors.
    """

    agent: Agent
    engine: Engine
    replay: ReplayBuffer
    model: Any
    choices: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    record: Record | None = None
    policy: PolicySource | None = None
    diagnostics: Diagnostics | None = None


@dataclass(frozen=True)
class TrainingCall:
    """The arguments of a call of `sac_pytorch` or `sac_tf1` that are not hyperparameters.

    Attributes:
        algorithm: name of the function.
        env_fn, ac_kwargs, logger_kwargs, callback, resume, transport: see `sac_pytorch`.
        actor_critic: qualified name of the constructor.
    """

    algorithm: str
    env_fn: EnvFn | str
    ac_kwargs: dict[str, Any]
    logger_kwargs: dict[str, Any]
    callback: Callable[[dict[str, Any], Any], Any] | None
    actor_critic: str = ""
    resume: bool | str = False
    transport: Transport | None = None


def launch(
    config: SACConfig,
    call: TrainingCall,
    build: Callable[[SACConfig, EnvCollector], RunParts],
    isolate_tests: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> RunParts:
    """Open the environments, build the agent, train, and close everything, also after an error.

    Args:
        config: the hyperparameters.
        call: the other arguments of the training function.
        build: makes the framework-specific parts, as `build(config, test_collector)`. In that `config`,
            `num_envs` is the actual number, also if `env_fn` returned a VectorEnv; the collector of tests has
            the same spaces as the collector of training.
        isolate_tests: returns the context manager in which tests run; it preserves global random generators.

    Returns:
        The parts that `build` made.

    Raises:
        ConfigError: for a callback that does not take `row, ac`, an invalid `resume`, or prior data in the
            run's own folder.
        SpinupError: see `sac_pytorch`.
        KeyboardInterrupt, SystemExit: after a signal; a checkpoint is written first.
    """
    check_callback(call.callback, "row", "ac")
    folder, prior = call.logger_kwargs.get("output_dir"), config.prior_data
    if folder is not None and prior is not None and os.path.realpath(prior) == os.path.realpath(folder):
        raise ConfigError(f"prior_data={prior!r} is the folder of this run: give the run another folder")
    if not is_word(call.resume, "again") and not isinstance(call.resume, bool):
        raise ConfigError(f"resume={call.resume!r}: give True, False or 'again'")
    with _crash_as_error(), ExitStack() as stack:
        schedule = UpdateSchedule(config)
        collector, test_collector = make_collectors(call.env_fn, config, call.transport, schedule)
        for opened in (collector, test_collector):
            stack.callback(_close, opened)
        config = with_env_count(config, collector)
        parts = build(config, test_collector)
        if isinstance(collector, RemoteCollector) and parts.policy is not None:
            collector.act_by(parts.policy)
        logger = open_logger(call, stack)
        signals = stack.enter_context(SignalHandler())
        settings = describe_run(config, call, parts, test_collector)
        checkpointer = Checkpointer(config, settings, logger, signals)
        callback = call.callback
        trainer = Trainer(
            config,
            agent=parts.agent,
            engine=parts.engine,
            replay=parts.replay,
            collector=collector,
            evaluator=EnvEvaluator(
                test_collector,
                config.num_test_episodes,
                lambda line: logger.log(line, color="yellow"),
                traces=parts.diagnostics is not None,
            ),
            actions=test_collector.actions,
            logger=logger,
            callback=None if callback is None else lambda row: callback(row, parts.model),
            isolate_tests=isolate_tests,
            monitor=checkpointer,
            record=parts.record,
            schedule=schedule,
            diagnostics=parts.diagnostics,
        )
        if call.resume:
            restore(trainer, checkpointer, again=call.resume == "again")
        write_settings(logger, settings, call)
        for note in parts.notes:
            logger.log(note)
        for line in (*config.warnings(), *parts.warnings, *statistics_warnings(config, test_collector)):
            logger.log(f"warning: {line}", color="yellow")
        train(trainer, checkpointer, call)
        return parts


def _close(collector: TrainingCollector) -> None:
    """Close environments; an error is only printed, since it must not replace the result of the run."""
    try:
        collector.close()
    except Exception as error:  # of the environment's code
        print(f"warning: closing the environments raised {first_line(error)}", file=sys.stderr)


def with_env_count(config: SACConfig, collector: TrainingCollector) -> SACConfig:
    """The configuration with the actual `num_envs`, which a VectorEnv from `env_fn` determines.

    Raises:
        ConfigError: if this number does not divide `steps_per_epoch`, or differs from a given one.
    """
    if not isinstance(collector, EnvCollector) or config.collectors is not None:
        return config
    if config.num_envs not in (1, collector.num_envs):
        raise ConfigError(
            f"num_envs={config.num_envs}, but env_fn returned a vector of {collector.num_envs}: leave "
            "num_envs out"
        )
    return dataclasses.replace(config, num_envs=collector.num_envs)


def statistics_warnings(config: SACConfig, test_collector: EnvCollector) -> list[str]:
    """A warning if wrappers of the environments normalize by their own running statistics."""
    if not config.num_test_episodes or not normalizes(test_collector.vector.statistics()):
        return []
    return [
        "the environment's wrappers normalize by running statistics, which differ between training and test "
        "environments, so test returns may not be comparable: use normalize_observations and "
        "normalize_rewards instead, or share the statistics between the environments that env_fn returns"
    ]


def write_settings(logger: EpochLogger, settings: dict[str, Any], call: TrainingCall) -> None:
    """Write config.json, including the logger's settings and the machine, and vars.json for the environment.

    Raises:
        RunError: if the folder cannot be written to.
    """
    logging = {k: v for k, v in call.logger_kwargs.items() if k in KEPT_LOGGING}
    try:
        machine = describe_machine(settings.get("device"))
        logger.save_config({**settings, "logger_kwargs": logging, "machine": machine})
    except OSError as error:
        raise RunError(
            f"cannot write into {logger.output_dir} ({error.strerror}): make it writable, or free disk space"
        ) from error
    logger.save_state({"env": settings["env"]})


def open_logger(call: TrainingCall, stack: ExitStack) -> EpochLogger:
    """Lock the run's folder and open its logger.

    Raises:
        ConfigError: for an entry of `logger_kwargs` that EpochLogger does not take.
        RunError: if the folder is in use, or holds a run.
    """
    given = call.logger_kwargs
    known = list(inspect.signature(EpochLogger).parameters)
    for key in given:
        if key not in known:
            hint = nearest(str(key), known)
            raise ConfigError(
                f"logger_kwargs: EpochLogger takes no {key!r}{hint}; it takes {', '.join(known)}"
            )
    given = {**given, "resume": bool(call.resume)}
    folder = given.get("output_dir")
    if folder is not None:
        stack.enter_context(folder_lock(Path(folder)))
    logger = EpochLogger(**given)
    stack.callback(logger.close)
    if folder is None:
        stack.enter_context(folder_lock(Path(logger.output_dir)))
    return logger


def train(trainer: Trainer, checkpointer: Checkpointer, call: TrainingCall) -> None:
    """Train to the end, to a signal or to an error of an environment; then write a checkpoint.

    Raises:
        EnvError, EnvCrash: after a checkpoint was written.
        KeyboardInterrupt, SystemExit: after a signal, once a checkpoint was written.
    """
    try:
        try:
            trainer.run()
            checkpointer.finish(trainer)
        except (EnvError, EnvCrash):
            checkpointer.signals.check()  # a signal may end an environment's processes too
            checkpointer.save(trainer)
            raise
    except Interrupted as stop:
        saved = checkpointer.save(trainer)
        how = _how_to_resume(checkpointer, saved, call)
        trainer.logger.log(f"{stop} at env step {trainer.n}; {how}", color="yellow")
        raise stop.exit_exception() from None


@contextmanager
def _crash_as_error() -> Iterator[None]:
    """Convert an EnvCrash that collectors do not handle, as while environments are made, to an EnvError."""
    try:
        yield
    except EnvCrash as crash:
        raise EnvError(f"the environment {crash}: fix the environment and rerun") from crash


def _how_to_resume(checkpointer: Checkpointer, saved: bool, call: TrainingCall) -> str:
    if not saved and newest_manifest(checkpointer.folder.folder) is None:
        return "no checkpoint was written"
    start = "to continue" if saved else "the newest checkpoint is from an earlier step; to continue"
    own_callback = "" if call.callback is None else "its callback is your own"
    own_callback = own_callback or ("" if call.transport is None else "its transport is your own")
    if why_not := needs_same_call(checkpointer.settings) or own_callback:
        return f"{start}, call again with resume=True ({why_not})"
    return f"{start}: spinup resume {shlex.quote(checkpointer.logger.output_dir)}{env_flag(call.env_fn)}"


def describe_run(
    config: SACConfig, call: TrainingCall, parts: RunParts, collector: EnvCollector
) -> dict[str, Any]:
    """The settings and choices of a run as plain JSON, for config.json and checkpoints."""
    settings = {
        "algorithm": call.algorithm,
        **vars(config),
        "actor_critic": call.actor_critic,
        "ac_kwargs": call.ac_kwargs,
        **parts.choices,
        "env": describe_env(collector, call.env_fn),
    }
    plain: dict[str, Any] = to_json(settings)
    return plain


def describe_env(collector: EnvCollector, env_fn: EnvFn | str) -> dict[str, Any] | None:
    """The environment's entry in vars.json: id, keyword arguments and step limit; None if it has no spec.

    `by_id` tells whether the id makes the environment with all its wrappers. Of `gymnasium.make_vec`, whose
    spec has its own arguments among the keyword arguments, only those of a single environment are kept.
    """
    spec = collector.vector.spec
    if spec is None:
        return None
    kwargs = dict(spec.kwargs)
    vector = isinstance(collector.vector, UserVector)
    for name in ("num_envs", "vectorization_mode") if vector else ():
        kwargs.pop(name, None)
    limit = kwargs.pop("max_episode_steps", spec.max_episode_steps) if vector else spec.max_episode_steps
    return {
        "id": spec.id,
        "kwargs": kwargs,
        "vector": vector,
        "max_episode_steps": limit,
        "wrappers": [wrapper.name for wrapper in spec.additional_wrappers],
        "by_id": isinstance(env_fn, (str, MakeEnv)),
    }
