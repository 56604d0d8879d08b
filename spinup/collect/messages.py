"""Messages between learner and collectors: a JSON header and array buffers in one bytes object.

The format is safetensors, with the header in its metadata. Reading a message executes no code from it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

_ARRAY = "$array"


class MessageError(ValueError):
    """Bytes that are not a message."""


def pack(tree: dict[str, Any]) -> bytes:
    """Serialize a tree to a message.

    Args:
        tree: nested dicts with string keys, and lists, of arrays, numbers, strings and None.

    Raises:
        TypeError: if the tree holds any other object.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    arrays: dict[str, Any] = {}
    header = json.dumps(_without_arrays(tree, arrays))
    try:
        return bytes(save(arrays, {"header": header}))
    except SafetensorError as error:
        raise TypeError(f"an array is not one of numbers: {error}") from None


def unpack(data: bytes) -> dict[str, Any]:
    """The tree in a message; its arrays may be read-only.

    Raises:
        MessageError: if `data` is not a message as `pack` returns it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(data)
        outer = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        tree = _with_arrays(json.loads(outer["__metadata__"]["header"]), arrays)
    except (SafetensorError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise MessageError(f"{type(error).__name__}: {error}") from None
    if not isinstance(tree, dict):
        raise MessageError(f"it holds a {type(tree).__name__}")
    return tree


def _without_arrays(tree: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(tree, np.ndarray):
        name = str(len(arrays))
        arrays[name] = np.ascontiguousarray(tree).reshape(tree.shape)
        return {_ARRAY: name}
    if isinstance(tree, np.generic):
        return tree.item()
    if isinstance(tree, dict):
        return {key: _without_arrays(value, arrays) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_without_arrays(value, arrays) for value in tree]
    return tree


def _with_arrays(tree: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(tree, dict):
        if set(tree) == {_ARRAY}:
            return arrays[tree[_ARRAY]]
        return {key: _with_arrays(value, arrays) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_with_arrays(value, arrays) for value in tree]
    return tree
