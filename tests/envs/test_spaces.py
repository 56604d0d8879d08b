"""Spaces: flattening, sampling and conversion of actions, and one-line errors for unsupported spaces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Sequence, Text, Tuple
from hypothesis import given
from hypothesis import strategies as st

from spinup.envs.spaces import action_spec, flat_observation_space
from spinup.errors import EnvError

NESTED = Dict(a=Box(-1, 1, (2, 3)), b=Tuple((Discrete(4), MultiBinary(2))), c=MultiDiscrete([2, 3]))
OBSERVATIONS = [
    (Box(-1, 1, (5,)), 5),
    (Box(-np.inf, np.inf, (2, 3), np.float64), 6),
    (Box(-1, 1, ()), 1),
    (Box(0, 255, (7,), np.uint8), 7),
    (Discrete(4, start=-1), 4),
    (MultiBinary(3), 3),
    (NESTED, 6 + 4 + 2 + 5),
]


@pytest.mark.parametrize(("space", "size"), OBSERVATIONS)
def test_observation_spaces_become_flat_float32(space: Any, size: int) -> None:
    flat = flat_observation_space(space)
    assert flat.shape == (size,)
    assert flat.dtype == np.float32


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (Box(0, 255, (8, 8, 3), np.uint8), "is an image"),
        (Dict(a=Box(0, 255, (8, 8), np.uint8)), "is an image"),
        (Tuple((Discrete(2), Box(0, 255, (8, 8), np.uint8))), "is an image"),
        (Sequence(Discrete(2)), "cannot be flattened"),
        (Dict(a=Sequence(Discrete(2))), "cannot be flattened"),
        (Box(-1, 1, (0,)), "is empty"),
    ],
)
def test_unsupported_observation_spaces_raise(space: Any, words: str) -> None:
    with pytest.raises(EnvError, match=rf"^observation space [^\n]*{words}[^\n]*$"):
        flat_observation_space(space)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (Box(-np.inf, np.inf, (2,)), "not bounded"),
        (Box(0, np.inf, (2,)), "not bounded"),
        (Box(np.array([-1.0, -np.inf]), np.array([1.0, 1.0]), dtype=np.float64), "not bounded"),
        (Box(-1e300, 1e300, (1,), np.float64), "beyond 1e"),
        (
            Box(np.finfo(np.float32).min, np.finfo(np.float32).max, (1,)),
            "beyond 1e\\+09, which float32 cannot",
        ),
        (Box(0, 5, (1,), np.int64), "dtype int64: SAC needs a Box of floats; give it dtype=np.float32"),
        (Box(np.array([0.0, 1.0]), np.array([1.0, 1.0]), dtype=np.float64), "low >= high"),
        (Box(-1, 1, (0,)), "is empty"),
        (MultiDiscrete([100, 100]), "has 10,000 combinations, .*: wrap the environment .* at most 4,096"),
        (MultiBinary(13), "has 8,192 combinations"),
        (Text(3), "not supported"),
    ],
)
def test_unsupported_action_spaces_raise(space: Any, words: str) -> None:
    with pytest.raises(EnvError, match=rf"^action space [^\n]*{words}[^\n]*$"):
        action_spec(space)


bounds = st.lists(
    st.tuples(st.floats(-1e6, 1e6, width=32), st.floats(2**-10, 1e6, width=32)), min_size=1, max_size=4
)


@given(bounds=bounds)
def test_random_actions_stay_within_asymmetric_bounds_and_fill_them(bounds: Any) -> None:
    low = np.array([b[0] for b in bounds], np.float32)
    high = (low + np.array([b[1] for b in bounds])).astype(np.float32)
    if not (low < high).all():
        return
    spec = action_spec(Box(low, high))
    actions = spec.sample(np.random.default_rng(0), 400)
    assert actions.dtype == np.float32
    assert ((actions >= low) & (actions <= high)).all()
    unit = (actions - low.astype(np.float64)) / (high.astype(np.float64) - low)
    assert (unit.min(0) < 0.05).all()
    assert (unit.max(0) > 0.95).all()
    assert (spec.to_env(actions) == actions).all()


def test_actions_take_the_shape_dtype_and_bounds_of_the_env() -> None:
    space = Box(np.array([[-1.0, 0.1], [0.0, 5.0]]), np.array([[1.0, 0.3], [2.0, 9.0]]), dtype=np.float64)
    spec = action_spec(space)
    assert spec.dim == 4
    assert spec.space.shape == (4,)
    rows = np.array([[-2, 0.1, 1, 5], [1, 0.3, 9, 9]], np.float32)
    actions = spec.to_env(rows)
    assert (actions.shape, actions.dtype) == ((2, 2, 2), np.float64)
    assert all(space.contains(a) for a in actions)  # 0.3 in float32 lies above 0.3 in float64
    assert actions[0, 0, 0] == -1.0
    assert actions[1, 1, 0] == 2.0


def test_a_scalar_action_space() -> None:
    spec = action_spec(Box(-2, 3, ()))
    assert spec.to_env(np.array([[0.5], [4.0]], np.float32)).tolist() == [0.5, 3.0]


@pytest.mark.parametrize(
    ("space", "given", "wanted"),
    [
        (
            Box(np.array([-1, 2], np.float32), np.array([1, 5], np.float32)),
            [[-3, 9], [0.5, 3]],
            [[-1, 5], [0.5, 3]],
        ),
        (Discrete(3, start=5), [[-1], [2], [7]], [[0], [2], [2]]),
        (MultiDiscrete([2, 3]), [[-1], [2], [7]], [[0], [2], [5]]),
    ],
)
def test_actions_are_clipped_to_the_space_in_a_copy(space: Any, given: Any, wanted: Any) -> None:
    actions = np.array(given, np.float32)
    actions.flags.writeable = False
    clipped = action_spec(space).clip(actions)
    assert clipped.tolist() == wanted
    assert clipped.dtype == np.float32
    assert clipped.flags.writeable
    assert actions.tolist() == given


def test_discrete_actions_are_stored_from_zero_and_passed_to_the_env_from_start() -> None:
    spec = action_spec(Discrete(3, start=5))
    actions = spec.sample(np.random.default_rng(0), 100)
    assert set(actions.ravel().tolist()) == {0.0, 1.0, 2.0}
    assert set(spec.to_env(actions).tolist()) == {5, 6, 7}
    assert spec.to_env(actions).dtype == np.int64


@pytest.mark.parametrize(
    "space",
    [
        Box(np.array([[-1.0, 0.1], [0.0, 5.0]]), np.array([[1.0, 0.3], [2.0, 9.0]]), dtype=np.float64),
        Discrete(3, start=5),
        MultiDiscrete([2, 3, 4], start=[0, 5, -1]),
        MultiDiscrete([[2, 1], [3, 2]], dtype=np.int32),
        MultiBinary(4),
        MultiBinary((2, 3)),
    ],
)
def test_actions_of_the_env_and_stored_actions_are_converted_both_ways(space: Any) -> None:
    spec = action_spec(space)
    stored = spec.sample(np.random.default_rng(0), 300)
    assert stored.shape == (300, spec.dim)
    actions = spec.to_env(stored)
    assert all(space.contains(action) for action in actions)
    back = spec.from_env(actions)
    assert back.dtype == np.float32
    np.testing.assert_allclose(back, stored, rtol=1e-6)


def test_every_combination_of_several_discrete_actions_has_one_index() -> None:
    spec = action_spec(MultiDiscrete([2, 3], start=[0, 5]))
    assert spec.space == Discrete(6)
    combinations = spec.to_env(np.arange(6, dtype=np.float32)[:, None]).tolist()
    assert combinations == [[0, 5], [0, 6], [0, 7], [1, 5], [1, 6], [1, 7]]
    assert action_spec(MultiBinary(2)).to_env(np.array([[2.0]], np.float32)).tolist() == [[1, 0]]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_discrete_actions_have_the_dtype_of_their_space(dtype: Any) -> None:
    space = Discrete(3, start=5, dtype=dtype)
    actions = action_spec(space).to_env(np.array([[0.0], [2.0]], np.float32))
    assert actions.tolist() == [5, 7]
    assert all(space.contains(action) for action in actions)
