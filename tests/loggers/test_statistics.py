"""RunningStats against NumPy."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinup.loggers.statistics import RunningStats

NUMBERS = st.floats(-1e6, 1e6, width=64)
CHUNKS = st.lists(st.lists(NUMBERS, max_size=8), min_size=1, max_size=8)


def merged(chunks):
    stats = RunningStats()
    for chunk in chunks:
        stats.add(chunk)
    return stats


@given(CHUNKS)
def test_matches_numpy(chunks):
    x = np.array([v for chunk in chunks for v in chunk])
    stats = merged(chunks)
    if x.size == 0:
        assert all(math.isnan(v) for v in stats.summary())
        return
    assert stats.count == x.size
    scale = max(1.0, np.abs(x).max())
    assert stats.mean == pytest.approx(x.mean(), abs=1e-12 * scale)
    assert stats.std == pytest.approx(x.std(), abs=1e-7 * scale)
    assert (stats.min, stats.max) == (x.min(), x.max())


def test_std_is_accurate_with_a_large_offset():
    values = 1e9 + np.array([0.0, 1.0, 2.0, 3.0])
    stats = merged([[v] for v in values])
    assert stats.std == pytest.approx(math.sqrt(1.25), rel=1e-6)


def test_std_is_the_population_std():
    assert merged([[1.0], [3.0]]).std == 1.0


def test_scalars_and_arrays_of_any_shape():
    stats = RunningStats()
    stats.add(1)
    stats.add(np.array([[2.0, 3.0], [4.0, 5.0]], dtype=np.float32))
    stats.add(np.float32(6.0))
    stats.add([])
    assert (stats.count, stats.mean, stats.min, stats.max) == (6, 3.5, 1.0, 6.0)


@given(CHUNKS, CHUNKS)
def test_state_restores_bit_identically(before, after):
    reference = merged(before)
    restored = RunningStats.from_state(json.loads(json.dumps(reference.state(), allow_nan=False)))
    for chunk in after:
        reference.add(chunk)
        restored.add(chunk)
    assert reference.state() == restored.state()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nonfinite_values_propagate_without_an_error(bad):
    stats = merged([[1.0, 2.0], [bad], [3.0, bad]])
    assert not math.isfinite(stats.mean)
    assert not math.isfinite(stats.std)


def test_min_and_max_propagate_nan():
    for chunks in ([[math.nan], [1.0]], [[1.0], [math.nan]]):
        stats = merged(chunks)
        assert math.isnan(stats.min)
        assert math.isnan(stats.max)
