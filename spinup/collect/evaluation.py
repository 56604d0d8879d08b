"""Test episodes of a policy, in environments of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spinup.collect.collector import EnvCollector
from spinup.collect.crash_recovery import rebuild
from spinup.envs.workers import EnvCrash
from spinup.interfaces import Act, Diagnostics, Episode


class EnvEvaluator:
    """Runs `episodes` test episodes, divided evenly among the environments of `collector`.

    Each environment contributes a fixed number, so short episodes are not over-represented. Their seeds
    follow from the round number alone: a test changes nothing in training, and depends on nothing but the
    policy and what the environments' wrappers have learned in earlier tests.

    Args:
        collector: the environments.
        episodes: number of episodes of a test.
        log: receives a line when a crashed environment is restarted.
        diagnostics: receive the rows of the episodes.
    """

    def __init__(
        self,
        collector: EnvCollector,
        episodes: int,
        log: Callable[[str], None] = lambda line: None,
        diagnostics: Diagnostics | None = None,
    ) -> None:
        self.diagnostics = diagnostics
        self.collector, self.episodes, self.log = collector, episodes, log
        self._statistics = collector.vector.statistics()

    def evaluate(self, act: Act, round_number: int) -> list[Episode]:
        """The episodes of one test; a crashed environment is restarted and the test repeated.

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
        """What the wrappers have learned, by environment."""
        return {str(i): values for i, values in enumerate(self._statistics)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put `state_dict()` back."""
        self._statistics = [state[str(i)] for i in range(len(state))]
        self.collector.vector.restore_statistics([*self._statistics])

    def _run(self, act: Act, round_number: int) -> list[Episode]:
        collector = self.collector
        quota = np.full(collector.num_envs, self.episodes // collector.num_envs)
        quota[: self.episodes % collector.num_envs] += 1
        collector.start_at(round_number * int(quota.max(initial=0)))
        finished: list[Episode] = []
        if self.diagnostics is not None:
            self.diagnostics.begin_test()
        while quota.any():
            transitions, ended = collector.step(act(collector.obs))
            counted = [episode for episode in ended if quota[episode.env] > 0]
            if self.diagnostics is not None:
                kept = quota[transitions["env"]] > 0
                rows = {name: column[kept] for name, column in transitions.items()}
                self.diagnostics.add_test_rows(rows, [episode.env for episode in counted])
            for episode in counted:
                quota[episode.env] -= 1
            finished += counted
        return finished
