"""Atomic and append-only file writing, and JSON."""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from spinup.config import nearest
from spinup.errors import RunError


def atomic_write(path: str | Path, data: bytes) -> None:
    """Write a file atomically: after a crash, it has either its old or its new content.

    Raises:
        OSError: if it cannot be written, for instance because the disk is full; the old content is kept.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    # Syncing the folder makes the rename durable; not every platform can.
    with contextlib.suppress(OSError):
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class AppendedFile:
    """A file that is appended to in chunks; a chunk that cannot be written is kept in memory.

    Attributes:
        path: the file, created by the first chunk.
        position: the length of the completely written chunks, in bytes.
        pending: chunks not yet written, oldest first.
    """

    def __init__(self, path: Path, position: int = 0) -> None:
        self.path = path
        self.position = position
        self.pending: list[bytes] = []

    def append(self, data: bytes) -> OSError | None:
        """Write the pending chunks, then this one; see `flush`."""
        self.pending.append(data)
        return self.flush()

    def flush(self) -> OSError | None:
        """Write the pending chunks; on failure, restore the last complete chunk and return the error."""
        try:
            while self.pending:
                self._write(self.pending[0])
                self.position += len(self.pending.pop(0))
        except OSError as error:
            return error
        return None

    def truncate(self, position: int) -> None:
        """Truncate the file to `position`, or keep its length if that is shorter."""
        if self.path.exists():
            position = min(position, self.path.stat().st_size)
            os.truncate(self.path, position)
            self.position = position
        else:
            self.position = 0

    def complete_lines(self) -> list[str]:
        """The complete lines of the file, which is truncated after the last of them."""
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        self.truncate(data.rfind(b"\n") + 1)
        return data.decode("utf-8", "replace").split("\n")[:-1]

    def _write(self, data: bytes) -> None:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            # The file is shorter only if another process truncated it.
            self.position = min(self.position, os.fstat(handle).st_size)
            _write_all(handle, data, self.position)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, self.position)
            raise
        finally:
            os.close(handle)


def _write_all(handle: int, data: bytes, position: int) -> None:
    """Write all bytes at `position` and sync the file to disk."""
    os.lseek(handle, position, os.SEEK_SET)
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems have no fsync
            raise


def to_json(value: Any, *, strict: bool = False) -> Any:
    """Convert a value to one that JSON can represent.

    Numbers, strings, None, lists, tuples, dicts, arrays and tensors keep their content; nan and inf become
    strings, which JSON lacks. Unless `strict`, classes and functions become their qualified names, and all
    other values their repr.

    Raises:
        TypeError: if `strict`, for a value that JSON cannot represent.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, np.inexact):  # item() of a longdouble returns a longdouble
        plain = complex if isinstance(value, np.complexfloating) else float
        return to_json(plain(value), strict=strict)
    if isinstance(value, np.generic):
        return to_json(value.item(), strict=strict)
    if hasattr(value, "tolist") and not isinstance(value, type):  # arrays and tensors, but not their classes
        return to_json(value.tolist(), strict=strict)
    if isinstance(value, dict):
        return {str(key): to_json(item, strict=strict) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(item, strict=strict) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if strict:
        raise TypeError(f"{type(value).__name__} is not data")
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return repr(value)


def jsonable_entries(state: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The entries that JSON can represent, converted, and the names of the others."""
    kept, skipped = {}, []
    for key, value in state.items():
        try:
            kept[key] = to_json(value, strict=True)
        except TypeError:
            skipped.append(key)
    return kept, skipped


def write_json(path: str | Path, value: Any) -> None:
    """Write a value (see `to_json`) as an indented JSON file, atomically."""
    text = json.dumps(to_json(value), indent=2, allow_nan=False, ensure_ascii=False)
    atomic_write(path, text.encode("utf-8", "backslashreplace") + b"\n")


def read_json(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        RunError: if the file is missing, or is not a JSON object.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read as JSON"
        raise RunError(f"{path} {reason}: was it written by a run that saved its state?") from None
    if not isinstance(value, dict):
        raise RunError(f"{path} is not a JSON object: was it written by a run that saved its state?")
    return value


def existing_dir(path: str | Path) -> Path:
    """The path of an existing folder.

    Raises:
        RunError: if it is none, naming the closest sibling folder.
    """
    path = Path(path)
    if path.is_dir():
        return path
    siblings = [str(p) for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    what = "is not a folder" if path.exists() else "does not exist"
    raise RunError(f"{path} {what}{nearest(str(path), siblings) or ': give the folder of a run'}")
