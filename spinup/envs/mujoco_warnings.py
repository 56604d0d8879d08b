"""MuJoCo's warnings, each shown once."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

_shown: set[str] = set()


@contextlib.contextmanager
def mujoco_warnings_once() -> Iterator[None]:
    """While environments are made, show each warning of MuJoCo's once, on standard error.

    MuJoCo repeats a warning about a model for every environment that loads it, a dozen times in a run,
    and writes it to a file in the working directory each time.
    """
    try:
        import mujoco
    except ImportError:
        yield
        return
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(_show)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


def _show(text: str) -> None:
    if text not in _shown:
        _shown.add(text)
        print(f"MuJoCo: {text.strip()}", file=sys.stderr)
