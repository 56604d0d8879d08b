"""Reads and validates the manifest and the array files of a checkpoint, without executing code from them."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from spinup.errors import RunError
from spinup.files import MAX_ARRAYS_BYTES, load_json, open_regular
from spinup.replay.transition import Transitions

FORMAT, VERSION = "spinup checkpoint", 2
MAX_DEPTH = 100  # maximum nesting of dicts in a state
FILE_NAME = re.compile(r"(?:manifest-(\d+)\.json|state-(\d+)\.safetensors|replay-(\d+)-\d+-\d+\.safetensors)")


class Segment(NamedTuple):
    """A file with the replay rows numbered start to stop - 1."""

    start: int
    stop: int
    file: str


class CheckpointError(Exception):
    """A checkpoint that is damaged, was not written by a run, or does not fit it; the message says why."""


class OldVersionError(CheckpointError):
    """A checkpoint written by spinup 0.1.0."""


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint."""

    number: int
    state: dict[str, Any]
    settings: dict[str, Any]
    segments: list[Segment]
    files: dict[str, list[Any]]  # name: [bytes, sha256]


def read_manifest(path: Path, number: int) -> Checkpoint:
    """Read a manifest. No other file is read, so the state has placeholders for arrays.

    Raises:
        OldVersionError: if spinup 0.1.0 wrote it.
        CheckpointError: if it is damaged, has another format, or names files that are not of a checkpoint.
    """
    try:
        outer = load_json(path, links=False)
        body = outer["body"]
        if body["format"] != FORMAT or body["version"] not in (1, VERSION) or body["number"] != number:
            raise CheckpointError(f"{path.name} has another format, version or number")
        if outer["sha256"] != checksum(canonical_json(body)):
            raise CheckpointError(f"{path.name} does not match its checksum")
        if body["version"] == 1:
            raise OldVersionError(
                "it was written by spinup 0.1.0, whose checkpoints this version does not read: finish the "
                "run with spinup 0.1.0, or start a new run; its model.pt still loads"
            )
        files = {str(name): [int(size), str(digest)] for name, (size, digest) in body["files"].items()}
        segments = [Segment(int(a), int(b), str(name)) for a, b, name in body["segments"]]
        state, settings = dict(body["state"]), dict(body["settings"])
    except RunError as error:
        raise CheckpointError(str(error)) from None
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise CheckpointError(f"{path.name} is not a valid manifest") from None
    if any(FILE_NAME.fullmatch(name) is None for name in files) or any(s.file not in files for s in segments):
        raise CheckpointError(f"{path.name} names files that do not belong to a checkpoint")
    if any(not 0 <= s.start < s.stop for s in segments) or any(
        a.stop != b.start for a, b in itertools.pairwise(segments)
    ):
        raise CheckpointError(f"{path.name} has a gap in its replay rows")
    return Checkpoint(number, state, settings, segments, files)


def newest_settings(folder: Path) -> dict[str, Any]:
    """The settings in the newest valid manifest, or an empty dict; see `newest_manifest`."""
    newest = newest_manifest(folder)
    return {} if newest is None else newest.settings


def newest_manifest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint whose manifest is valid, or None; array files are not read.

    Raises:
        RunError: if spinup 0.1.0 wrote it.
    """
    numbers = {checkpoint_number(path.name) for path in folder.glob("manifest-*.json")}
    for number in sorted(numbers, reverse=True):
        try:
            return read_manifest(folder / f"manifest-{number}.json", number)
        except OldVersionError as error:
            raise RunError(f"{folder.parent} cannot be resumed from checkpoint {number}: {error}") from None
        except CheckpointError:
            continue
    return None


def read_arrays(folder: Path, name: str, files: dict[str, list[Any]]) -> dict[str, Any]:
    """The arrays in a file that a manifest names.

    Raises:
        CheckpointError: if the file is missing, not a regular file, does not match its checksum, or is not
            in safetensors format.
    """
    try:
        with open_regular(folder / name, MAX_ARRAYS_BYTES, links=False) as file:
            # Size and checksum come first, since they need no memory.
            found = [os.fstat(file.fileno()).st_size, hashlib.file_digest(file, "sha256").hexdigest()]
            if found != files.get(name):
                raise CheckpointError(f"{name} does not match its checksum")
            file.seek(0)
            return dict(load(file.read()))
    except (RunError, OSError) as error:
        raise CheckpointError(str(error)) from None
    except (SafetensorError, ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise CheckpointError(f"{name} is not a safetensors file ({type(error).__name__})") from None


def read_segment(folder: Path, segment: Segment, files: dict[str, list[Any]]) -> Transitions:
    """The replay rows of a segment: arrays (stop - start, *shape) by field.

    Raises:
        CheckpointError: see `read_arrays`; also if the number of rows is wrong.
    """
    fields = read_arrays(folder, segment.file, files)
    if not fields or any(array.shape[:1] != (segment.stop - segment.start,) for array in fields.values()):
        raise CheckpointError(f"{segment.file} does not hold the rows that its name gives")
    return fields


def extract_arrays(tree: Any, path: str, arrays: dict[str, Any], depth: int = 0) -> Any:
    """A copy of a state tree in which each array is moved to `arrays` and replaced by its name there.

    Raises:
        TypeError: if dicts are nested more deeply than `insert_arrays` accepts.
    """
    if isinstance(tree, dict):
        if depth > MAX_DEPTH:
            raise TypeError(f"dicts are nested more than {MAX_DEPTH} deep")
        return {key: extract_arrays(value, f"{path}/{key}", arrays, depth + 1) for key, value in tree.items()}
    if isinstance(tree, (np.ndarray, np.generic)):
        name = f"{len(arrays)}{path}"
        arrays[name] = np.array(tree, order="C")
        return {"$array": name}
    return tree


def insert_arrays(tree: Any, arrays: dict[str, Any], depth: int = 0) -> Any:
    """The inverse of `extract_arrays`.

    Raises:
        CheckpointError: if an array is missing, or dicts are nested too deeply.
    """
    if not isinstance(tree, dict):
        return tree
    if depth > MAX_DEPTH:
        raise CheckpointError(f"its state is nested more than {MAX_DEPTH} deep")
    if set(tree) == {"$array"}:
        name = str(tree["$array"])
        if name not in arrays:
            raise CheckpointError(f"array {name[:80]!r} is missing")
        return arrays[name]
    return {key: insert_arrays(value, arrays, depth + 1) for key, value in tree.items()}


def checkpoint_number(name: str) -> int:
    """The checkpoint's number in a file name; 0 if the name is not that of a checkpoint file."""
    match = FILE_NAME.fullmatch(name)
    return int(next(filter(None, match.groups()))) if match else 0


def canonical_json(body: Any) -> bytes:
    """The bytes over which a manifest's checksum is computed."""
    return json.dumps(body, sort_keys=True).encode()


def checksum(data: bytes) -> str:
    """SHA-256, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()
