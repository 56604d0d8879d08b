"""Where alpha goes under different target entropies, on discrete actions.

    python benchmarks/target_entropy.py --env CartPole-v1 --steps 20000 --fractions 0.1 0.3 0.5 0.7 0.9 0.98

Each fraction f of the greatest entropy log n is one run with target_entropy = f * log n and alpha="auto",
networks (64, 64).
Printed for each: alpha half-way and at the end, the policy's mean entropy and the test return of the last
epoch. An alpha that still grows at the end has a target out of reach.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from pathlib import Path
from typing import Any

import gymnasium as gym
from gymnasium.spaces import Discrete

from spinup import sac_pytorch

EPOCHS = 20


def main() -> None:
    """Run every fraction and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--env", default="CartPole-v1", help="environment id with Discrete actions")
    parser.add_argument("--steps", type=int, default=20_000, help="env steps of each run")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 0.3, 0.5, 0.7, 0.9, 0.98])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=1e-3, help="Adam's learning rate")
    parser.add_argument("--out", type=Path, help="JSON file for all rows of all runs")
    args = parser.parse_args()
    space = gym.make(args.env).action_space
    assert isinstance(space, Discrete), f"{args.env} has no Discrete action space"
    rows = {}
    print(
        f"{args.env}: log n = {math.log(int(space.n)):.3f}, {args.steps} steps, seed {args.seed}, "
        f"lr {args.lr}"
    )
    print("fraction  target  alpha middle  alpha end  entropy  test return")
    for fraction in args.fractions:
        target = fraction * math.log(int(space.n))
        run = rows[fraction] = train(args, target)
        middle, last = run[len(run) // 2 - 1], run[-1]
        print(
            f"{fraction:8.2f}  {target:6.3f}  {middle['Alpha']:12.4g}  {last['Alpha']:9.4g}  "
            f"{last['Entropy']:7.3f}  {last['AverageTestEpRet']:11.1f}",
            flush=True,
        )
    if args.out is not None:
        args.out.write_text(json.dumps({"settings": vars(args), "rows": rows}, default=str, indent=1))


def train(args: argparse.Namespace, target: float) -> list[dict[str, Any]]:
    """The log rows of one run."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        sac_pytorch(
            args.env,
            seed=args.seed,
            steps_per_epoch=args.steps // EPOCHS,
            epochs=EPOCHS,
            alpha="auto",
            target_entropy=target,
            lr=args.lr,
            start_steps=1000,
            num_test_episodes=2,
            save_freq=EPOCHS,
            threads=1,
            ac_kwargs={"hidden_sizes": (64, 64)},
            logger_kwargs={"output_dir": folder, "quiet": True, "tensorboard": False},
            callback=lambda row, ac: rows.append(row),
        )
    return rows


if __name__ == "__main__":
    main()
