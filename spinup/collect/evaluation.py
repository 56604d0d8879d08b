"""Test episodes of a policy, in separate environments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.collect.collector import EnvCollector
from spinup.collect.crash_recovery import rebuild
from spinup.envs.workers import EnvCrash
from spinup.interfaces import Act, Episode, Trace
from spinup.replay.transition import Transitions

# Maximum number of steps kept in the trace of an episode, and in the traces of a test together.
MAX_KEPT, MAX_KEPT_OF_TEST = 64, 320


class EnvEvaluator:
    """Runs `episodes` test episodes, divided evenly among the environments of `collector`.

    Each environment contributes a fixed number, so short episodes are not over-represented. Seeds are derived
    from the run's seed and the round number. A test therefore does not affect training, and depends only on
    the policy and on statistics that the environments' wrappers keep from earlier tests.

    Args:
        collector: the environments.
        episodes: number of episodes of a test.
        log: receives a line when a crashed environment is restarted.
        traces: whether episodes have a `Trace`.
    """

    def __init__(
        self,
        collector: EnvCollector,
        episodes: int,
        log: Callable[[str], None] = lambda line: None,
        traces: bool = False,
    ) -> None:
        self.collector, self.episodes, self.log, self.traces = collector, episodes, log, traces
        self._statistics = collector.vector.statistics()

    def evaluate(self, act: Act, round_number: int) -> list[Episode]:
        """Run one test and return its episodes. If an environment crashes, the test is repeated.

        Args:
            act: maps observations (N, obs_dim) to actions (N, act_dim).
            round_number: number of the test, from 0.

        Raises:
            EnvError: after too many restarts.
        """
        while True:
            try:
                finished = self._run(act, round_number)
            except EnvCrash as crash:
                rebuild(self.collector, crash)
                self.collector.vector.restore_statistics([*self._statistics])
                self.log(f"test environment {crash}: restarted, the test is repeated")
            else:
                self._statistics = self.collector.vector.statistics()
                return finished

    def state_dict(self) -> dict[str, Any]:
        """The statistics of the wrappers, by environment."""
        return {str(i): values for i, values in enumerate(self._statistics)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`."""
        self._statistics = [state[str(i)] for i in range(len(state))]
        self.collector.vector.restore_statistics([*self._statistics])

    def _run(self, act: Act, round_number: int) -> list[Episode]:
        collector = self.collector
        quota = np.full(collector.num_envs, self.episodes // collector.num_envs)
        quota[: self.episodes % collector.num_envs] += 1
        collector.start_at(round_number * int(quota.max(initial=0)))
        finished: list[Episode] = []
        recorders = [_TraceRecorder(self.episodes) for _ in quota]
        while quota.any():
            transitions, ended = collector.step(act(collector.obs))
            if self.traces:
                for row, env in enumerate(transitions["env"].tolist()):
                    recorders[env].add(transitions, row)
            for episode in ended:
                if quota[episode.env] > 0:
                    quota[episode.env] -= 1
                    if self.traces:
                        episode = replace(episode, trace=recorders[episode.env].finish())
                        recorders[episode.env] = _TraceRecorder(self.episodes)
                    finished.append(episode)
        return finished


class _TraceRecorder:
    """Collects the trace of one running episode.

    When the maximum number of kept steps is reached, every second one is dropped, so that kept steps are
    evenly spaced in episodes of any length.

    Args:
        episodes: number of episodes of the test.
    """

    def __init__(self, episodes: int) -> None:
        self._limit = min(MAX_KEPT, max(MAX_KEPT_OF_TEST // max(episodes, 1), 2))
        self._rewards: list[float] = []
        self._kept: list[tuple[NDArray[Any], NDArray[Any]]] = []
        self._stride = 1

    def add(self, transitions: Transitions, row: int) -> None:
        """Add a step, given as a row of `transitions`."""
        rewards = self._rewards
        if len(rewards) % self._stride == 0:
            if len(self._kept) == self._limit:
                self._kept, self._stride = self._kept[::2], 2 * self._stride
            if len(rewards) % self._stride == 0:
                self._kept.append((transitions["obs"][row].copy(), transitions["action"][row].copy()))
        rewards.append(float(transitions["reward"][row]))
        self._last = transitions, row

    def finish(self) -> Trace:
        """The trace of the episode, which ended with the last step added."""
        obs, actions = (np.array(part) for part in zip(*self._kept, strict=True))
        transitions, row = self._last
        return Trace(
            np.array(self._rewards),
            obs,
            actions,
            self._stride,
            transitions["next_obs"][row].copy(),
            bool(transitions["terminated"][row]),
        )
