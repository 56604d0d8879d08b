"""Streams of random numbers: no two uses of a run's seed share a generator."""

from __future__ import annotations

import numpy as np

from spinup import seeding


def test_streams_are_distinct() -> None:
    streams = {name: value for name, value in vars(seeding).items() if name.endswith("_STREAM")}
    assert len(set(streams.values())) == len(streams) == 7
    first = [
        seeding.generator(3, stream, *part).random() for stream in streams.values() for part in ((), (1,))
    ]
    first += [seeding.generator(4, seeding.LOOP_STREAM).random()]
    assert len(set(first)) == len(first)


def test_a_generator_is_numpys_of_these_numbers() -> None:
    """Checkpoints and stored results depend on it."""
    wanted = np.random.default_rng(np.random.SeedSequence([7, 5, 2])).bit_generator.state
    assert seeding.generator(7, 5, 2).bit_generator.state == wanted
    sequence = np.random.SeedSequence([7, 1, 0, 4])
    assert seeding.episode_seed(7, seeding.TRAIN_STREAM, 0, 4) == int(sequence.generate_state(1)[0])
