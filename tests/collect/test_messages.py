"""Messages: what is packed comes back, and bytes that are no message raise."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from spinup.collect.messages import MessageError, pack, unpack

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**130), 2**130),
    st.floats(allow_nan=False),
    st.text(),
    arrays.arrays(
        st.sampled_from(["float32", "float64", "int32", "int64", "bool", "uint8"]),
        arrays.array_shapes(min_dims=0, min_side=0, max_side=4),
    ),
)
NAMES = st.text(min_size=1).filter(lambda name: name != "$array")
TREES = st.dictionaries(
    NAMES, st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner), max_leaves=8)
)


def assert_equal(a: Any, b: Any) -> None:
    """The same tree, arrays with dtype and shape."""
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()
        assert a.shape == b.shape
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    else:
        assert a == b


@given(TREES)
@settings(max_examples=20)
def test_what_is_packed_comes_back(tree: dict[str, Any]) -> None:
    assert_equal(unpack(pack(tree)), tree)


def test_views_and_numpy_numbers_are_packed_by_value() -> None:
    array = np.arange(12.0).reshape(3, 4)
    tree = unpack(pack({"view": array[:, ::2].T, "number": np.float32(0.5), "pair": (1, np.int64(2))}))
    assert np.array_equal(tree["view"], array[:, ::2].T)
    assert (tree["number"], tree["pair"]) == (0.5, [1, 2])


@pytest.mark.parametrize("bad", [object(), {1, 2}, b"bytes", np.array(["text"])])
def test_what_is_not_data_cannot_be_packed(bad: Any) -> None:
    with pytest.raises(TypeError):
        pack({"bad": bad})


@given(st.binary(max_size=200) | st.binary(max_size=50).map(lambda b: pack({"a": 1})[:-1] + b))
def test_other_bytes_are_refused(data: bytes) -> None:
    if data != pack({"a": 1}):
        with pytest.raises(MessageError):
            unpack(data)


def test_a_pickle_is_refused() -> None:
    with pytest.raises(MessageError):
        unpack(pickle.dumps({"kind": "hello"}))
