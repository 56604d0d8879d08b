"""The replay buffer: a storage and the sampler that draws batches from it."""

from __future__ import annotations

from typing import final

from numpy.random import Generator

from spinup.replay.normalizer import Normalizer
from spinup.replay.random_shift import RandomShift
from spinup.replay.samplers import Sampler
from spinup.replay.storage import Storage
from spinup.replay.transition import Batches, Field, Transitions


@final
class ReplayBuffer:
    """Stores transitions and draws batches.

    Args:
        storage: stores rows, in host memory or on a device.
        sampler: decides which rows form a batch.
        normalizer: updates its statistics with new rows and normalizes batches; raw rows are stored.
        augmentation: randomly shifts the images of batches.
        reward_scale: multiplies the rewards of batches.
    """

    def __init__(
        self,
        storage: Storage,
        sampler: Sampler,
        normalizer: Normalizer | None = None,
        augmentation: RandomShift | None = None,
        reward_scale: float = 1.0,
    ) -> None:
        self.storage, self.sampler, self.normalizer = storage, sampler, normalizer
        self.augmentation, self.reward_scale = augmentation, reward_scale
        self.sampler.reset(storage.capacity)

    def __len__(self) -> int:
        return len(self.storage)

    @property
    def total(self) -> int:
        """Number of rows ever written; the last `len(self)` of them are stored."""
        return self.storage.total

    @property
    def fields(self) -> tuple[Field, ...]:
        """The fields that are stored."""
        return self.storage.fields

    def add(self, transitions: Transitions) -> None:
        """Append new transitions, arrays (N, *shape) by field."""
        if self.normalizer is not None:
            self.normalizer.update(transitions)
        self.append(transitions)

    def append(self, transitions: Transitions) -> None:
        """Append transitions without updating the normalizer's statistics; arrays (N, *shape) by field."""
        start = self.storage.total
        self.storage.append(transitions)
        self.sampler.added(start, transitions)

    def sample(self, count: int, batch_size: int, rng: Generator) -> Batches:
        """`count` batches of `batch_size` transitions, arrays (count, batch_size, *shape) by field."""
        batches = self.sampler.sample(self.storage, count, batch_size, rng)
        return self._transformed(batches, rng)

    def sample_uniform(self, batch_size: int, rng: Generator) -> Batches:
        """One batch of uniform rows, (1, batch_size, *shape) by field; it does not affect later batches.

        The batch is empty if there are no rows.
        """
        batches = self.sampler.sample_uniform(self.storage, batch_size, rng)
        return self._transformed(batches, rng) if batches else batches

    def read(self, start: int, stop: int) -> Transitions:
        """A copy of the rows numbered start to stop - 1, which must still be stored."""
        return self.storage.read(start, stop)

    def restore(self, start: int, transitions: Transitions) -> None:
        """Replace the content by `transitions`, as rows numbered from `start`."""
        self.storage.clear(start)
        self.sampler.reset(self.storage.capacity)
        self.append(transitions)

    def _transformed(self, batches: Batches, rng: Generator) -> Batches:
        if self.reward_scale != 1.0:
            batches["reward"] = batches["reward"] * self.reward_scale
        if self.augmentation is not None:
            batches = self.augmentation.apply(batches, rng)
        if self.normalizer is None:
            return batches
        return self.normalizer.apply(batches, self.storage.to_batch)
