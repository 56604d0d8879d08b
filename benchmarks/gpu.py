"""Whole training on a GPU: engine by engine, one environment and many.

    make bench-gpu

Each configuration trains three epochs; the first, with its start-up and capture, is left out. Results go
to benchmarks/results/gpu.json. For comparison, LeanRL publishes 725 env steps/s for SAC on HalfCheetah-v4
with one CPU environment on an H100 (CleanRL 127, with torch.compile 255).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import spinup

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Time each configuration and store the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--engines", nargs="+", default=["cuda_graph", "compile", "eager"])
    parser.add_argument("--num_envs", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 256])
    parser.add_argument("--steps", type=int, default=6400, help="env steps per epoch")
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        sys.exit("torch sees no CUDA device here; run this where it does")
    rows = [
        measure(args, engine, num_envs, batch)
        for engine in args.engines
        for num_envs in args.num_envs
        for batch in args.batch
    ]
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(
        json.dumps({"device": name, "torch": version("torch"), "rows": rows}, indent=1) + "\n"
    )


def measure(args: argparse.Namespace, engine: str, num_envs: int, batch: int) -> dict[str, Any]:
    """Steps per second of the epochs after the first."""
    marks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        spinup.sac_pytorch(
            args.env,
            engine=engine,
            device=args.device,
            num_envs=num_envs,
            env_workers="async" if num_envs > 1 else "sync",
            batch_size=batch,
            steps_per_epoch=args.steps,
            epochs=3,
            start_steps=1000,
            update_after=1000,
            num_test_episodes=0,
            checkpoint_every=0,
            checkpoint_minutes=0,
            logger_kwargs={"output_dir": f"{folder}/run", "quiet": True},
            callback=lambda row, ac: marks.append(time.perf_counter()),
        )
    speed = 2 * args.steps / (marks[-1] - marks[0])
    row = {"engine": engine, "num_envs": num_envs, "batch": batch, "steps_per_second": round(speed, 1)}
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
