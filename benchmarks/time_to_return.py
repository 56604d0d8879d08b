"""Wall-clock time to a return: this library, SB3 and SBX, each at its own defaults.

    python benchmarks/time_to_return.py --costs 3               # with nothing else running
    python benchmarks/time_to_return.py --seeds 0 1 2 3 4 --jobs 2

trains on HalfCheetah-v5 until the mean of ten deterministic test episodes, run every 4,000 steps, reaches
4,000, and draws the curves over minutes. What a run learns does not depend on the load of the machine, but
its time does. Minutes are therefore steps times the cost of a step, with its updates and its share of the
tests, which `--costs` measures turn by turn; the median counts. Runs use one core each. Those that are in
the results already are not repeated, so an interrupted measurement continues. It uses the environment that
`make bench` makes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import gymnasium as gym
import matplotlib
import numpy as np
from speed import machine

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PYTHON = ROOT / ".bench-venv" / "bin" / "python"
ENV, EVERY, EPISODES = "HalfCheetah-v5", 4000, 10
COST_STEPS = 16_000  # after the random steps of this library's defaults
Rows = list[tuple[int, float, float]]  # step, seconds, mean test return
LABELS = {"spinup": "spinup", "sb3": "Stable-Baselines3", "sbx": "SBX"}
COLORS = {"spinup": "C0", "sb3": "C1", "sbx": "C2"}


def train_spinup(seed: int, goal: float, limit: int) -> Rows:
    """Rows (step, seconds, mean test return) of this library."""
    import spinup

    rows: Rows = []

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


def train_baselines(name: str, seed: int, goal: float, limit: int) -> Rows:
    """Rows (step, seconds, mean test return) of SB3 or SBX."""
    import sbx
    import stable_baselines3
    from stable_baselines3.common.callbacks import BaseCallback

    rows: Rows = []
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


def draw(record: dict[str, Any], goal: float, path: Path) -> None:
    """Every run's test returns over minutes, and a table of the times on standard output."""
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), constrained_layout=True)
    print(
        "| | steps/s, with tests | seeds that reached it | steps, median (range) | minutes, median (range) |"
    )
    print("|---|---|---|---|---|")
    for name, label in LABELS.items():
        cost = statistics.median(record["costs"][name])
        own = [rows for key, rows in record["runs"].items() if key.split()[0] == name]
        for k, rows in enumerate(own):
            steps, returns = zip(*rows, strict=True)
            minutes = [step * cost / 60 for step in steps]
            axes.plot(minutes, returns, color=COLORS[name], label=None if k else label)
        reached = [rows[-1][0] for rows in own if rows[-1][1] >= goal]
        if reached:
            low, middle, high = min(reached), statistics.median(reached), max(reached)
            steps_cell = f"{middle:,.0f} ({low:,}-{high:,})"
            times = [f"{steps * cost / 60:.1f}" for steps in (middle, low, high)]
            minutes_cell = f"{times[0]} ({times[1]}-{times[2]})"
            print(
                f"| {label} | {1 / cost:.0f} | {len(reached)} of {len(own)} | {steps_cell} | {minutes_cell} |"
            )
    axes.axhline(goal, color="gray", linewidth=0.8)
    axes.set(xlabel="minutes", ylabel="test return", title=f"{ENV}, each at its defaults")
    axes.legend()
    figure.savefig(path, dpi=120)


def train(name: str, seed: int, goal: float, limit: int, core: int | None = None) -> Rows:
    """Rows of a run in a process of its own, which may use only the core with this number, if any."""
    command = [str(PYTHON), __file__, "--only", name, "--seeds", str(seed)]
    command += ["--goal", str(goal), "--limit", str(limit)]
    environment = dict(os.environ)
    if core is not None:
        command, environment["OMP_NUM_THREADS"] = ["taskset", "-c", str(core), *command], "1"
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    rows: Rows = json.loads(done.stdout)
    return rows


def add_costs(record: dict[str, Any], turns: int, save: Callable[[], None]) -> None:
    """Measure the seconds of a step, including tests, between the last two tests of a short run."""
    for turn in range(turns):
        for name in LABELS:
            (_, before, _), (_, after, _) = train(name, turn, math.inf, COST_STEPS)[-2:]
            record["costs"].setdefault(name, []).append((after - before) / EVERY)
            save()
            print(f"{name}: {record['costs'][name]}", flush=True)


def add_runs(record: dict[str, Any], args: argparse.Namespace, save: Callable[[], None]) -> None:
    """Run what is missing."""
    cores: queue.SimpleQueue[int] = queue.SimpleQueue()
    for core in sorted(os.sched_getaffinity(0))[: args.jobs]:
        cores.put(core)

    def run(name: str, seed: int) -> Rows:
        core = cores.get()
        try:
            return train(name, seed, args.goal, args.limit, core)
        finally:
            cores.put(core)

    with ThreadPoolExecutor(args.jobs) as pool:
        waiting = {
            pool.submit(run, name, seed): f"{name} {seed}"
            for seed in args.seeds
            for name in LABELS
            if f"{name} {seed}" not in record["runs"]
        }
        for done in as_completed(waiting):
            key = waiting[done]
            record["runs"][key] = [[step, round(mean, 1)] for step, _, mean in done.result()]
            save()
            print(f"{key}: {record['runs'][key][-1]}", flush=True)


def main() -> None:
    """Run what is missing, then draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time")
    parser.add_argument("--costs", type=int, default=0, metavar="N", help="only measure costs, N times")
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
    record: dict[str, Any] = {"costs": {}, "runs": {}}
    if stored.exists():
        record = json.loads(stored.read_text())

    def save() -> None:
        stored.write_text(json.dumps(record, indent=1) + "\n")

    if args.costs:
        record["machine"], record["costs"] = machine(), {}  # of one machine
        add_costs(record, args.costs, save)
    else:
        add_runs(record, args, save)
    if lacking := [name for name in LABELS if name not in record["costs"]]:
        print(f"no table yet: the cost of {', '.join(lacking)} is not measured (--costs 3)")
        return
    draw(record, args.goal, RESULTS / "time_to_return.png")


if __name__ == "__main__":
    main()
