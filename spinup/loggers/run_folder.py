"""The folder of a run: claimed, refused, or cleared."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from spinup.errors import ConfigError, RunError

# All that a run writes into its folder, and so all that `overwrite` removes.
# The lock alone stays, since whoever overwrites holds it; names with a dot are what a killed save left.
_RUN_FILES = (
    "config.json", "vars*.json", "pyt_save", "tf1_save", "tf1_save_*", "tf1_save[0-9]*", "checkpoint",
    "nan_batch.npz", "events.out.tfevents.*", ".config.json.tmp", ".vars*.json.tmp", ".tf1_save*.tmp",
    ".tf1_save*.old",
)  # fmt: skip


def holds_run(output_dir: str | Path, output_fname: str = "progress.txt") -> bool:
    """Whether a run has written into this folder."""
    folder = Path(output_dir)
    return any((folder / name).exists() for name in (output_fname, "config.json", "checkpoint"))


def claim_folder(output_dir: str | Path | None, output_fname: str, overwrite: bool, resume: bool) -> Path:
    """The folder for a run, made if need be; None makes a fresh one under data/.

    Raises:
        ConfigError: if both `overwrite` and `resume` are set.
        RunError: if it holds a run and neither `overwrite` nor `resume` is set, or cannot be made.
    """
    refuse_both(overwrite, resume)
    try:
        if output_dir is None:
            return _fresh_folder()
        folder = Path(output_dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot make the folder {output_dir or 'data'} ({error.strerror}): give another"
        ) from None
    if resume or not holds_run(folder, output_fname):
        return folder
    if not overwrite:
        raise RunError(
            f"{relative(folder)} already holds a run: continue it with resume, keep both with --datestamp, "
            "or replace it with --overwrite"
        )
    for pattern in (*_RUN_FILES, output_fname):
        for path in folder.glob(pattern):
            _remove(path)
    return folder


def refuse_both(overwrite: bool, resume: bool) -> None:
    """Refuse to remove a run and to continue it.

    Raises:
        ConfigError: if both are asked for.
    """
    if overwrite and resume:
        raise ConfigError(
            "overwrite would remove the run that resume is to continue: leave one of them out "
            "(resume begins a new run where there is none)"
        )


def _fresh_folder() -> Path:
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    number = 1
    while True:
        folder = Path("data", f"run_{stamp}" + (f"_{number}" if number > 1 else "")).absolute()
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if not folder.is_dir():
                raise
            number += 1


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def relative(path: Path) -> Path:
    """The path as a user here would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
