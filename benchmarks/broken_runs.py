"""Runs that are broken on purpose: what `spinup diagnose` says of each, and whether the remedy helps.

    python benchmarks/broken_runs.py [NAME...] [--folder FOLDER]
    python benchmarks/broken_runs.py --cost

Pendulum-v1, 6,000 steps, one thread, seed 0. Prints what is said of each run, then the last test returns of
the run and of the same run with the remedy. `--cost` prints which share of the processor time of a run its
diagnostics take, for epochs of 4,000 and of 500 steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import TransformObservation

from spinup import sac_pytorch
from spinup.collect import evaluation
from spinup.errors import TrainingDiverged
from spinup.pytorch.diagnostics import NetworkDiagnostics
from spinup.reports.diagnosis import diagnose, findings
from spinup.reports.run_summary import read_run


def large_observations() -> gym.Env[Any, Any]:
    """Pendulum that observes in units a thousandth as large."""
    space = Box(-8000.0, 8000.0, (3,), np.float32)
    return TransformObservation(gym.make("Pendulum-v1"), lambda obs: 1000 * obs, space)


COMMON: dict[str, Any] = {
    "env_fn": "Pendulum-v1", "ac_kwargs": {"hidden_sizes": (64, 64)}, "alpha": "auto", "seed": 0,
    "steps_per_epoch": 500, "epochs": 12, "start_steps": 1000, "update_after": 500, "num_test_episodes": 5,
    "threads": 1,
}  # fmt: skip
# What is broken, the settings of the remedy, and what the first finding is called.
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "healthy": ({}, {}, ""),
    "target_entropy": (  # of one action in (-1, 1) the entropy is at most log 2 = 0.69
        {"target_entropy": 2.0},
        {"target_entropy": -1.0},
        "Alpha keeps rising: the target entropy is out of reach",
    ),
    "one_critic": (
        {"critics": 1, "target_critics": 1, "polyak": 0.0, "updates_per_step": 8.0},
        {"critics": 2, "target_critics": 2}, "The critics overestimate",
    ),
    "large_observations": (
        {"env_fn": large_observations, "alpha": 0.0}, {"normalize_observations": True},
        "The policy is saturated: nearly all actions are at a bound",
    ),
    "few_updates": ({"updates_per_step": 0.02}, {"updates_per_step": 1.0}, "Too few updates per step"),
    "learning_rate": ({"lr": 0.3}, {"lr": 1e-3}, "The critics diverge"),
}  # fmt: skip


def train(folder: Path, **settings: Any) -> None:
    """A run in that folder, which may diverge."""
    logger_kwargs = {"output_dir": folder, "exp_name": folder.name, "quiet": True, "overwrite": True}
    try:
        sac_pytorch(logger_kwargs=logger_kwargs, **{**COMMON, **settings})
    except TrainingDiverged as error:
        print(f"{folder.name}: {error}")


def last_return(folder: Path) -> float:
    """The mean test return of the last third of the epochs."""
    run = read_run(folder)
    assert run is not None
    returns = run.column("AverageTestEpRet")
    return float(returns[-(len(returns) // 3) :].mean())


def measured_share(folder: Path, **settings: Any) -> float:
    """The share of a run's processor time that its diagnostics take."""
    seconds: list[float] = []

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            start = time.process_time()
            result = method(*args)
            seconds.append(time.process_time() - start)
            return result

        return call

    parts: list[tuple[Any, str]] = [(NetworkDiagnostics, name) for name in ("of_epoch", "of_test")]
    parts += [(evaluation._TraceRecorder, name) for name in ("add", "finish")]
    kept = [(part, name, getattr(part, name)) for part, name in parts]
    for part, name, method in kept:
        setattr(part, name, timed(method))
    try:
        start = time.process_time()
        sac_pytorch("Pendulum-v1", threads=1, logger_kwargs={"output_dir": folder, "quiet": True}, **settings)
        return sum(seconds) / (time.process_time() - start)
    finally:
        for part, name, method in kept:
            setattr(part, name, method)


def main() -> None:
    """Run those that are named, all by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RUNS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--cost", action="store_true")
    args = parser.parse_args()
    root = args.folder or Path(tempfile.mkdtemp())
    if args.cost:
        small = {"ac_kwargs": {"hidden_sizes": (64, 64)}}
        for epochs, steps in ((3, 4000), (12, 500)):
            for sizes, kwargs in (("256, 256", {}), ("64, 64", small)):
                share = measured_share(
                    root / f"{steps}_{sizes}", epochs=epochs, steps_per_epoch=steps, **kwargs
                )
                print(f"{steps} steps per epoch, networks ({sizes}): {share:.2%}", flush=True)
        return
    for name in args.names or RUNS:
        broken, remedy, _ = RUNS[name]
        train(root / name, **broken)
        settings = ", ".join(f"{key}={getattr(v, '__name__', v)!r}" for key, v in broken.items())
        print(f"\n### {name}{': ' + settings if settings else ''}\n\n{diagnose(root / name)}\n")
        line = f"last test returns: {last_return(root / name):.0f}"
        if remedy:
            train(root / f"{name}_with_remedy", **{**broken, **remedy})
            changes = ", ".join(f"{key}={value}" for key, value in remedy.items())
            remedied = read_run(root / f"{name}_with_remedy")
            assert remedied is not None
            found = "; ".join(finding.name for finding in findings(remedied)) or "nothing looks wrong"
            line += f"; with {changes}: {last_return(remedied.path):.0f}, {found}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
