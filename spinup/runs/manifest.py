"""What a checkpoint's files say, and whether they are whole. Nothing in them is ever run."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load

Float = NDArray[np.float32]
FORMAT, VERSION = "spinup checkpoint", 1
MAX_MANIFEST = 64 * 2**20  # bytes
NAME = re.compile(r"(?:manifest-(\d+)\.json|state-(\d+)\.safetensors|replay-(\d+)-\d+-\d+\.safetensors)")


class Segment(NamedTuple):
    """A file of replay rows."""

    start: int
    stop: int
    file: str


class Damaged(Exception):
    """A checkpoint that is not whole, or not ours; the message says what is wrong with it."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint that was found whole."""

    number: int
    state: dict[str, Any]
    settings: dict[str, Any]
    segments: list[Segment]
    files: dict[str, list[Any]]  # name: [bytes, sha256]


def read_manifest(path: Path, number: int) -> Checkpoint:
    """What a manifest says; its state still without arrays, its files unread.

    Raises:
        Damaged: it is not whole, not ours, or names files that cannot be ours.
    """
    try:
        outer = json.loads(_bytes(path, MAX_MANIFEST))
        body = outer["body"]
        if body["format"] != FORMAT or body["version"] != VERSION or body["number"] != number:
            raise Damaged(f"{path.name} is of another kind or version")
        if outer["sha256"] != checksum(canonical(body)):
            raise Damaged(f"{path.name} does not match its checksum")
        files = {str(name): [int(size), str(digest)] for name, (size, digest) in body["files"].items()}
        segments = [Segment(int(a), int(b), str(name)) for a, b, name in body["segments"]]
        state, settings = dict(body["state"]), dict(body["settings"])
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise Damaged(f"{path.name} is no manifest of ours") from None
    if any(NAME.fullmatch(name) is None for name in files) or any(s.file not in files for s in segments):
        raise Damaged(f"{path.name} names files that are not of a checkpoint")
    if any(a.stop != b.start for a, b in itertools.pairwise(segments)):
        raise Damaged(f"{path.name} lacks replay rows")
    return Checkpoint(number, state, settings, segments, files)


def newest_settings(folder: Path) -> dict[str, Any]:
    """The settings in the newest manifest that is whole; empty without one. The other files are not read."""
    for number in sorted({number_of(path.name) for path in folder.glob("manifest-*.json")}, reverse=True):
        with contextlib.suppress(Damaged):
            return read_manifest(folder / f"manifest-{number}.json", number).settings
    return {}


def read_arrays(folder: Path, name: str, files: dict[str, list[Any]]) -> dict[str, Any]:
    """The arrays of a file that a manifest names.

    Raises:
        Damaged: it is missing, no plain file, not what its checksum says, or no safetensors file.
    """
    size, digest = files.get(name, [0, ""])
    data = _bytes(folder / name, size)
    if len(data) != size or checksum(data) != digest:
        raise Damaged(f"{name} does not match its checksum")
    try:
        return dict(load(data))
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise Damaged(f"{name} is no safetensors file ({type(error).__name__})") from None


def read_rows(folder: Path, segment: Segment, files: dict[str, list[Any]]) -> Float:
    """The replay rows of a segment, (stop - start, width) float32.

    Raises:
        Damaged: see `read_arrays`; or it holds something else.
    """
    rows = read_arrays(folder, segment.file, files).get("rows")
    if (
        rows is None
        or rows.ndim != 2
        or len(rows) != segment.stop - segment.start
        or rows.dtype != np.float32
    ):
        raise Damaged(f"{segment.file} does not hold the rows it is named after")
    return np.asarray(rows)


def _bytes(path: Path, limit: int) -> bytes:
    """The content of a plain file of at most `limit` bytes."""
    try:
        if path.is_symlink() or not path.is_file():
            raise Damaged(f"{path.name} is {'missing' if not path.exists() else 'no plain file'}")
        if path.stat().st_size > limit:
            raise Damaged(f"{path.name} is larger than it can be")
        return path.read_bytes()
    except OSError as error:
        raise Damaged(f"{path.name} cannot be read ({error.strerror})") from None


def split(tree: Any, path: str, arrays: dict[str, Any]) -> Any:
    """The tree with each array moved to `arrays`, under its path."""
    if isinstance(tree, dict):
        return {key: split(value, f"{path}/{key}", arrays) for key, value in tree.items()}
    if isinstance(tree, (np.ndarray, np.generic)):
        name = f"{len(arrays)}{path}"
        arrays[name] = np.array(tree, order="C")
        return {"$array": name}
    return tree


def join(tree: Any, arrays: dict[str, Any]) -> Any:
    """What `split` took apart.

    Raises:
        Damaged: an array is missing.
    """
    if not isinstance(tree, dict):
        return tree
    if set(tree) == {"$array"}:
        if tree["$array"] not in arrays:
            raise Damaged(f"array {str(tree['$array'])[:80]!r} is missing")
        return arrays[tree["$array"]]
    return {key: join(value, arrays) for key, value in tree.items()}


def number_of(name: str) -> int:
    """The checkpoint's number in a file name, 0 in the name of a file that is not ours."""
    match = NAME.fullmatch(name)
    return int(next(filter(None, match.groups()))) if match else 0


def canonical(body: Any) -> bytes:
    """The bytes that a manifest's checksum is of."""
    return json.dumps(body, sort_keys=True).encode()


def checksum(data: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
