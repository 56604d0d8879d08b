"""Samples batches of which a share is prior data, collected before the run (RLPD, Ball et al. 2023)."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.random import Generator

from spinup.replay.buffer import ReplayBuffer
from spinup.replay.samplers import Sampler
from spinup.replay.storage import Storage
from spinup.replay.transition import Batches, Transitions


@final
class MixedSampler(Sampler):
    """Draws a fixed share of each batch from prior data, and the rest from the run's transitions.

    Both parts are drawn by samplers of the same kind. The rows of the prior data are not part of checkpoints.

    Args:
        online: sampler of the run's transitions.
        prior: replay buffer with the prior data.
        fraction: share of prior data in a batch, rounded to whole transitions; 1 draws only prior data.
    """

    def __init__(self, online: Sampler, prior: ReplayBuffer, fraction: float) -> None:
        self.online, self.prior, self.fraction = online, prior, fraction
        self.stored_fields, self.batch_fields = online.stored_fields, online.batch_fields

    def prior_count(self, batch_size: int) -> int:
        """Number of transitions in a batch that are prior data."""
        return round(self.fraction * batch_size)

    def reset(self, capacity: int) -> None:
        self.online.reset(capacity)

    def added(self, start: int, transitions: Transitions) -> None:
        self.online.added(start, transitions)

    def sample(self, storage: Storage, count: int, batch_size: int, rng: Generator) -> Batches:
        from_prior = self.prior_count(batch_size)
        if from_prior == batch_size:
            return self.prior.sample(count, batch_size, rng)
        online = self.online.sample(storage, count, batch_size - from_prior, rng)
        prior = self.prior.sample(count, from_prior, rng)
        return {name: _joined(values, prior[name]) for name, values in online.items()}

    def sample_uniform(self, storage: Storage, batch_size: int, rng: Generator) -> Batches:
        from_prior = self.prior_count(batch_size) if len(storage) else batch_size
        if from_prior == batch_size:
            return self.prior.sample_uniform(batch_size, rng)
        online = self.online.sample_uniform(storage, batch_size - from_prior, rng)
        prior = self.prior.sample_uniform(from_prior, rng) if from_prior else {}
        return {name: _joined(values, prior[name]) for name, values in online.items()} if prior else online


def _joined(first: Any, second: Any) -> Any:
    """Concatenate two parts (n, B, ...) of the same batches along the second axis."""
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second], axis=1)
    joined = first.new_empty((first.shape[0], first.shape[1] + second.shape[1], *first.shape[2:]))
    joined[:, : first.shape[1]], joined[:, first.shape[1] :] = first, second
    return joined
