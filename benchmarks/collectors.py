"""Environment steps per second of 1 and 8 remote collectors, with an environment that takes 20 ms a step.

    python benchmarks/collectors.py --turns 3

Each turn trains with one collector, then with eight, on a Ray that it starts on this machine. The speed is
that of all epochs but the first, in which the collectors start. Writes benchmarks/results/collectors.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
from speed import machine

from spinup import sac_pytorch
from spinup.plotting.curves import read_table
from spinup.runs.cores import usable_cores

RESULTS = Path(__file__).parent / "results"


class Slow(gym.Wrapper[Any, Any, Any, Any]):
    """Sleeps in every step."""

    def __init__(self, env: gym.Env[Any, Any], seconds: float) -> None:
        super().__init__(env)
        self.seconds = seconds

    def step(self, action: Any) -> Any:
        time.sleep(self.seconds)
        return self.env.step(action)


def main() -> None:
    """Measure every turn and store the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.02, help="of a step of the environment")
    parser.add_argument("--collectors", type=int, default=8)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds-each", type=float, default=20.0, help="about how long a run collects")
    args = parser.parse_args()
    turns = []
    for _ in range(args.turns):
        one, many = run(args, 1), run(args, args.collectors)
        turns.append({"one": one, "many": many, "ratio": many["steps per second"] / one["steps per second"]})
        print(json.dumps(turns[-1]))
    ratios = [turn["ratio"] for turn in turns]
    record = {
        "machine": {**machine(), "usable cores": usable_cores()},
        "packages": {name: version(name) for name in ("torch", "numpy", "gymnasium", "ray")},
        "arguments": vars(args),
        "turns": turns,
        "ratio": {"median": statistics.median(ratios), "least": min(ratios), "greatest": max(ratios)},
    }
    (RESULTS / "collectors.json").write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record["ratio"]))


def run(args: argparse.Namespace, collectors: int) -> dict[str, float]:
    """Steps per second, and the counts of updates, of one run."""
    seconds = args.seconds
    steps = max(round(collectors * args.seconds_each / seconds / 4 / 50) * 50, 50)
    with tempfile.TemporaryDirectory() as folder:
        sac_pytorch(
            lambda: Slow(gym.make("Pendulum-v1"), seconds),
            ac_kwargs={"hidden_sizes": (64, 64)},
            collectors=collectors,
            steps_per_epoch=steps,
            epochs=4,
            start_steps=100,
            update_after=100,
            num_test_episodes=0,
            checkpoint_every=0,
            checkpoint_minutes=0.0,
            threads=1,
            logger_kwargs={"output_dir": folder, "quiet": True, "tensorboard": False},
        )
        table = read_table(Path(folder) / "progress.txt")
    taken = float(table["Time"][-1]) - float(table["Time"][0])
    row = {
        name: float(table[name][-1])
        for name in ("UpdatesPerStep", "Staleness", "MaxStaleness", "LearnerWait")
    }
    return {"steps per second": 3 * steps / taken, **row}


if __name__ == "__main__":
    main()
