"""Samplers: which stored transitions form a batch, and the reward and discount of each."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.config import SACConfig
from spinup.replay.storage import Storage
from spinup.replay.transition import Batches, Transitions

if TYPE_CHECKING:
    from spinup.replay.hindsight import Goals


class Sampler(abc.ABC):
    """Draws batches from a storage. Only samplers depend on gamma and n-step returns.

    `sample` draws rows uniformly with replacement; `batches` makes transitions from rows.
    """

    stored_fields: tuple[str, ...] = ("obs", "action", "reward", "terminated", "next_obs")
    batch_fields: tuple[str, ...] = ("obs", "action", "reward", "discount", "next_obs")

    def reset(self, capacity: int) -> None:
        """Remove all rows; those added later are stored in a ring of `capacity` rows."""

    def added(self, start: int, transitions: Transitions) -> None:
        """Called after rows, numbered from `start`, were appended to the storage."""

    def sample(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> Batches:
        """`count` batches of `batch_size` transitions, each field (count, batch_size, *shape)."""
        return self.batches(storage, rng.integers(len(storage), size=(count, batch_size)))

    def peek(self, storage: Storage, batch_size: int, rng: Generator) -> Batches:
        """One batch of uniform rows, each field (1, batch_size, *shape); empty if there are no rows.

        Unlike `sample`, it leaves priorities as they are, and the batch has no field `weight`.
        """
        return self.sample(storage, 1, batch_size, rng) if len(storage) else {}

    @abc.abstractmethod
    def batches(self, storage: Storage, index: NDArray[np.int64]) -> Batches:
        """The transitions that begin at positions `index`, each field (*index.shape, *shape)."""

    def update_priorities(self, td_errors: NDArray[Any]) -> None:
        """Receive the absolute TD errors, (count, batch_size), of the batches sampled last."""

    def state_dict(self) -> dict[str, Any]:
        """What later batches depend on besides the rows and the random generator, as arrays and numbers."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore `state_dict()`, after its rows were restored."""


@final
class UniformSampler(Sampler):
    """One-step transitions, uniform with replacement; discount = gamma (1 - terminated)."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def batches(self, storage: Storage, index: NDArray[np.int64]) -> Batches:
        batches = storage.gather(index, self.stored_fields)
        batches["discount"] = ~batches.pop("terminated") * np.float32(self.gamma)
        return batches


@final
class NStepSampler(Sampler):
    """n-step transitions: the discounted sum of up to n rewards, and the observation after them.

    For a uniform row t, with m <= n steps until the episode ends or the stored rows end:

        reward = sum_{i<m} gamma^i r_{t+i},   discount = gamma^m (1 - terminated_{t+m-1}),
        next_obs = next_obs_{t+m-1}

    Only rewards are summed, without the entropy terms of intermediate steps and without off-policy correction
    (as in Barth-Maron et al. 2018).

    Args:
        gamma: discount factor per step.
        n_step: n, the maximum number of rewards.
    """

    stored_fields = (*Sampler.stored_fields, "env", "episode_start")

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

    def batches(self, storage: Storage, index: NDArray[np.int64]) -> Batches:
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


def make_sampler(config: SACConfig, goals: Goals | None = None) -> Sampler:
    """The sampler for this configuration.

    Args:
        config: the hyperparameters.
        goals: the environment's goals; required for sampler="her".
    """
    # Imported here, since both modules import this one.
    from spinup.replay.hindsight import HindsightSampler
    from spinup.replay.prioritized import PrioritizedSampler

    if config.sampler == "her":
        assert goals is not None
        return HindsightSampler(config.gamma, config.her_k, goals)
    gamma, n_step = config.gamma, config.n_step
    sampler: Sampler = UniformSampler(gamma) if n_step == 1 else NStepSampler(gamma, n_step)
    if config.sampler == "per":
        exponent, beta = config.priority_exponent, config.priority_beta
        return PrioritizedSampler(sampler, exponent, beta, config.priority_beta_updates)
    return sampler


def _field(storage: Storage, index: NDArray[np.int64], name: str) -> Any:
    return storage.gather(index, (name,))[name]
