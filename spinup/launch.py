"""From a configuration to a finished run, for any backend: environments, logger, loop, and their closing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from spinup.config import SACConfig
from spinup.data.collector import Collector, make_collectors
from spinup.data.vector import EnvFn
from spinup.training import Learner, Replay, Trainer
from spinup.utils.logx import EpochLogger


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
    """One call of `sac_pytorch` or `sac_tf1`, framework aside."""

    algorithm: str
    env_fn: EnvFn | str
    ac_kwargs: dict[str, Any]
    logger_kwargs: dict[str, Any]
    callback: Callable[[dict[str, Any], Any], Any] | None


def launch(
    config: SACConfig,
    request: Request,
    build: Callable[[Collector], Built],
    around_tests: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Built:
    """Open the environments, build the learner, train, and close what was opened, whatever happens."""
    collector, tester = make_collectors(request.env_fn, config)
    logger = None
    try:
        built = build(collector)
        logger = EpochLogger(**request.logger_kwargs)
        settings = {"algorithm": request.algorithm, **vars(config), "ac_kwargs": request.ac_kwargs}
        logger.save_config({**settings, **built.choices})
        logger.save_state(describe_env(collector))
        for note in built.notes:
            logger.log(note)
        callback = request.callback
        Trainer(
            config,
            learner=built.learner,
            replay=built.replay,
            collector=collector,
            tester=tester,
            logger=logger,
            callback=callback and (lambda row: callback(row, built.model)),
            around_tests=around_tests,
        ).run()
        return built
    finally:
        collector.close()
        tester.close()
        if logger is not None:
            logger.close()


def describe_env(collector: Collector) -> dict[str, Any]:
    """What vars.json keeps of the environment: id and keyword arguments, if a spec gives them."""
    spec = collector.vector.spec
    if spec is None:
        return {"env": None}
    wrappers = [wrapper.name for wrapper in spec.additional_wrappers]
    return {"env": {"id": spec.id, "kwargs": dict(spec.kwargs), "wrappers": wrappers}}
