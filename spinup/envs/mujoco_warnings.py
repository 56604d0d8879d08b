"""Shows each distinct MuJoCo warning once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

_shown: set[str] = set()


@contextlib.contextmanager
def mujoco_warnings_once() -> Iterator[None]:
    """Print each distinct MuJoCo warning once per process, on standard error.

    By default MuJoCo repeats a warning for every environment that loads the same model, and appends it to
    a file in the working directory each time.
    """
    try:
        import mujoco
    except ImportError:
        yield
        return
    previous = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_show)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(previous)


def _show(text: str) -> None:
    if text not in _shown:
        _shown.add(text)
        print(f"MuJoCo: {text.strip()}", file=sys.stderr)
