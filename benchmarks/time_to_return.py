"""Wall-clock time to a return: this library, SB3 and SBX, each at its own defaults.

    python benchmarks/time_to_return.py --seeds 0 1 2 3 4

trains on HalfCheetah-v5 until the mean of ten deterministic test episodes, run every 4,000 steps, reaches
4,000, turn by turn (one seed of each), and draws the curves over minutes. The time counts from the first
step of an environment and includes the tests. Runs that are in the results already are not repeated, so an
interrupted measurement continues. It uses the environment that `make bench` makes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import matplotlib
import numpy as np

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PYTHON = ROOT / ".bench-venv" / "bin" / "python"
ENV, EVERY, EPISODES = "HalfCheetah-v5", 4000, 10
LABELS = {"spinup": "spinup", "sb3": "Stable-Baselines3", "sbx": "SBX"}
COLORS = {"spinup": "C0", "sb3": "C1", "sbx": "C2"}


def train_spinup(seed: int, goal: float, limit: int) -> list[tuple[int, float, float]]:
    """Rows (step, seconds, mean test return) of this library."""
    import spinup

    rows: list[tuple[int, float, float]] = []

    def callback(row: dict[str, Any], _: Any) -> bool:
        rows.append((row["TotalEnvInteracts"], row["Time"], row["AverageTestEpRet"]))
        return row["AverageTestEpRet"] < goal

    with tempfile.TemporaryDirectory() as folder:
        spinup.sac_pytorch(
            lambda: gym.make(ENV),
            seed=seed,
            steps_per_epoch=EVERY,
            epochs=limit // EVERY,
            num_test_episodes=EPISODES,
            callback=callback,
            logger_kwargs={"output_dir": folder + "/run"},
        )
    return rows


def train_baselines(name: str, seed: int, goal: float, limit: int) -> list[tuple[int, float, float]]:
    """Rows (step, seconds, mean test return) of SB3 or SBX."""
    import sbx
    import stable_baselines3
    from stable_baselines3.common.callbacks import BaseCallback

    rows: list[tuple[int, float, float]] = []
    tests = gym.make(ENV)

    class Test(BaseCallback):
        def _on_training_start(self) -> None:
            self.began = time.perf_counter()

        def _on_step(self) -> bool:
            if self.num_timesteps % EVERY:
                return True
            mean = float(np.mean([episode(self.model, tests, 1000 + k) for k in range(EPISODES)]))
            rows.append((self.num_timesteps, time.perf_counter() - self.began, mean))
            return mean < goal

    library = stable_baselines3 if name == "sb3" else sbx
    library.SAC("MlpPolicy", gym.make(ENV), seed=seed).learn(limit, callback=Test())
    return rows


def episode(model: Any, env: gym.Env[Any, Any], seed: int) -> float:
    """The return of a test episode by the mean action."""
    obs, _ = env.reset(seed=seed)
    total, done = 0.0, False
    while not done:
        obs, reward, terminated, truncated, _ = env.step(model.predict(obs, deterministic=True)[0])
        total += float(reward)
        done = terminated or truncated
    return total


def draw(runs: dict[str, list[list[float]]], goal: float, path: Path) -> None:
    """Every run's test returns over minutes, and a table of the times on standard output."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), constrained_layout=True)
    print("| | seeds that reached it | minutes, median (range) | steps, median |\n|---|---|---|---|")
    for name, label in LABELS.items():
        own = [np.asarray(rows) for key, rows in runs.items() if key.split()[0] == name]
        for k, rows in enumerate(own):
            axes.plot(rows[:, 1] / 60, rows[:, 2], color=COLORS[name], label=None if k else label)
        reached = [rows[-1] for rows in own if rows[-1, 2] >= goal]
        minutes = [row[1] / 60 for row in reached]
        if reached:
            steps = np.median([row[0] for row in reached])
            span = f"{np.median(minutes):.1f} ({min(minutes):.1f}-{max(minutes):.1f})"
            print(f"| {label} | {len(reached)} of {len(own)} | {span} | {steps:,.0f} |")
    axes.axhline(goal, color="gray", linewidth=0.8)
    axes.set(xlabel="minutes", ylabel="test return", title=f"{ENV}, each at its defaults")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    """Run what is missing, then draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--goal", type=float, default=4000)
    parser.add_argument("--limit", type=int, default=200_000, help="steps after which a run ends anyway")
    parser.add_argument("--only", choices=LABELS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        out, sys.stdout = sys.stdout, sys.stderr
        seed = args.seeds[0]
        rows = (
            train_spinup(seed, args.goal, args.limit)
            if args.only == "spinup"
            else train_baselines(args.only, seed, args.goal, args.limit)
        )
        print(json.dumps(rows), file=out)
        return
    stored = RESULTS / "time_to_return.json"
    runs: dict[str, Any] = json.loads(stored.read_text()) if stored.exists() else {}
    for seed in args.seeds:
        for name in LABELS:
            key = f"{name} {seed}"
            if key in runs:
                continue
            command = [str(PYTHON), __file__, "--only", name, "--seeds", str(seed)]
            options = ["--goal", str(args.goal), "--limit", str(args.limit)]
            done = subprocess.run([*command, *options], stdout=subprocess.PIPE, text=True, check=True)
            runs[key] = json.loads(done.stdout)
            stored.write_text(json.dumps(runs, indent=1) + "\n")
            print(f"{key}: {runs[key][-1]}", flush=True)
    draw(runs, args.goal, RESULTS / "time_to_return.png")


if __name__ == "__main__":
    main()
