"""Batches that are part prior data: transitions that the run did not make itself (RLPD, Ball et al. 2023)."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.replay.buffer import ReplayBuffer
from spinup.replay.samplers import Sampler
from spinup.replay.storage import Storage
from spinup.replay.transition import Batches, Transitions


@final
class MixedSampler(Sampler):
    """A fixed share of each batch from prior data, the rest from the run's own transitions.

    Both parts are drawn by samplers of the same kind. The rows of the prior data are not part of checkpoints.

    Args:
        own: sampler of the run's transitions.
        prior: the prior data with a sampler of their own.
        fraction: share of prior data, rounded to whole transitions; 1 draws nothing else.
    """

    def __init__(self, own: Sampler, prior: ReplayBuffer, fraction: float) -> None:
        self.own, self.prior, self.fraction = own, prior, fraction
        self.stored_fields, self.batch_fields = own.stored_fields, own.batch_fields

    def reset(self, capacity: int) -> None:
        self.own.reset(capacity)

    def added(self, start: int, transitions: Transitions) -> None:
        self.own.added(start, transitions)

    def sample(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> Batches:
        from_prior = round(self.fraction * batch_size)
        if from_prior == batch_size:
            return self.prior.sample(count, batch_size, rng)
        own = self.own.sample(storage, count, batch_size - from_prior, rng)
        prior = self.prior.sample(count, from_prior, rng)
        return {name: _joined(values, prior[name]) for name, values in own.items()}

    def peek(self, storage: Storage, batch_size: int, rng: Generator) -> Batches:
        from_prior = round(self.fraction * batch_size) if len(storage) else batch_size
        if from_prior == batch_size:
            return self.prior.peek(batch_size, rng)
        own = self.own.peek(storage, batch_size - from_prior, rng)
        prior = self.prior.peek(from_prior, rng) if from_prior else {}
        return {name: _joined(values, prior[name]) for name, values in own.items()} if prior else own

    def batches(self, storage: Storage, index: NDArray[np.int64]) -> Batches:
        return self.own.batches(storage, index)


def _joined(first: Any, second: Any) -> Any:
    """Two parts (n, B, ...) of the same batches, the first before the second."""
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second], axis=1)
    joined = first.new_empty((first.shape[0], first.shape[1] + second.shape[1], *first.shape[2:]))
    joined[:, : first.shape[1]], joined[:, first.shape[1] :] = first, second
    return joined
