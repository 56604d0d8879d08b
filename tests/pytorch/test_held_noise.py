"""Exploration noise that is held: its marginal, how long, per environment, and exact continuation."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from spinup.pytorch.held_noise import HeldNoise


def held(longest: int = 16, rows: int = 1, size: int = 2, seed: int = 0) -> HeldNoise:
    """Noise from a generator of its own."""
    return HeldNoise(np.random.default_rng(seed), longest, rows, size)


def test_times_are_those_of_the_truncated_zeta_distribution() -> None:
    noise, times = held(longest=4), np.zeros(5)
    last, length = None, 0
    for _ in range(60_000):
        row = noise.standard_normal((1, 2), np.float32)[0].tolist()
        if row != last and last is not None:
            times[length] += 1
            length = 0
        last, length = row, length + 1
    wanted = np.array([1, 1 / 4, 1 / 9, 1 / 16])
    count = times.sum()
    expected = count * wanted / wanted.sum()
    assert (
        ((times[1:] - expected) ** 2) / expected
    ).sum() < 16.3  # chi-square, 3 degrees of freedom, p = 0.001


def test_each_environment_has_its_own_times_and_the_noise_is_standard_normal() -> None:
    noise = held(rows=3)
    rows = np.stack([noise.standard_normal((3, 2), np.float32) for _ in range(20_000)])
    changes = (rows[1:] != rows[:-1]).all(-1)
    assert (changes[:, 0] != changes[:, 1]).mean() > 0
    assert (changes | (rows[1:] == rows[:-1]).all(-1)).all()  # a row changes as a whole
    assert rows.mean() == pytest.approx(0.0, abs=0.05)
    assert rows.std() == pytest.approx(1.0, abs=0.05)
    assert rows.dtype == np.float32


def test_a_longest_time_of_one_draws_anew_every_time() -> None:
    noise = held(longest=1)
    rows = [tuple(noise.standard_normal((1, 2), np.float32)[0]) for _ in range(100)]
    assert len(set(rows)) == 100


def test_state_continues_exactly() -> None:
    noise, other = held(rows=2), held(rows=2, seed=9)
    for _ in range(7):
        noise.standard_normal((2, 2), np.float32)
    other.load_state_dict(copy.deepcopy(noise.state_dict()))
    other.rng.bit_generator.state = noise.rng.bit_generator.state
    for _ in range(50):
        mine, theirs = (one.standard_normal((2, 2), np.float32) for one in (noise, other))
        assert np.array_equal(mine, theirs)
