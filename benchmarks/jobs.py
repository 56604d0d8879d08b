"""Throughput of several runs at once against one run with one thread, turn by turn.

    python benchmarks/jobs.py --jobs 2 --turns 5

In each turn the grid is trained with one seed, then with as many seeds as jobs, all at once. Either way every
run has its own process and one thread, as with `spinup sac --jobs N`. The speed of a run is its
`StepsPerSecond`, which leaves out the start of its process; the throughput is the sum over runs. Writes
benchmarks/results/jobs.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from speed import machine

from spinup import sac_pytorch
from spinup.plotting.curves import read_table
from spinup.runs.cores import usable_cores
from spinup.runs.grid import ExperimentGrid

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure every turn and store the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--out", type=Path, default=RESULTS / "jobs.json")
    args = parser.parse_args()
    turns = []
    for _ in range(args.turns):
        alone, together = throughput(args, 1), throughput(args, args.jobs)
        turns.append({"alone": alone, "together": together, "ratio": together / alone})
    ratios = [turn["ratio"] for turn in turns]
    record = {
        "machine": {**machine(), "usable cores": usable_cores()},
        "packages": {name: version(name) for name in ("torch", "numpy", "gymnasium", "mujoco")},
        "arguments": {name: value for name, value in vars(args).items() if name != "out"},
        "steps per second": turns,
        "ratio": {"median": statistics.median(ratios), "least": min(ratios), "greatest": max(ratios)},
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["ratio"]))


def throughput(args: argparse.Namespace, runs: int) -> float:
    """Steps per second of that many seeds at once, summed."""
    grid = ExperimentGrid("jobs")
    settings: dict[str, Any] = {
        "env_fn": args.env, "steps_per_epoch": args.steps, "epochs": 1, "start_steps": 1000,
        "batch_size": args.batch, "num_test_episodes": 0, "checkpoint_every": 0, "checkpoint_minutes": 0.0,
        "threads": 1,
    }  # fmt: skip
    for name, value in settings.items():
        grid.add(name, value)
    grid.add("seed", list(range(runs)))
    with tempfile.TemporaryDirectory() as folder:
        # More than one at a time, so that a run that is alone has a process of its own too.
        folders = grid.run(sac_pytorch, num_cpu=max(runs, 2), data_dir=folder)
        tables = [read_table(Path(run) / "progress.txt") for run in folders]
    return sum(float(table["StepsPerSecond"][-1]) for table in tables)


if __name__ == "__main__":
    main()
