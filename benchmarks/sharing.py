"""Two runs at once against the same two one after the other, as commands, by the clock on the wall.

    python benchmarks/sharing.py [--engines native eager] [--turns 3]

Each run is `spinup sac` on Pendulum-v1 with default threads. Writes benchmarks/results/sharing.json. Run it
with nothing else on the machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from speed import machine

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Measure every engine in turn and store the seconds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", default=["native", "eager"])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "sharing.json")
    args = parser.parse_args()
    seconds = {engine: [measure(engine, args.steps) for _ in range(args.turns)] for engine in args.engines}
    packages = {name: version(name) for name in ("torch", "numpy", "gymnasium")}
    record = {"machine": machine(), "packages": packages, "steps": args.steps, "seconds": seconds}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    for engine, turns in seconds.items():
        ratio = statistics.median(turn["together"] / turn["in turn"] for turn in turns)
        print(f"{engine}: together / one after the other = {ratio:.2f}")


def measure(engine: str, steps: int) -> dict[str, float]:
    """Seconds of two runs one after the other, and together."""
    with tempfile.TemporaryDirectory() as folder:
        marks = [time.perf_counter()]
        for name in ("a", "b"):
            start(engine, steps, folder, name).wait()
        marks.append(time.perf_counter())
        for run in [start(engine, steps, folder, name) for name in ("c", "d")]:
            run.wait()
        marks.append(time.perf_counter())
    return {"in turn": marks[1] - marks[0], "together": marks[2] - marks[1]}


def start(engine: str, steps: int, folder: str, name: str) -> subprocess.Popen[bytes]:
    """Start one run."""
    options = f"--engine {engine} --epochs 1 --steps_per_epoch {steps} --num_test_episodes 1"
    options += f" --start_steps 200 --update_after 200 --data_dir {folder} --exp_name {name}"
    command = [sys.executable, "-m", "spinup", "sac", "--env", "Pendulum-v1", *options.split()]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
