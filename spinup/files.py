"""Files of a run: written whole or not at all, and read as data only."""

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
    """Write a file so that a reader, or a crash, finds the old content or the new, never a part.

    Raises:
        OSError: nothing was changed (the disk is full, say).
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.tmp")
    try:
        with staged.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(staged, path)
    except BaseException:
        with contextlib.suppress(OSError):
            staged.unlink()
        raise
    with contextlib.suppress(
        OSError
    ):  # the rename itself lasts once the folder is on disk, where folders can be
        handle = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class AppendedFile:
    """A file that grows by whole pieces; a piece that cannot be written waits in memory.

    Attributes:
        path: the file; it is created by the first piece.
        position: bytes that are known to be whole.
        pending: pieces not yet on disk, oldest first.
    """

    def __init__(self, path: Path, position: int = 0) -> None:
        self.path = path
        self.position = position
        self.pending: list[bytes] = []

    def append(self, data: bytes) -> OSError | None:
        """Write the pieces that wait, then this one; a failure leaves the file at its last whole piece."""
        self.pending.append(data)
        return self.flush()

    def flush(self) -> OSError | None:
        """Write the pieces that wait; the error that stopped it, or None."""
        try:
            while self.pending:
                self._write(self.pending[0])
                self.position += len(self.pending.pop(0))
        except OSError as error:
            return error
        return None

    def truncate(self, position: int) -> None:
        """Cut the file back to `position`, or to its own length where that is less."""
        if self.path.exists():
            position = min(position, self.path.stat().st_size)
            os.truncate(self.path, position)
            self.position = position
        else:
            self.position = 0

    def whole_lines(self) -> list[str]:
        """The lines of the file, which is cut after the last whole one."""
        if not self.path.exists():
            return []
        data = self.path.read_bytes()
        self.truncate(data.rfind(b"\n") + 1)
        return data.decode("utf-8", "replace").split("\n")[:-1]

    def _write(self, data: bytes) -> None:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        try:
            self.position = min(self.position, os.fstat(handle).st_size)  # less only if somebody cut it
            write_all(handle, data, self.position)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, self.position)
            raise
        finally:
            os.close(handle)


def write_all(handle: int, data: bytes, position: int) -> None:
    """Write every byte at `position` and flush to the disk."""
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
    """The value as what JSON can hold.

    Numbers, strings, None, lists, tuples, dicts, arrays and tensors become themselves; nan and inf
    become strings, because JSON has no word for them. Classes and functions become their qualified names and
    all else its repr, unless `strict`.

    Raises:
        TypeError: if `strict`, for a value that JSON cannot hold.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, np.inexact):  # what item() makes of a longdouble is one again
        plain = complex if isinstance(value, np.complexfloating) else float
        return to_json(plain(value), strict=strict)
    if isinstance(value, np.generic):
        return to_json(value.item(), strict=strict)
    if hasattr(value, "tolist") and not isinstance(value, type):  # arrays and tensors, not their classes
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
    """The entries that JSON can hold, made so, and the names of the others."""
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
    """The object in a JSON file.

    Raises:
        RunError: if the file is missing or damaged.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else "cannot be read as JSON"
        raise RunError(f"{path} {reason}: was it written by a run that saved its state?") from None
    if not isinstance(value, dict):
        raise RunError(f"{path} holds no JSON object: was it written by a run that saved its state?")
    return value


def existing_dir(path: str | Path) -> Path:
    """The path, if it is a folder.

    Raises:
        RunError: naming the path and the nearest folder beside it.
    """
    path = Path(path)
    if path.is_dir():
        return path
    siblings = [str(p) for p in path.parent.iterdir() if p.is_dir()] if path.parent.is_dir() else []
    what = "is not a folder" if path.exists() else "does not exist"
    raise RunError(f"{path} {what}{nearest(str(path), siblings) or ': give the folder of a run'}")
