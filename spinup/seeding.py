"""Random generators of a run: each is seeded from the run's seed and the number of its stream."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator, SeedSequence

LOOP_STREAM = 0  # random actions, batches, and the noise of losses
TRAIN_STREAM = 1  # seeds of training episodes
TEST_STREAM = 2  # seeds of test episodes
ACT_STREAM = 3  # exploration noise
REMOTE_STREAM = 5  # random actions and exploration noise of remote collectors
OF_EPOCH_STREAM, OF_TEST_STREAM = 6, 7  # diagnostics


def generator(*numbers: int) -> Generator:
    """A generator whose state is a hash of the numbers >= 0: a seed, a stream, and what identifies a part."""
    return np.random.default_rng(SeedSequence(numbers))


def episode_seed(seed: int, stream: int, env: int, episode: int) -> int:
    """The seed of one episode, a hash of the arguments."""
    return int(SeedSequence([seed, stream, env, episode]).generate_state(1)[0])
