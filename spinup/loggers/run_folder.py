"""Creates the folder of a run, and rejects or clears one that already holds a run."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from spinup.checks import check_path
from spinup.errors import ConfigError, RunError, option

LOG_FILE = "log.txt"  # output of a run in a separate process
VIDEO_FOLDER = "videos"
CHECKPOINT_FOLDER = "checkpoint"
NAN_BATCH = "nan_batch.npz"
TRACKED = "trackers.json"  # ids of the run in the tracking services

# All files that a run writes into its folder, which `overwrite` removes; not LOG_FILE and the lock file,
# which the new run may already use. Names that begin with a dot are temporary files of an interrupted save.
_RUN_FILES = (
    "config.json", "vars*.json", "pyt_save", "tf1_save", "tf1_save_*", "tf1_save[0-9]*", CHECKPOINT_FOLDER,
    NAN_BATCH, VIDEO_FOLDER, TRACKED, "policy.onnx", "policy.torchscript",
    "events.out.tfevents.*", ".config.json.tmp", ".vars*.json.tmp", ".tf1_save*.tmp", ".tf1_save*.old",
)  # fmt: skip


def holds_run(output_dir: str | Path, output_fname: str = "progress.txt") -> bool:
    """Whether the folder holds a run."""
    folder = Path(output_dir)
    return any((folder / name).exists() for name in (output_fname, "config.json", CHECKPOINT_FOLDER))


def prepare_folder(output_dir: str | Path | None, output_fname: str, overwrite: bool, resume: bool) -> Path:
    """The folder for a run, created if necessary; None creates a new one under data/.

    Raises:
        ConfigError: if both `overwrite` and `resume` are set, or `output_dir` is not a path.
        RunError: if it holds a run and neither `overwrite` nor `resume` is set, or cannot be created.
    """
    refuse_both(overwrite, resume)
    if output_dir is not None:
        check_path("output_dir", output_dir)
    try:
        if output_dir is None:
            return _new_folder()
        folder = Path(output_dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"cannot create the folder {output_dir or 'data'} ({error.strerror}): give another"
        ) from None
    if resume or not holds_run(folder, output_fname):
        return folder
    if not overwrite:
        raise already_holds_run(relative(folder))
    for pattern in (*_RUN_FILES, output_fname):
        for path in folder.glob(pattern):
            _remove(path)
    if (folder / LOG_FILE).is_file():  # emptied, since the output of this process may go to it
        os.truncate(folder / LOG_FILE, 0)
    return folder


def prune_models(folder: Path, keep: int) -> None:
    """Remove the numbered models in pyt_save, except for the `keep` >= 1 models with the highest numbers."""
    saves = {p.stem.removeprefix("model"): p for p in (folder / "pyt_save").glob("model*.pt")}
    for number in sorted((name for name in saves if name.isdecimal()), key=int)[:-keep]:
        saves[number].unlink(missing_ok=True)


def already_holds_run(folder: str | Path) -> RunError:
    """The error for a folder that holds a run."""
    return RunError(
        f"{folder} already holds a run: continue it with {option('resume=True', '--resume')}, keep both with "
        f"{option('datestamp=True', '--datestamp')}, or replace it with "
        f"{option('overwrite=True', '--overwrite')}"
    )


def refuse_both(overwrite: bool, resume: bool) -> None:
    """Check that `overwrite` and `resume` are not both set.

    Raises:
        ConfigError: if both are set.
    """
    if overwrite and resume:
        raise ConfigError(
            "overwrite would remove the run that resume continues: leave one of them out "
            "(resume starts a new run if there is none)"
        )


def _new_folder() -> Path:
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
    """The path relative to the current folder if it lies in that folder, else unchanged."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
