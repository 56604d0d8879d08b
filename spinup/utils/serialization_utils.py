"""Conversion to JSON, under the import path of Spinning Up."""

from typing import Any

from spinup.files import jsonable_entries
from spinup.files import to_json as convert_json

__all__ = ["convert_json", "is_json_serializable"]


def is_json_serializable(v: Any) -> bool:
    """Whether JSON can represent a value; arrays and tensors count as lists."""
    return not jsonable_entries({"v": v})[1]
