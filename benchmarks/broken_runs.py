"""Runs that are broken on purpose, and a healthy one: what `spinup diagnose` says about each.

    python benchmarks/broken_runs.py [NAME...] [--folder FOLDER]

Pendulum-v1, 6,000 steps, one thread, seed 0. Prints the page of each run, and at the end what diagnostics
cost: the share of the healthy run's time that the calls of its diagnostics took.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spinup import sac_pytorch
from spinup.pytorch.diagnostics import Diagnostics
from spinup.reports.diagnosis import diagnose
from spinup.training import TrainingDiverged

COMMON: dict[str, Any] = {
    "ac_kwargs": {"hidden_sizes": (64, 64)}, "steps_per_epoch": 500, "epochs": 12, "start_steps": 1000,
    "update_after": 500, "num_test_episodes": 5, "threads": 1, "seed": 0, "alpha": "auto",
}  # fmt: skip
RUNS: dict[str, dict[str, Any]] = {
    "healthy": {},
    "target_entropy": {"target_entropy": 2.0},  # of one action in (-1, 1) it is at most log 2
    "one_critic": {"critics": 1, "target_critics": 1, "polyak": 0.0, "lr": 1e-2},
    "few_updates": {"updates_per_step": 0.02},
    "reward_scale": {"alpha": 0.0, "reward_scale": 100.0, "lr": 1e-2},
    "learning_rate": {"lr": 0.3},
}


def timed(seconds: list[float]) -> Callable[[], None]:
    """Let the methods of Diagnostics add their time to `seconds`; returns what undoes it."""
    kept = {name: getattr(Diagnostics, name) for name in ("add_test_rows", "of_test", "of_epoch")}

    def wrapped(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            start = time.perf_counter()
            try:
                return method(*args)
            finally:
                seconds.append(time.perf_counter() - start)

        return call

    for name, method in kept.items():
        setattr(Diagnostics, name, wrapped(method))

    def undo() -> None:
        for name, method in kept.items():
            setattr(Diagnostics, name, method)

    return undo


def main() -> None:
    """Run those that are named, all by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RUNS))
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    root = args.folder or Path(tempfile.mkdtemp())
    cost = ""
    for name in args.names or RUNS:
        seconds: list[float] = []
        undo, start = timed(seconds), time.perf_counter()
        logger_kwargs = {"output_dir": root / name, "exp_name": name, "quiet": True, "overwrite": True}
        try:
            sac_pytorch("Pendulum-v1", logger_kwargs=logger_kwargs, **{**COMMON, **RUNS[name]})
        except TrainingDiverged as error:
            print(f"{name}: {error}")
        finally:
            undo()
        total = time.perf_counter() - start
        settings = ", ".join(f"{k}={v!r}" for k, v in RUNS[name].items())
        print(f"\n### {name}{': ' + settings if settings else ''}\n\n{diagnose(root / name)}", flush=True)
        if name == "healthy":
            cost = f"\ndiagnostics took {sum(seconds):.2f} of {total:.2f} s ({sum(seconds) / total:.1%})"
    print(cost)


if __name__ == "__main__":
    main()
