"""Builders make transitions from stored rows; only they depend on gamma and n-step returns."""

from __future__ import annotations

import abc
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from spinup.replay.storage import Storage
from spinup.replay.transition import Batches, Transitions

BATCH_FIELDS = ("obs", "action", "reward", "discount", "next_obs")


class TransitionBuilder(abc.ABC):
    """Makes transitions of batches, with the fields BATCH_FIELDS, from stored rows."""

    stored_fields: tuple[str, ...] = ("obs", "action", "reward", "terminated", "next_obs")

    def reset(self, capacity: int) -> None:
        """Remove all rows; those added later are stored in a ring of `capacity` rows."""

    def added(self, start: int, transitions: Transitions) -> None:
        """Called after rows, numbered from `start`, were appended to the storage."""

    @abc.abstractmethod
    def build(self, storage: Storage, index: NDArray[np.int64]) -> Batches:
        """The transitions that begin at positions `index`, each field (*index.shape, *shape)."""


@final
class OneStepBuilder(TransitionBuilder):
    """One-step transitions; discount = gamma (1 - terminated).

    Args:
        gamma: discount factor.
    """

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def build(self, storage: Storage, index: NDArray[np.int64]) -> Batches:
        return self.with_discount(storage.gather(index, self.stored_fields))

    def with_discount(self, rows: Batches) -> Batches:
        """Stored rows as transitions: the field `terminated` is replaced by `discount`."""
        rows["discount"] = ~rows.pop("terminated") * np.float32(self.gamma)
        return rows


@final
class NStepBuilder(TransitionBuilder):
    """n-step transitions: the discounted sum of up to n rewards, and the observation after them.

    For row t, with m <= n steps until the episode ends or the stored rows end:

        reward = sum_{i<m} gamma^i r_{t+i},   discount = gamma^m (1 - terminated_{t+m-1}),
        next_obs = next_obs_{t+m-1}

    Only rewards are summed, without the entropy terms of intermediate steps and without off-policy correction
    (as in Barth-Maron et al. 2018).

    Args:
        gamma: discount factor per step.
        n_step: n, the maximum number of rewards.
    """

    stored_fields = (*TransitionBuilder.stored_fields, "env", "episode_start")

    def __init__(self, gamma: float, n_step: int) -> None:
        self.gamma, self.n_step = gamma, n_step
        self.reset(0)

    def reset(self, capacity: int) -> None:
        self._capacity = capacity
        # Distance from each position to the row of the next step of its episode; 0 if there is none.
        self._to_next: NDArray[np.int32] = np.zeros(capacity, np.int32)
        self._last: dict[int, int] = {}  # the newest row of each environment

    def added(self, start: int, transitions: Transitions) -> None:
        starts = transitions["episode_start"].tolist()
        for row, (env, first) in enumerate(zip(transitions["env"].tolist(), starts, strict=True), start):
            self._to_next[row % self._capacity] = 0
            before = self._last.get(env)
            if not first and before is not None and row - before < self._capacity:
                self._to_next[before % self._capacity] = row - before
            self._last[env] = row

    def build(self, storage: Storage, index: NDArray[np.int64]) -> Batches:
        batches = storage.gather(index, ("obs", "action", "reward"))
        last, discount = index, np.full(index.shape, self.gamma)
        for _ in range(self.n_step - 1):
            step = self._to_next[last]
            if not step.any():
                break
            last = (last + step) % self._capacity
            weight = np.where(step > 0, discount, 0.0).astype(np.float32)
            batches["reward"] = batches["reward"] + storage.to_batch(weight) * _field(storage, last, "reward")
            discount = np.where(step > 0, discount * self.gamma, discount)
        ongoing = ~_field(storage, last, "terminated")
        batches["discount"] = ongoing * storage.to_batch(discount.astype(np.float32))
        batches["next_obs"] = _field(storage, last, "next_obs")
        return batches


def _field(storage: Storage, index: NDArray[np.int64], name: str) -> Any:
    return storage.gather(index, (name,))[name]
