"""Locks that allow one run per folder and one per process; they are released when the process ends."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from spinup.errors import RunError

LOCK_FILE = ".lock"
_process = threading.RLock()
_held: set[Path] = set()  # held by this process; the system's lock excludes only other processes


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Context manager that holds the lock of a folder, which is created if it does not exist.

    Raises:
        RunError: if a run holds the lock, or the folder cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = (folder / LOCK_FILE).resolve()
        if path in _held:  # checked first, since closing the file would release the lock of this process
            raise _in_use(folder)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise RunError(
            f"cannot write into the folder {folder} ({error.strerror}): give another folder"
        ) from None
    try:
        if not _lock(handle):
            raise _in_use(folder)
        _held.add(path)
        try:
            yield
        finally:
            _held.discard(path)
    finally:
        os.close(handle)


def _in_use(folder: Path) -> RunError:
    return RunError(f"{folder} is in use by a run: wait for it, stop it, or give another folder")


def is_locked(folder: Path) -> bool | None:
    """Whether a run holds the lock of a folder, without changing the folder; None if it cannot be tested."""
    path = (folder / LOCK_FILE).resolve()
    if path in _held:  # checked first, since closing the file would release a lock of this process
        return True
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        return False
    except OSError:
        return None
    try:
        return _test_lock(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def process_lock() -> Iterator[None]:
    """Context manager that holds the lock of this process; the thread that holds it may enter it again.

    It protects state that is global to a process: signal handlers, and torch's number of threads,
    flush-to-zero mode and generators.

    Raises:
        RunError: if another thread holds it.
    """
    if not _process.acquire(blocking=False):
        raise RunError(
            "another thread of this process is running a training: wait for it, or start this one in a "
            "process of its own"
        )
    try:
        yield
    finally:
        _process.release()


def _new_process_lock() -> None:
    global _process
    _process = threading.RLock()


if hasattr(os, "register_at_fork"):  # a forked process has none of the threads of its parent
    os.register_at_fork(after_in_child=_new_process_lock)

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> bool:
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _test_lock(handle: int) -> bool | None:
        return None  # it can be tested only by locking, and a run that starts at that moment would fail

else:
    import errno
    import fcntl
    import struct

    # The fields of C's struct flock: its format, the position of l_type, and those of the other fields.
    _FLOCK, _TYPE = ("qqihh", 3) if sys.platform == "darwin" else ("hhqqi", 0)

    def _lock(handle: int) -> bool:
        # A record lock, which worker processes do not inherit, unlike flock's: they may outlive this process.
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # A file system without locks reports another error; the run then continues without a lock.
            return error.errno not in (errno.EACCES, errno.EAGAIN)
        return True

    def _test_lock(handle: int) -> bool | None:
        asked = [0] * len(_FLOCK)
        asked[_TYPE] = fcntl.F_WRLCK
        try:
            answer = fcntl.fcntl(handle, fcntl.F_GETLK, struct.pack(_FLOCK, *asked))
        except OSError:
            return None
        return bool(struct.unpack(_FLOCK, answer)[_TYPE] != fcntl.F_UNLCK)
