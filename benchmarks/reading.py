"""The code that runs in (a) the eager update and (b) a step from environment to networks, file by file.

    python benchmarks/reading.py

Runs both with a profiler that notes every function of the package that is called, and prints the files and
their lines: (a) one block of the eager engine's updates; (b) the default path of a training run, from the
environment through collector, replay buffer and loop to acting and the update, without logger, files,
checkpoints and set-up.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import gymnasium as gym

import spinup
from spinup.training import Trainer

PACKAGE = Path(spinup.__file__).parent
OUTSIDE = ("loggers", "runs", "files.py")  # of (b)


def main() -> None:
    """Print both counts."""
    update: set[Path] = set()
    step: set[Path] = set()
    train(update, step)
    report("(a) the eager update", update)
    report("(b) from environment to networks", {path for path in step if not outside(path)})


def train(update: set[Path], step: set[Path]) -> None:
    """A short run; the files that ran during updates, and during steps, are added to the sets."""
    original = Trainer.step, Trainer.update

    def traced_step(trainer: Any) -> None:
        trace(lambda: original[0](trainer), step)

    def traced_update(trainer: Any, count: int) -> None:
        engine = trainer.engine
        plain = engine.update
        engine.update = lambda agent, batches: trace(lambda: plain(agent, batches), update)
        original[1](trainer, count)
        engine.update = plain

    Trainer.step, Trainer.update = traced_step, traced_update  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            spinup.sac_pytorch(
                lambda: gym.make("Pendulum-v1"),
                ac_kwargs={"hidden_sizes": (8, 8)},
                engine="eager",
                steps_per_epoch=300,
                epochs=1,
                start_steps=50,
                update_after=60,
                num_test_episodes=0,
                threads=1,
                logger_kwargs={"output_dir": folder + "/run", "quiet": True, "tensorboard": False},
            )
    finally:
        Trainer.step, Trainer.update = original  # type: ignore[method-assign]


def trace(work: Callable[[], Any], files: set[Path]) -> Any:
    """The result of `work`; files of the package whose functions it calls are added to `files`."""
    before = sys.getprofile()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and PACKAGE in path.parents:
            files.add(path)
        if before is not None:
            before(frame, event, argument)

    sys.setprofile(note)
    try:
        return work()
    finally:
        sys.setprofile(before)


def outside(path: Path) -> bool:
    """Whether a file belongs to logging, run folders or set-up."""
    return path.relative_to(PACKAGE).parts[0] in OUTSIDE


def report(title: str, files: set[Path]) -> None:
    """Print the files with their lines, and the sums."""
    lines = {path.relative_to(PACKAGE): len(path.read_text().splitlines()) for path in sorted(files)}
    print(f"{title}: {len(lines)} files, {sum(lines.values())} lines")
    for path, count in lines.items():
        print(f"    {count:4}  {path}")


if __name__ == "__main__":
    main()
