"""Hindsight experience replay: transitions are relabeled with goals that were achieved later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.errors import EnvError
from spinup.replay.builders import OneStepBuilder
from spinup.replay.samplers import RowSampler
from spinup.replay.storage import Storage
from spinup.replay.transition import Batches, Transitions, to_host

Goal = NDArray[np.float32]
CHECKED_ROWS = 10_000
TOLERATED = 0.01  # share of rewards that may differ, since goals are stored in float32


@dataclass(frozen=True)
class Goals:
    """The columns of goals in a flat observation, and the reward as a function of goals.

    Attributes:
        achieved, desired: columns of the achieved and of the desired goal.
        reward: maps achieved and desired goals, each (n, goal_dim), to rewards, (n,) float32.
        terminated: maps these to whether the MDP terminates, (n,) bool; None if termination does not depend
            on the goal.
    """

    achieved: slice
    desired: slice
    reward: Callable[[Goal, Goal], NDArray[np.float32]]
    terminated: Callable[[Goal, Goal], NDArray[np.bool_]] | None


@final
class HindsightSampler(RowSampler):
    """Hindsight experience replay (Andrychowicz et al. 2017) with the strategy `future`.

    In each batch, an expected share k / (k + 1) of the transitions is relabeled: the goal is replaced by one
    achieved at the same or a later step of the episode, drawn uniformly among the stored ones, and the reward
    is recomputed. Transitions span one step; discount = gamma (1 - terminated).

    Args:
        gamma: discount factor.
        k: relabeled transitions for each one that keeps its goal.
        goals: the environment's goals.
    """

    builder: OneStepBuilder

    def __init__(self, gamma: float, k: int, goals: Goals) -> None:
        super().__init__(OneStepBuilder(gamma))
        self.stored_fields = (*self.builder.stored_fields, "env", "episode_start")
        self.k, self.goals = k, goals
        self.reset(0)

    def reset(self, capacity: int) -> None:
        self._capacity = capacity
        self._env = np.zeros(capacity, np.int32)  # by position
        self._step = np.zeros(capacity, np.int64)  # by position: number of the step in `_Steps`
        self._steps: dict[int, _Steps] = {}
        self._checked = False

    def added(self, start: int, transitions: Transitions) -> None:
        starts = transitions["episode_start"].tolist()
        for row, (env, first) in enumerate(zip(transitions["env"].tolist(), starts, strict=True), start):
            steps = self._steps.setdefault(env, _Steps())
            self._env[row % self._capacity] = env
            self._step[row % self._capacity] = steps.append(row, first, row - self._capacity)

    def rows(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> NDArray[np.int64]:
        return rng.integers(len(storage), size=(count, batch_size))

    def sample_uniform(self, storage: Storage, batch_size: int, rng: Generator) -> Batches:
        return self.sample(storage, 1, batch_size, rng) if len(storage) else {}

    def sample(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> Batches:
        if not self._checked:
            self._check_rewards(storage)
        index = self.rows(storage, count, batch_size, rng)
        relabeled = rng.random(index.shape) < self.k / (self.k + 1)
        later = self._later(index[relabeled], rng.random(index.shape)[relabeled])
        goal = to_host(storage.gather(later, ("next_obs",))["next_obs"])[:, self.goals.achieved]
        rows = {
            name: to_host(values)
            for name, values in storage.gather(index, self.builder.stored_fields).items()
        }
        for name in ("obs", "next_obs"):
            rows[name][..., self.goals.desired][relabeled] = goal
        achieved = rows["next_obs"][..., self.goals.achieved][relabeled]
        rows["reward"][relabeled] = self.goals.reward(achieved, goal)
        if self.goals.terminated is not None:
            rows["terminated"][relabeled] = self.goals.terminated(achieved, goal)
        return {name: storage.to_batch(values) for name, values in self.builder.with_discount(rows).items()}

    def _later(self, index: NDArray[np.int64], fractions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Positions of the same or later steps of the same episodes, selected by fractions in [0, 1)."""
        found, envs = np.empty_like(index), self._env[index]
        for env in np.unique(envs).tolist():
            mine = envs == env
            found[mine] = self._steps[env].later(self._step[index[mine]], fractions[mine])
        return found % max(self._capacity, 1)

    def _check_rewards(self, storage: Storage) -> None:
        """Compare the rewards of up to CHECKED_ROWS stored rows with the reward function.

        Raises:
            EnvError: if more than a share TOLERATED of them differs.
        """
        index = np.arange(min(len(storage), CHECKED_ROWS))
        rows = {name: to_host(v) for name, v in storage.gather(index, ("obs", "next_obs", "reward")).items()}
        # The reward of a step refers to the goal in the observation before the action.
        desired = rows["obs"][:, self.goals.desired]
        computed = self.goals.reward(rows["next_obs"][:, self.goals.achieved], desired)
        wrong = ~np.isclose(computed, rows["reward"], rtol=1e-4, atol=1e-5)
        if wrong.mean() > TOLERATED:
            i = int(np.argmax(wrong))
            raise EnvError(
                f"sampler='her': compute_reward gives {computed[i]:g} for a step that the environment "
                f"rewarded with {rows['reward'][i]:g}: let the reward depend on achieved_goal and "
                "desired_goal alone, or leave sampler out"
            )
        self._checked = True


class _Steps:
    """The steps of one environment, numbered from 0: the row of each, and the first step of each episode."""

    def __init__(self) -> None:
        self._rows: NDArray[np.int64] = np.zeros(64, np.int64)  # of the steps numbered from `_first`
        self._starts: list[int] = []
        self._first = self._count = 0

    def append(self, row: int, starts: bool, gone: int) -> int:
        """Add a step and return its number.

        Args:
            row: number of the step's row in the storage.
            starts: whether an episode starts with this step.
            gone: rows up to this number are no longer stored.
        """
        used = self._count - self._first
        if used == len(self._rows):
            old = int(np.searchsorted(self._rows, gone, side="right"))
            kept = self._rows[old:]
            self._rows = np.zeros(max(2 * len(kept), 64), np.int64)
            self._rows[: len(kept)] = kept
            self._first += old
            self._starts = [number for number in self._starts if number >= self._first]
        self._rows[self._count - self._first] = row
        if starts:
            self._starts.append(self._count)
        self._count += 1
        return self._count - 1

    def later(self, step: NDArray[np.int64], fractions: NDArray[np.float64]) -> NDArray[np.int64]:
        """Rows between `step` and the end of its episode (or the newest step), selected by `fractions`."""
        starts = np.array([*self._starts, self._count])
        left = starts[np.searchsorted(starts, step, side="right")] - step
        chosen = step + np.minimum((fractions * left).astype(np.int64), left - 1)
        rows: NDArray[np.int64] = self._rows[chosen - self._first]
        return rows
