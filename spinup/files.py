"""Reading of regular files of bounded size, atomic and append-only writing, and JSON."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import math
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np

from spinup.errors import RunError
from spinup.hints import nearest

# Limits far above what runs write. They bound the memory and time that a damaged or hostile file takes.
MAX_JSON_BYTES, MAX_JSON_CONTAINERS = 16 * 2**20, 100_000  # number of lists and objects; small ones cost most
MAX_TABLE_BYTES = 64 * 2**20
MAX_ARRAYS_BYTES = 16 * 2**30
# Opening a FIFO without O_NONBLOCK waits for another process; Windows has neither FIFOs nor these flags.
_NO_WAIT, _NO_LINK = getattr(os, "O_NONBLOCK", 0), getattr(os, "O_NOFOLLOW", 0)
_BINARY = getattr(os, "O_BINARY", 0)


def open_regular(path: str | Path, limit: int, *, links: bool = True) -> io.BufferedReader:
    """Open a regular file for reading.

    Args:
        path: the file.
        limit: maximum size of the file, in bytes.
        links: whether `path` may be a symbolic link to a regular file.

    Raises:
        RunError: if it is missing, too large, not a regular file (but a folder, FIFO or device), or cannot be
            read; the message names no remedy.
    """
    if not links and os.path.islink(path):
        raise RunError(f"{path} is a link")
    try:
        handle = os.open(path, os.O_RDONLY | _BINARY | _NO_WAIT)
    except FileNotFoundError:
        raise RunError(f"{path} is missing") from None
    except (OSError, ValueError) as error:  # ValueError for a null byte in the path
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"{path} cannot be read ({reason})") from None
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode) and status.st_size <= limit:
        return os.fdopen(handle, "rb")
    os.close(handle)
    if not stat.S_ISREG(status.st_mode):
        raise RunError(f"{path} is not a regular file")
    raise RunError(f"{path} has {status.st_size / 2**20:,.0f} MiB, which is more than a run writes there")


def read_regular(path: str | Path, limit: int, *, links: bool = True) -> bytes:
    """The content of a regular file; see `open_regular`.

    Raises:
        RunError: see `open_regular`.
    """
    with open_regular(path, limit, links=links) as file:
        return file.read(limit)  # not more if the file grows


def atomic_write(path: str | Path, data: bytes) -> None:
    """Write a file atomically: after a crash, it has either its old or its new content.

    Raises:
        OSError: if it cannot be written, for instance because the disk is full; the old content is kept.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        # Exclusive creation: opening an existing file would follow a link, or wait at a FIFO.
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:
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

    def complete_lines(self) -> tuple[str, int]:
        """The first line and the number of complete lines; truncates the file after the last of them.

        Raises:
            RunError: if it is not a regular file, or too large.
        """
        if not os.path.lexists(self.path):
            return "", 0
        data = read_regular(self.path, MAX_TABLE_BYTES, links=False)
        self.truncate(data.rfind(b"\n") + 1)
        return data.partition(b"\n")[0].decode("utf-8", "replace"), data.count(b"\n")

    def _write(self, data: bytes) -> None:
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT | _BINARY | _NO_WAIT | _NO_LINK, 0o666)
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

    Numbers, strings, None, lists, tuples, dicts, arrays and tensors keep their content; nan and inf, which
    JSON lacks, and paths become strings. Unless `strict`, classes and functions become their qualified names,
    and all other values their repr.

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


def excess_of_json(data: bytes) -> str:
    """The limit of `load_json` that this JSON text exceeds, as text; an empty string if none."""
    if len(data) > MAX_JSON_BYTES:
        return f"{len(data) / 2**20:,.0f} MiB of numbers and text"
    containers = data.count(b"[") + data.count(b"{")
    return f"{containers} lists and objects" if containers > MAX_JSON_CONTAINERS else ""


def load_json(path: str | Path, *, links: bool = True) -> Any:
    """The value in a JSON file of bounded size.

    Raises:
        RunError: if the file cannot be read (see `open_regular`), is not JSON, or exceeds a limit.
    """
    data = read_regular(path, MAX_JSON_BYTES, links=links)
    if excess := excess_of_json(data):
        raise RunError(f"{path} has {excess}, which is more than a run writes there")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise RunError(f"{path} cannot be read as JSON") from None


def read_json(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        RunError: if the file cannot be read (see `load_json`), or is not a JSON object.
    """
    try:
        value = load_json(path)
        if isinstance(value, dict):
            return value
        reason = f"{path} is not a JSON object"
    except RunError as error:
        reason = str(error)
    raise RunError(f"{reason}: was it written by a run that saved its state?")


def existing_dir(path: str | Path) -> Path:
    """The path of an existing folder.

    Raises:
        RunError: if it is not an existing folder; the message names the run that contains the path, or else
            the folder beside it with the closest name.
    """
    path = Path(path)
    if os.path.isdir(path):  # unlike Path.is_dir, False for a name that is too long
        return path
    if (run := enclosing_run(path)) and os.path.exists(path):
        raise RunError(f"{path} is not a folder, did you mean {str(run)!r}?")
    siblings = []
    with contextlib.suppress(OSError):  # a parent that does not exist or cannot be read
        siblings = [str(p) for p in path.parent.iterdir() if p.is_dir()]
    what = "is not a folder" if os.path.exists(path) else "does not exist"
    raise RunError(f"{path} {what}{nearest(str(path), siblings) or ': give the folder of a run'}")


def enclosing_run(path: str | Path) -> Path | None:
    """The folder of the run that contains `path`, at most two levels above it; None if there is none."""
    parents = Path(path).parents[:2]
    return next((folder for folder in parents if os.path.isfile(folder / "config.json")), None)
