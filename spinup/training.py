"""The training loop: collect, store, update, test, log, save. It is independent of the ML framework.

    for every step of N environments:
        act at random for the first `start_steps` actions, then by the policy
        store the transitions
        at each multiple of `update_every` from `update_after` on: gradient steps, see `UpdateSchedule`
        at each end of an epoch: save, test, log; tests may instead run every `test_every` steps

Environment interactions are counted over all environments, by the collector. `Trainer.state_dict()` holds
everything that the next step depends on, except the replay buffer's rows. A run can be stopped and continued
between two steps, or before a test.
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

from spinup.collect.collector import random_then_policy
from spinup.collect.update_schedule import UpdateSchedule
from spinup.config import SACConfig
from spinup.envs.spaces import ActionSpec
from spinup.errors import EnvError, RunError, TrainingDiverged, first_line
from spinup.files import atomic_write
from spinup.interfaces import Agent, Collector, Diagnostics, Engine, Evaluator, RunMonitor
from spinup.loggers.epoch_logger import EpochLogger
from spinup.loggers.progress import ProgressInfo
from spinup.loggers.run_folder import NAN_BATCH, VIDEO_FOLDER, prune_models
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.transition import to_host
from spinup.seeding import LOOP_STREAM, generator

Float = NDArray[np.float32]
Record = Callable[[Path, Callable[[Float], Float], int], None]


class Trainer:
    """Runs the training loop of one run.

    Args:
        config: the hyperparameters.
        agent: all learned state.
        engine: computes the updates of `agent`.
        replay: stores transitions and samples batches.
        collector: makes transitions.
        evaluator: runs test episodes.
        actions: the action space, from which the actions of the first `start_steps` steps are sampled.
        logger: receives the rows.
        callback: called with each epoch's row, and within epochs every `callback_every` env steps with the
            row of the epoch so far; returning False ends the run.
        isolate_tests: returns the context manager in which tests run; it preserves global random generators.
        monitor: called between steps and during tests.
        record: writes a video, `record(path, act, epoch)`; see `video_every`.
        schedule: counts env steps and gradient steps; None makes one. Required if the collector reads it.
        diagnostics: computes additional columns; they are nan in rows logged within an epoch.
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
        record: Record | None = None,
        schedule: UpdateSchedule | None = None,
        diagnostics: Diagnostics | None = None,
    ) -> None:
        self.config, self.agent, self.engine, self.replay = config, agent, engine, replay
        self.collector, self.evaluator, self.actions, self.logger = collector, evaluator, actions, logger
        self.callback, self.isolate_tests, self.monitor = callback, isolate_tests, monitor
        self.record, self.diagnostics = record, diagnostics
        self.schedule = UpdateSchedule(config) if schedule is None else schedule
        self.rng = generator(config.seed, LOOP_STREAM)
        self.epoch = 0
        self.test_intervals = 0  # intervals of `test_every` steps after which a test has run
        self.callback_intervals = 0  # likewise of `callback_every` steps and the callback
        self.best_return = -np.inf
        self.stopped = False
        self.unsaved: set[str] = set()
        self.batches: dict[str, Any] = {}
        self.details = ProgressInfo(config.first_block, config.epochs, self._row_so_far)
        self.started = time.perf_counter()

    @property
    def n(self) -> int:
        """Environment interactions so far."""
        return self.collector.env_steps

    def run(self) -> None:
        """Train from the current state to the planned end, or until the callback stops the run.

        Raises:
            TrainingDiverged, RunError: see `update`.
            EnvError: if an environment fails.
        """
        config = self.config
        self.collector.start()
        while self.epoch < config.epochs and not self.stopped:
            if self._test_is_due():
                self.test(self.n // int(config.test_every) - 1)
                self.test_intervals = self.n // int(config.test_every)
            elif self._callback_is_due():
                self.callback_intervals = self.n // config.callback_every
                self._call_back(self._row_so_far(), saved=False)
            elif self.n < (self.epoch + 1) * config.steps_per_epoch:
                self.step()
            else:
                self.end_epoch(self.epoch + 1)
            self.logger.progress(self.n, config.total_steps, self.details)
            if self.monitor is not None:
                self.monitor.after_step(self)

    def step(self) -> None:
        """Act once in every environment, then run the gradient steps that are due."""
        before, seconds, start = self.n, self.details.seconds, time.perf_counter()
        acted = seconds["act"]
        collected = self.collector.collect(self.choose_actions)
        seconds["env"] += time.perf_counter() - start - (seconds["act"] - acted)
        if collected.note:
            self.logger.log(collected.note, color="yellow")
        if collected.transitions:
            self.replay.add(collected.transitions)
        for episode in collected.episodes:
            self.logger.store(EpRet=episode.ret, EpLen=episode.length)
        for count in self.schedule.add_steps(self.n - before):
            start = time.perf_counter()
            self.update(count)
            seconds["update"] += time.perf_counter() - start

    def choose_actions(self, obs: Float) -> Float:
        """Random actions for the first `start_steps` interactions, then the policy's, (N, act_dim)."""
        at_random = self.config.start_steps - self.n
        return random_then_policy(obs, at_random, self.actions, self.rng, self._sampled_action)

    def update(self, count: int) -> None:
        """Run `count` gradient steps, each on its own batch.

        Raises:
            TrainingDiverged: if a loss becomes NaN or infinite.
            RunError: if the batches do not fit in memory.
        """
        if count == 0:
            return
        try:
            batches = self.replay.sample(count, self.config.batch_size, self.rng)
            self.batches = batches = {**batches, **self.engine.draw_noise(batches, self.rng)}
            metrics = self.engine.update(self.agent, batches)
        except MemoryError as error:
            raise RunError(
                f"{count} batches of batch_size={self.config.batch_size} do not fit in memory "
                f"({first_line(error)}): lower batch_size, or update_every={self.config.update_every}"
            ) from error
        for name in ("LossQ", "LossPi"):
            finite = np.isfinite(metrics.get(name, ()))
            if finite.all():
                continue
            self.dump(int(np.argmin(finite)) if len(finite) == count else -1)
            raise TrainingDiverged(
                f"a loss became NaN or infinite at env step {self.n}: lower lr={self.config.lr}, or scale "
                f"the rewards; the last checkpoint and model are from before it, the batch is in {NAN_BATCH}"
            )
        if (td_errors := metrics.pop("TDError", None)) is not None:
            self.replay.sampler.update_priorities(td_errors)
        self.schedule.add_updates(count)
        self.logger.store(**metrics)

    def dump(self, k: int) -> None:
        """Write the k-th batch of the last block to the file NAN_BATCH, to help find why it diverged."""
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {name: to_host(values[k]) for name, values in self.batches.items()}
        np.savez(buffer, **arrays)
        path = Path(self.logger.output_dir) / NAN_BATCH
        self._write(NAN_BATCH, lambda: atomic_write(path, buffer.getvalue()))

    def end_epoch(self, epoch: int) -> None:
        """Save the model, test, record a video, log a row and call the callback, as far as each is due."""
        config = self.config
        saved = epoch % config.save_freq == 0 or epoch == config.epochs or "model" in self.unsaved
        if saved:
            self.save("model")
            self._save_numbered(epoch)
        if config.test_every == "epoch":
            self.test(epoch - 1)
        if self.record is not None and config.video_every and epoch % config.video_every == 0:
            self._record(epoch)
        if self.diagnostics is not None:
            self.logger.store(**self.diagnostics.of_epoch(epoch))
        self._set_columns(epoch)
        row = self.logger.dump_tabular()
        self.collector.new_epoch()
        self.epoch = self.details.epoch = epoch
        self._call_back(row, saved)

    def test(self, round_number: int) -> None:
        """Run and log a round of deterministic test episodes, without affecting training.

        The model is saved as "model_best" if the mean return is the largest so far.
        """
        start = time.perf_counter()
        with self.isolate_tests(), self.details.during("testing"):
            episodes = self.evaluator.evaluate(self._best_action, round_number)
            if self.diagnostics is not None:
                self.logger.store(**self.diagnostics.of_test(episodes, round_number))
        for episode in episodes:
            self.logger.store(TestEpRet=episode.ret, TestEpLen=episode.length)
        mean = float(np.mean([e.ret for e in episodes])) if episodes else -np.inf
        if mean > self.best_return and self.save("model_best"):
            self.best_return = mean
        self.details.seconds["test"] += time.perf_counter() - start

    def save(self, name: str) -> bool:
        """Write the model for use outside the run; returns False if it could not be written."""
        return self._write(name, lambda: self.agent.save(Path(self.logger.output_dir), name))

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on, except the replay buffer's rows."""
        return {
            **({} if self.config.test_every == "epoch" else {"tests": self.test_intervals}),
            "epoch": self.epoch,
            "best_return": self.best_return,
            "stopped": self.stopped,
            "callback_due": self._callback_is_due(),
            "seconds": time.perf_counter() - self.started,
            "rng": self.rng.bit_generator.state,
            "agent": self.agent.state_dict(),
            "collector": self.collector.state_dict(),
            "evaluator": self.evaluator.state_dict(),
            "log": self.logger.state_dict(),
            **({"sampler": sampler} if (sampler := self.replay.sampler.state_dict()) else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken. The replay buffer's rows must be restored first."""
        self.epoch, self.best_return = state["epoch"], state["best_return"]
        self.test_intervals = state.get("tests", 0)
        self.details.epoch = self.details.resumed_at = self.epoch
        passed = state["collector"]["env_steps"] // max(self.config.callback_every, 1)
        self.callback_intervals = passed - int(state["callback_due"])
        self.stopped = state["stopped"]
        self.started = time.perf_counter() - state["seconds"]
        self.rng.bit_generator.state = state["rng"]
        self.agent.load_state_dict(state["agent"])
        self.evaluator.load_state_dict(state["evaluator"])
        note = self.collector.load_state_dict(state["collector"])
        self.schedule.resume(self.n)
        self.logger.load_state_dict(state["log"])
        self.replay.sampler.load_state_dict(state.get("sampler", {}))
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
        start = time.perf_counter()
        chosen = self.agent.act(obs, False)
        self.details.seconds["act"] += time.perf_counter() - start
        return chosen

    def _best_action(self, obs: Float) -> Float:
        if self.monitor is not None:
            self.monitor.during_test()
        self.logger.progress(self.n, self.config.total_steps, self.details)
        return self.agent.act(obs, True)

    def _action_in_video(self, obs: Float) -> Float:
        """The deterministic action. Signals wait: a run stopped here would repeat the tests when resumed."""
        self.logger.progress(self.n, self.config.total_steps, self.details)
        return self.agent.act(obs, True)

    def _test_is_due(self) -> bool:
        every = self.config.test_every
        return not isinstance(every, str) and self.n // every > self.test_intervals

    def _callback_is_due(self) -> bool:
        """Whether a call within an epoch is due; at the end of an epoch, `end_epoch` calls the callback."""
        every, end = self.config.callback_every, (self.epoch + 1) * self.config.steps_per_epoch
        return every > 0 and self.n < end and self.n // every > self.callback_intervals

    def _call_back(self, row: dict[str, Any], saved: bool) -> None:
        """Call the callback; if it ends the run, write the model unless it is `saved`."""
        answer = None if self.callback is None else self.callback(row)
        if isinstance(answer, (bool, np.bool_)) and not answer:
            self.stopped = True
            if not saved:
                self.save("model")
                self._save_numbered(row["Epoch"])

    def _save_numbered(self, epoch: int) -> None:
        keep = self.config.keep_checkpoints
        if keep != 0 and self.save(f"model{epoch}") and not isinstance(keep, str):
            prune_models(Path(self.logger.output_dir), keep)

    def _record(self, epoch: int) -> None:
        path = Path(self.logger.output_dir) / VIDEO_FOLDER / f"epoch{epoch}.mp4"
        record = self.record
        assert record is not None
        try:
            with self.isolate_tests(), self.details.during("recording"):
                record(path, self._action_in_video, epoch)
        except (EnvError, OSError) as error:
            self.logger.log(f"could not write {path.name} ({error}): training continues", color="red")
        else:
            self.logger.video(path, self.n)

    def _row_so_far(self) -> dict[str, Any]:
        """The row of the current epoch, from the values logged so far."""
        return self.logger.preview(lambda: self._set_columns(self.epoch + 1))

    def _set_columns(self, epoch: int) -> None:
        log = self.logger.log_tabular
        elapsed = time.perf_counter() - self.started
        log("Epoch", epoch)
        log("EpRet", with_min_and_max=True)
        log("TestEpRet", with_min_and_max=True)
        log("EpLen", average_only=True)
        log("TestEpLen", average_only=True)
        log("TotalEnvInteracts", 0 if self.config.offline else self.n)
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
            log("UpdatesPerStep", self._updates_per_step())
            for key, value in remote.items():
                log(key, value)
        if self.diagnostics is not None:
            self._set_diagnostics(self.diagnostics.columns, bool(remote))

    def _set_diagnostics(self, columns: tuple[str, ...], remote: bool) -> None:
        for key in filter(self.logger.accepts, columns):
            self.logger.log_tabular(key, average_only=True)
        if not remote and self.logger.accepts("UpdatesPerStep"):
            self.logger.log_tabular("UpdatesPerStep", self._updates_per_step())

    def _updates_per_step(self) -> float:
        return self.schedule.updates / (self.schedule.steps_with_updates or np.nan)
