"""One run per folder: a lock that the system releases when the process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from spinup.errors import RunError

LOCK_FILE = ".lock"
_held: set[Path] = set()  # by this process, which the system's lock does not exclude


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, made if need be, for the block.

    Raises:
        RunError: if a run holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = (folder / LOCK_FILE).resolve()
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise RunError(f"cannot write into the folder {folder} ({error.strerror}): give another") from None
    try:
        if path in _held or not _lock(handle):
            raise RunError(f"{folder} is in use by a run: wait for it, stop it, or give another folder")
        _held.add(path)
        try:
            yield
        finally:
            _held.discard(path)
    finally:
        os.close(handle)


if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import errno
    import fcntl

    def _lock(handle: int) -> bool:
        # A record lock: unlike flock's, it is not inherited by worker processes, which may live on.
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # On a file system without locks, which says so, a run is better than none.
            return error.errno not in (errno.EACCES, errno.EAGAIN)
        return True
