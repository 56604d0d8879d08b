"""THE loop: collect, store, update, test, log, save. It knows no framework.

    for every step of N environments:
        act at random for the first `start_steps` actions, then by the policy
        store the transitions
        at each multiple of `update_every` from `update_after` on: a block of gradient steps
        at each end of an epoch: save, test, log

n counts environment interactions from 1, over all environments. All that the next step depends on is in
`Trainer.state_dict()`; a run is stopped and continued between two steps, or before a test.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.collect.collector import Collector, Episode, evaluate
from spinup.collect.crash_recovery import collector_state, rebuild, restart, restore_collector
from spinup.config import SACConfig
from spinup.envs.workers import EnvCrash
from spinup.errors import SpinupError
from spinup.files import atomic_write
from spinup.interfaces import Learner as Learner
from spinup.interfaces import Replay as Replay
from spinup.interfaces import Unwatched, Watch
from spinup.loggers.epoch_logger import EpochLogger

Float = NDArray[np.float32]
LOOP_STREAM = 0
DUMP = "nan_batch.npz"


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
        watch: called between steps.
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
        watch: Watch | None = None,
    ) -> None:
        self.config, self.learner, self.replay, self.logger = config, learner, replay, logger
        self.collector, self.tester = collector, tester
        self.callback, self.around_tests, self.watch = callback, around_tests, watch or Unwatched()
        self.tester_statistics = tester.vector.statistics()
        self.rng = np.random.default_rng(np.random.SeedSequence([config.seed, LOOP_STREAM]))
        self.n = 0
        self.epoch = 0
        self.best_return = -np.inf
        self.stopped = False
        self.unsaved: set[str] = set()
        self.block: Any = None
        self.started = time.perf_counter()

    def run(self) -> None:
        """Train from where the run stands to its planned end, or until the callback stops it."""
        config = self.config
        if not self.collector.started:
            self.collector.start()
        while self.epoch < config.epochs and not self.stopped:
            if self.n < (self.epoch + 1) * config.steps_per_epoch:
                self.step()
            else:
                self.end_epoch(self.epoch + 1)
            self.logger.progress(self.n, config.total_steps)
            self.watch.after_step(self)

    def step(self) -> None:
        """Act once in every environment, and learn as much as is due then."""
        before = self.n
        self.collect()
        for n in _multiples(before, self.n, self.config.update_every):
            self.update(self.config.updates_due(n))

    def collect(self) -> None:
        """Act once in every environment and store what happened."""
        collector = self.collector
        at_random = min(max(self.config.start_steps - self.n, 0), collector.num_envs)
        if at_random < collector.num_envs:
            actions = collector.actions.within(self.learner.act(collector.obs, False))
            if at_random:
                actions[:at_random] = collector.actions.sample(self.rng, at_random)
        else:
            actions = collector.actions.sample(self.rng, at_random)
        try:
            rows, finished = collector.step(actions)
        except EnvCrash as crash:
            self.logger.log(restart(collector, crash), color="yellow")
            return
        self.replay.add(rows)
        self.n += len(rows)
        for episode in finished:
            self.logger.store(EpRet=episode.ret, EpLen=episode.length)

    def update(self, count: int) -> None:
        """`count` gradient steps, each on a batch of its own."""
        if count == 0:
            return
        self.block = block = self.replay.sample(count, self.config.batch_size, self.rng)
        metrics = self.learner.update(block)
        finite = np.isfinite(metrics["LossQ"]) & np.isfinite(metrics["LossPi"])
        if not finite.all():
            self.dump(int(np.argmin(finite)))
            raise TrainingDiverged(
                f"a loss became NaN or infinite at env step {self.n}: lower lr={self.config.lr}, or scale "
                f"the rewards; the last checkpoint and model are from before it, the batch is in {DUMP}"
            )
        self.logger.store(**metrics)

    def dump(self, k: int) -> None:
        """Keep the k-th batch of the last block, for whoever looks for the cause."""
        buffer = io.BytesIO()
        np.savez(buffer, **self.block.arrays(k))
        self._write(DUMP, lambda: atomic_write(Path(self.logger.output_dir) / DUMP, buffer.getvalue()))

    def end_epoch(self, epoch: int) -> None:
        """Save, test, log one row."""
        config, logger = self.config, self.logger
        saved = epoch % config.save_freq == 0 or epoch == config.epochs or "model" in self.unsaved
        if saved:
            self.save("model")
        episodes = self.test(epoch)
        for episode in episodes:
            logger.store(TestEpRet=episode.ret, TestEpLen=episode.length)
        mean = float(np.mean([e.ret for e in episodes])) if episodes else -np.inf
        if mean > self.best_return and self.save("model_best"):
            self.best_return = mean
        row = self._log_row(epoch)
        self.epoch = epoch
        if self.callback is not None and self.callback(row) is False:
            self.stopped = True
            if not saved:
                self.save("model")

    def test(self, epoch: int) -> list[Episode]:
        """The deterministic test episodes of an epoch; whatever happens, training is as it was before."""
        tester, episodes = self.tester, self.config.num_test_episodes
        while True:
            try:
                with self.around_tests():
                    finished = evaluate(tester, self._best_action, episodes, epoch - 1)
            except EnvCrash as crash:
                rebuild(tester, crash)
                tester.vector.restore_statistics([*self.tester_statistics])
                self.logger.log(f"test environment {crash}: restarted, the test begins again", color="yellow")
            else:
                self.tester_statistics = tester.vector.statistics()
                return finished

    def save(self, name: str) -> bool:
        """Write a model for users; returns whether it could be written, else the next epoch tries again."""
        return self._write(name, lambda: self.learner.save(Path(self.logger.output_dir), name))

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on, but for the replay buffer's rows."""
        return {
            "n": self.n,
            "epoch": self.epoch,
            "best_return": self.best_return,
            "stopped": self.stopped,
            "seconds": time.perf_counter() - self.started,
            "rng": self.rng.bit_generator.state,
            "learner": self.learner.state_dict(),
            "collector": collector_state(self.collector),
            "tester": {str(i): values for i, values in enumerate(self.tester_statistics)},
            "log": self.logger.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken; the replay buffer is restored apart."""
        self.n, self.epoch, self.best_return = state["n"], state["epoch"], state["best_return"]
        self.stopped = state["stopped"]
        self.started = time.perf_counter() - state["seconds"]
        self.rng.bit_generator.state = state["rng"]
        self.learner.load_state_dict(state["learner"])
        self.tester_statistics = [state["tester"][str(i)] for i in range(len(state["tester"]))]
        self.tester.vector.restore_statistics([*self.tester_statistics])
        note = restore_collector(self.collector, state["collector"])
        self.logger.load_state_dict(state["log"])
        if note:
            self.logger.log(note, color="yellow")

    def _write(self, name: str, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:
            if name not in self.unsaved:
                self.logger.log(f"could not write {name} ({error}): training goes on", color="red")
            self.unsaved.add(name)
            return False
        self.unsaved.discard(name)
        return True

    def _best_action(self, obs: Float) -> Float:
        self.watch.within_test()
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
