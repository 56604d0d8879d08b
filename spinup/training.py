"""The training loop: collect, store, update, test, log, save. It knows no framework.

    for every step of N environments:
        act at random for the first `start_steps` actions, then by the policy
        store the transitions
        at each multiple of `update_every` from `update_after` on: a block of gradient steps (`CreditLedger`)
        at each end of an epoch: save, test, log

n counts environment interactions from 1, over all environments; the collector counts them. All that the
next step depends on is in `Trainer.state_dict()`; a run is stopped and continued between two steps, or
before a test.
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

from spinup.collect.collector import first_at_random
from spinup.collect.ledger import CreditLedger
from spinup.config import SACConfig
from spinup.envs.spaces import ActionSpec
from spinup.errors import SpinupError
from spinup.files import atomic_write
from spinup.interfaces import Agent, Collector, Engine, Episode, Evaluator, RunMonitor
from spinup.loggers.epoch_logger import EpochLogger
from spinup.replay.buffer import ReplayBuffer

Float = NDArray[np.float32]
LOOP_STREAM = 0
DUMP = "nan_batch.npz"


class TrainingDiverged(SpinupError, ArithmeticError):
    """A loss became NaN or infinite."""


class Trainer:
    """One run.

    Args:
        config: the hyperparameters.
        agent: all learned state.
        engine: computes the updates of `agent`.
        replay: stores transitions and samples batches.
        collector: makes transitions.
        evaluator: runs test episodes.
        actions: draws the random actions of the first steps.
        logger: receives the rows.
        callback: called with each epoch's row; if it returns False the run ends.
        isolate_tests: a context in which tests run, which preserves global random generators.
        monitor: called between steps.
        ledger: counts steps and updates; given where the collector reads it too.
    """

    def __init__(
        self,
        config: SACConfig,
        *,
        agent: Agent,
        engine: Engine,
        replay: ReplayBuffer,
        collector: Collector,
        evaluator: Evaluator,
        actions: ActionSpec,
        logger: EpochLogger,
        callback: Callable[[dict[str, Any]], Any] | None = None,
        isolate_tests: Callable[[], AbstractContextManager[Any]] = nullcontext,
        monitor: RunMonitor | None = None,
        ledger: CreditLedger | None = None,
    ) -> None:
        self.config, self.agent, self.engine, self.replay = config, agent, engine, replay
        self.collector, self.evaluator, self.actions, self.logger = collector, evaluator, actions, logger
        self.callback, self.isolate_tests, self.monitor = callback, isolate_tests, monitor
        self.ledger = CreditLedger(config) if ledger is None else ledger
        self.rng = np.random.default_rng(np.random.SeedSequence([config.seed, LOOP_STREAM]))
        self.epoch = 0
        self.best_return = -np.inf
        self.stopped = False
        self.unsaved: set[str] = set()
        self.batches: dict[str, Any] = {}
        self.started = time.perf_counter()

    @property
    def n(self) -> int:
        """Environment interactions so far."""
        return self.collector.env_steps

    def run(self) -> None:
        """Train from the present state to the planned end, or until the callback stops the run."""
        config = self.config
        self.collector.start()
        while self.epoch < config.epochs and not self.stopped:
            if self.n < (self.epoch + 1) * config.steps_per_epoch:
                self.step()
            else:
                self.end_epoch(self.epoch + 1)
            self.logger.progress(self.n, config.total_steps)
            if self.monitor is not None:
                self.monitor.after_step(self)

    def step(self) -> None:
        """Act once in every environment, then make the updates that fall due."""
        before = self.n
        collected = self.collector.collect(self.choose_actions)
        if collected.note:
            self.logger.log(collected.note, color="yellow")
        if collected.transitions:
            self.replay.add(collected.transitions)
        for episode in collected.episodes:
            self.logger.store(EpRet=episode.ret, EpLen=episode.length)
        for count in self.ledger.admit(self.n - before):
            self.update(count)

    def choose_actions(self, obs: Float) -> Float:
        """Random actions for the first `start_steps` interactions, then the policy's, (N, act_dim)."""
        at_random = self.config.start_steps - self.n
        return first_at_random(obs, at_random, self.actions, self.rng, self._sampled_action)

    def update(self, count: int) -> None:
        """`count` gradient steps, each on its own batch."""
        if count == 0:
            return
        batches = self.replay.sample(count, self.config.batch_size, self.rng)
        self.batches = batches = {**batches, **self.engine.draw_noise(batches, self.rng)}
        metrics = self.engine.update(self.agent, batches)
        finite = np.isfinite(metrics["LossQ"]) & np.isfinite(metrics["LossPi"])
        if not finite.all():
            self.dump(int(np.argmin(finite)))
            raise TrainingDiverged(
                f"a loss became NaN or infinite at env step {self.n}: lower lr={self.config.lr}, or scale "
                f"the rewards; the last checkpoint and model are from before it, the batch is in {DUMP}"
            )
        self.ledger.spend(count)
        self.logger.store(**metrics)

    def dump(self, k: int) -> None:
        """Write the k-th batch of the last block to a file, to help find the cause of a divergence."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: _on_host(values[k]) for name, values in self.batches.items()}
        np.savez(buffer, **arrays)
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
        """The deterministic test episodes of an epoch; they leave training as it was before."""
        with self.isolate_tests():
            return self.evaluator.evaluate(self._best_action, epoch - 1)

    def save(self, name: str) -> bool:
        """Write a model for users; returns False if it could not be written, to be retried next epoch."""
        return self._write(name, lambda: self.agent.save(Path(self.logger.output_dir), name))

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on, except the replay buffer's rows."""
        return {
            "epoch": self.epoch,
            "best_return": self.best_return,
            "stopped": self.stopped,
            "seconds": time.perf_counter() - self.started,
            "rng": self.rng.bit_generator.state,
            "agent": self.agent.state_dict(),
            "collector": self.collector.state_dict(),
            "evaluator": self.evaluator.state_dict(),
            "log": self.logger.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken; the replay buffer is restored separately."""
        self.epoch, self.best_return = state["epoch"], state["best_return"]
        self.stopped = state["stopped"]
        self.started = time.perf_counter() - state["seconds"]
        self.rng.bit_generator.state = state["rng"]
        self.agent.load_state_dict(state["agent"])
        self.evaluator.load_state_dict(state["evaluator"])
        note = self.collector.load_state_dict(state["collector"])
        self.ledger.resume(self.n)
        self.logger.load_state_dict(state["log"])
        if note:
            self.logger.log(note, color="yellow")

    def _write(self, name: str, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:
            if name not in self.unsaved:
                self.logger.log(f"could not write {name} ({error}): training continues", color="red")
            self.unsaved.add(name)
            return False
        self.unsaved.discard(name)
        return True

    def _sampled_action(self, obs: Float) -> Float:
        return self.agent.act(obs, False)

    def _best_action(self, obs: Float) -> Float:
        if self.monitor is not None:
            self.monitor.during_test()
        return self.agent.act(obs, True)

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
        if remote := self.collector.metrics():
            log("AskedUpdatesPerStep", self.config.updates_per_step)
            log("UpdatesPerStep", self.ledger.updates / (self.ledger.earning_steps or np.nan))
            for key, value in remote.items():
                log(key, value)
        return self.logger.dump_tabular()


def _on_host(values: Any) -> NDArray[Any]:
    return np.asarray(values.cpu() if hasattr(values, "cpu") else values)
