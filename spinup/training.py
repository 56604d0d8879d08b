"""THE loop: collect, store, update, test, log, save. It knows no framework.

    for every step of N environments:
        act at random for the first `start_steps` actions, then by the policy
        store the transitions
        at each multiple of `update_every` from `update_after` on: a block of gradient steps
        at each end of an epoch: save, test, log

n counts environment interactions from 1, over all environments.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.config import SACConfig
from spinup.data.collector import Collector, evaluate
from spinup.errors import SpinupError
from spinup.utils.logx import EpochLogger

Float = NDArray[np.float32]
LOOP_STREAM = 0


class Learner(Protocol):
    """What the loop sees of an algorithm, whatever its framework and engine."""

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        ...

    def update(self, block: Any) -> dict[str, Float]:
        """One gradient step per batch of the block; metrics with leading axis n."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update or action depends on: arrays, numbers and strings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken."""
        ...

    def save(self, folder: Path, name: str) -> None:
        """Write the model for users, as the file or folder of that name."""
        ...


class Replay(Protocol):
    """What the loop sees of a replay buffer, in memory or on a device."""

    def add(self, rows: Float) -> None:
        """Append rows."""
        ...

    def sample(self, count: int, batch_size: int, rng: Generator) -> Any:
        """A block of batches, opaque to the loop."""
        ...


class TrainingDiverged(SpinupError, ArithmeticError):
    """A loss became NaN or infinite."""


class Trainer:
    """One run.

    Args:
        config: the hyperparameters.
        learner, replay: of either backend.
        collector, tester: environments to learn from, and others to test on.
        logger: where rows go.
        callback: called with each epoch's row; a return of False ends the run.
        around_tests: a context in which tests run, which keeps global generators as they were.
    """

    def __init__(
        self,
        config: SACConfig,
        *,
        learner: Learner,
        replay: Replay,
        collector: Collector,
        tester: Collector,
        logger: EpochLogger,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        around_tests: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.config, self.learner, self.replay, self.logger = config, learner, replay, logger
        self.collector, self.tester = collector, tester
        self.callback, self.around_tests = callback, around_tests
        self.rng = np.random.default_rng(np.random.SeedSequence([config.seed, LOOP_STREAM]))
        self.n = 0
        self.best_return = -np.inf
        self.stopped = False
        self.started = time.perf_counter()

    def run(self) -> None:
        """Train from where the run stands to its planned end, or until the callback stops it."""
        config = self.config
        if self.n == 0:
            self.collector.start()
        while self.n < config.total_steps and not self.stopped:
            before = self.n
            self.collect()
            for n in _multiples(before, self.n, config.update_every):
                self.update(config.updates_due(n))
            for n in _multiples(before, self.n, config.steps_per_epoch):
                self.end_epoch(n // config.steps_per_epoch)
            self.logger.progress(self.n, config.total_steps)

    def collect(self) -> None:
        """Act once in every environment and store what happened."""
        collector = self.collector
        at_random = min(max(self.config.start_steps - self.n, 0), collector.num_envs)
        if at_random < collector.num_envs:
            actions = self.learner.act(collector.obs, False)
            if at_random:
                actions[:at_random] = collector.actions.sample(self.rng, at_random)
        else:
            actions = collector.actions.sample(self.rng, at_random)
        rows, finished = collector.step(actions)
        self.replay.add(rows)
        self.n += len(rows)
        for episode in finished:
            self.logger.store(EpRet=episode.ret, EpLen=episode.length)

    def update(self, count: int) -> None:
        """`count` gradient steps, each on a batch of its own."""
        if count == 0:
            return
        block = self.replay.sample(count, self.config.batch_size, self.rng)
        metrics = self.learner.update(block)
        if not (np.isfinite(metrics["LossQ"]).all() and np.isfinite(metrics["LossPi"]).all()):
            raise TrainingDiverged(
                f"a loss became NaN or infinite at env step {self.n}: lower lr={self.config.lr}, or scale "
                "the rewards; the last saved model is from before it"
            )
        self.logger.store(**metrics)

    def end_epoch(self, epoch: int) -> None:
        """Save, test, log one row."""
        config, logger = self.config, self.logger
        folder = Path(logger.output_dir)
        if epoch % config.save_freq == 0 or epoch == config.epochs:
            self.learner.save(folder, "model")
        with self.around_tests():
            episodes = evaluate(self.tester, self._best_action, config.num_test_episodes, epoch - 1)
        for episode in episodes:
            logger.store(TestEpRet=episode.ret, TestEpLen=episode.length)
        if episodes and (mean := float(np.mean([e.ret for e in episodes]))) > self.best_return:
            self.best_return = mean
            self.learner.save(folder, "model_best")
        row = self._log_row(epoch)
        if self.callback is not None and self.callback(row) is False:
            self.stopped = True

    def _best_action(self, obs: Float) -> Float:
        return self.learner.act(obs, True)

    def _log_row(self, epoch: int) -> dict[str, Any]:
        log = self.logger.log_tabular
        elapsed = time.perf_counter() - self.started
        log("Epoch", epoch)
        log("EpRet", with_min_and_max=True)
        log("TestEpRet", with_min_and_max=True)
        log("EpLen", average_only=True)
        log("TestEpLen", average_only=True)
        log("TotalEnvInteracts", self.n)
        for key in ("Q1Vals", "Q2Vals", "LogPi"):
            log(key, with_min_and_max=True)
        log("LossPi", average_only=True)
        log("LossQ", average_only=True)
        log("Time", elapsed)
        for key in ("Alpha", "Entropy", "TargetEntropy"):
            log(key, average_only=True)
        log("StepsPerSecond", self.n / elapsed)
        return self.logger.dump_tabular()


def _multiples(before: int, after: int, of: int) -> range:
    """The multiples of `of` in (before, after]."""
    return range((before // of + 1) * of, after + 1, of)
