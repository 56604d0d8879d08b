"""Learning curves of SAC and of the recipes, several seeds each, as one CSV file, one table and one figure.

    python benchmarks/evidence.py --jobs 2              # runs what is missing, in the order of the plan
    python benchmarks/evidence.py --only sac tqc        # of these settings alone
    python benchmarks/evidence.py --draw                # table and figure, with the unfinished runs

Each run takes one thread, and is added to results/evidence.csv when it ends, with the columns
exp_name,env_name,seed,metric,env_step,value. An interrupted run is added as far as it is by the next command,
and continues from its checkpoint if its folder is still there. A run that fails is reported, and does not
stop the others. Metrics are the mean return of ten deterministic test episodes, and the minutes of processor
time so far, which other programs hardly change.
"sbx" is the control: SBX with the settings of "sac"; it uses the environment that `make bench` makes.
"""

from __future__ import annotations

import argparse
import csv
import json
import multiprocessing
import os
import statistics
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
STORE, TABLE, FIGURE = (RESULTS / f"evidence.{suffix}" for suffix in ("csv", "md", "png"))
PYTHON = ROOT / ".bench-venv" / "bin" / "python"
COLUMNS = ("exp_name", "env_name", "seed", "metric", "env_step", "value")
RETURN, MINUTES = "AverageTestEpRet", "ProcessorMinutes"
COMPARED = (20_000, 50_000, 100_000, 200_000)  # numbers of steps for which the table has returns
EVERY, EPISODES, LAST = 5000, 10, 3  # steps between tests, episodes of each, tests of the final return
HOPPER, WALKER, CHEETAH, ANT = "Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "Ant-v5"
SETTINGS: dict[str, dict[str, Any]] = {
    "sac": {"alpha": "auto", "lr": 3e-4, "batch_size": 256},
    "sbx": {"learning_rate": 3e-4, "batch_size": 256, "learning_starts": 10_000},
    **{name: {"recipe": name} for name in ("laptop", "tqc", "redq", "droq", "crossq", "simba", "flash")},
    "crossq, critics 2 x 256": {"recipe": "crossq", "ac_kwargs": {"critic_hidden_sizes": (256, 256)}},
}
# Settings, environments, seeds, steps. Some recipes take several hours of one core for 100,000 steps.
PLAN = (
    (("laptop",), (HOPPER, WALKER, CHEETAH, ANT), 5, 100_000),
    (("sac",), (HOPPER, WALKER, CHEETAH), 3, 100_000),
    (("crossq, critics 2 x 256",), (HOPPER, WALKER), 3, 100_000),
    (("sbx",), (HOPPER, WALKER, CHEETAH), 3, 100_000),
    (("droq",), (HOPPER, WALKER), 3, 50_000),
    (("tqc",), (HOPPER, WALKER, CHEETAH), 3, 50_000),
    (("crossq, critics 2 x 256",), (CHEETAH,), 3, 100_000),
    (("sac",), (HOPPER, WALKER, CHEETAH, ANT), 5, 200_000),
    (("redq",), (HOPPER, WALKER), 3, 20_000),
    (("crossq", "flash", "simba"), (HOPPER, WALKER), 3, 20_000),
)
# What papers give at 100,000 steps, means over seeds on the -v4 environments.
PUBLISHED = {
    "sac": {HOPPER: 1103, WALKER: 690, CHEETAH: 6156}, "redq": {HOPPER: 2750, WALKER: 3459, CHEETAH: 7823},
    "droq": {HOPPER: 1813, WALKER: 2277, CHEETAH: 7744},
    "crossq": {HOPPER: 2764, WALKER: 3914, CHEETAH: 8112},
    "flash": {HOPPER: 2121, WALKER: 3299, CHEETAH: 9815},
}  # fmt: skip
Rows = list[dict[str, str]]
Points = list[tuple[int, float, float]]  # environment steps, test return, minutes


class Job(NamedTuple):
    """A run: what is trained where, and for how many environment steps."""

    name: str
    env: str
    seed: int
    steps: int


def plan() -> Iterator[Job]:
    """All runs, those first that cost least for what they show."""
    for names, envs, seeds, steps in PLAN:
        for seed in range(seeds):
            for env in envs:
                for name in names:
                    yield Job(name, env, seed, steps)


def main() -> None:
    """Run what is missing, then draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--only", nargs="+", choices=SETTINGS, default=list(SETTINGS), metavar="NAME")
    parser.add_argument("--envs", nargs="+", default=[HOPPER, WALKER, CHEETAH, ANT])
    parser.add_argument("--draw", action="store_true", help="run nothing")
    parser.add_argument("--control", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.control:
        control(Job(*args.control))
        return
    rows = read()
    for job in plan():
        if len(points := points_of(job)) * EVERY > steps_done(rows, job):
            rows = add(rows, job, points)
    if not args.draw:
        jobs = [job for job in plan() if job.name in args.only and job.env in args.envs]
        missing = [job for job in jobs if steps_done(rows, job) < job.steps]
        context = multiprocessing.get_context("spawn")
        cores = context.SimpleQueue()
        for k in range(args.jobs):
            cores.put(k)
        with ProcessPoolExecutor(args.jobs, context, initializer=take_core, initargs=(cores,)) as pool:
            futures = {pool.submit(train, job): job for job in missing}
            for future in as_completed(futures):
                if error := future.exception():
                    print(*futures[future], f"{type(error).__name__}: {error}", flush=True)
                    continue
                rows = add(rows, futures[future], future.result())
                print(*futures[future], future.result()[-1], flush=True)
    draw(rows)


def take_core(numbers: Any) -> None:
    """Run this process, and those it starts, on one core: JAX takes all it is allowed to use."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[numbers.get() % len(allowed)]})


def train(job: Job) -> Points:
    """One run."""
    if job.name != "sbx":
        return train_spinup(job)
    command = [str(PYTHON), __file__, "--control", json.dumps(job)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    points: Points = json.loads(done.stdout.splitlines()[-1])
    return points


def train_spinup(job: Job) -> Points:
    """One run of this library, in a folder of its own that is continued if it is there."""
    import spinup

    folder, minutes_file = files(job)
    folder.parent.mkdir(parents=True, exist_ok=True)
    latest = time.process_time()

    def callback(row: dict[str, Any], _: Any) -> None:
        nonlocal latest
        now = time.process_time()
        with minutes_file.open("a") as file:
            file.write(f"{row['TotalEnvInteracts']} {(now - latest) / 60}\n")
        latest = now

    spinup.sac_pytorch(
        job.env, seed=job.seed, threads=1, steps_per_epoch=EVERY, epochs=job.steps // EVERY,
        num_test_episodes=EPISODES, resume=True, callback=callback,
        logger_kwargs={"output_dir": str(folder), "quiet": True}, **SETTINGS[job.name],
    )  # fmt: skip
    return points_of(job)


def files(job: Job) -> tuple[Path, Path]:
    """The folder of a run, and a file with a line for each test: step, minutes since the one before."""
    name = "_".join([job.name, job.env, str(job.seed)]).replace(" ", "_")
    folder = ROOT / "data" / "evidence" / name
    return folder, folder.parent / f"{name}.minutes"


def points_of(job: Job) -> Points:
    """The tests in the folder of a run, which may be unfinished; none if there is no such folder."""
    folder, minutes_file = files(job)
    if not minutes_file.exists() or not (folder / "progress.txt").exists():
        return []
    spent = dict(line.split() for line in minutes_file.read_text().splitlines())  # the latest of each step
    with open(folder / "progress.txt") as file:
        table = [row for row in csv.DictReader(file, delimiter="\t") if row["TotalEnvInteracts"] in spent]
    steps = [int(row["TotalEnvInteracts"]) for row in table]
    minutes = np.cumsum([float(spent[str(step)]) for step in steps])
    return [(n, float(row[RETURN]), float(m)) for n, row, m in zip(steps, table, minutes, strict=True)]


def control(job: Job) -> None:
    """One run of SBX, in its own environment; the points are printed."""
    import gymnasium as gym
    import sbx
    from stable_baselines3.common.callbacks import BaseCallback
    from time_to_return import episode

    points: Points = []
    tests = gym.make(job.env)

    class Test(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps % EVERY == 0:
                mean = float(np.mean([episode(self.model, tests, 1000 + k) for k in range(EPISODES)]))
                points.append((self.num_timesteps, mean, time.process_time() / 60))
            return True

    model = sbx.SAC("MlpPolicy", gym.make(job.env), seed=job.seed, **SETTINGS[job.name])
    model.learn(job.steps, callback=Test())
    print(json.dumps(points))


def read() -> Rows:
    """The stored values."""
    if not STORE.exists():
        return []
    with STORE.open(newline="") as file:
        return list(csv.DictReader(file))


def of_run(row: dict[str, str], job: Job) -> bool:
    """Whether a stored value belongs to a run, of whatever length."""
    return (row["exp_name"], row["env_name"], row["seed"]) == (job.name, job.env, str(job.seed))


def steps_done(rows: Rows, job: Job) -> int:
    """Environment steps of a run that are stored."""
    return max((int(row["env_step"]) for row in rows if of_run(row, job)), default=0)


def add(rows: Rows, job: Job, points: Points) -> Rows:
    """Store a run, in place of a shorter one."""
    kept = [row for row in rows if not of_run(row, job)]
    for step, mean, minutes in points:
        for metric, value in ((RETURN, mean), (MINUTES, minutes)):
            cells = (job.name, job.env, str(job.seed), metric, str(step), f"{value:.6g}")
            kept.append(dict(zip(COLUMNS, cells, strict=True)))
    with STORE.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
    return kept


def curves(rows: Rows, name: str, env: str) -> list[Any]:
    """Steps, returns and minutes of each seed, arrays (3, tests), in the order of the seeds."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for row in rows:
        if row["exp_name"] == name and row["env_name"] == env:
            metrics = found.setdefault(row["seed"], {RETURN: {}, MINUTES: {}})
            metrics[row["metric"]][int(row["env_step"])] = float(row["value"])
    return [
        np.array([list(m[RETURN]), [*m[RETURN].values()], [*m[MINUTES].values()]])
        for _, m in sorted(found.items(), key=lambda item: int(item[0]))
    ]


def draw(rows: Rows) -> None:
    """Write the table and the figure."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from spinup.plotting.iqm import iqm_curve

    names = [name for name in SETTINGS if any(row["exp_name"] == name for row in rows)]
    envs = [env for env in (HOPPER, WALKER, CHEETAH, ANT) if any(row["env_name"] == env for row in rows)]
    text = table(rows, names, envs)
    TABLE.write_text(text)
    print(text)
    figure, axes = plt.subplots(
        2, len(envs), figsize=(4 * len(envs), 6), squeeze=False, constrained_layout=True
    )
    for column, env in enumerate(envs):
        for i, name in enumerate(names):
            for axis, x in ((axes[0, column], 0), (axes[1, column], 2)):
                runs = [(run[x], run[1]) for run in curves(rows, name, env)]
                if not runs:
                    continue
                curve = iqm_curve(name, [runs])
                for run_x, run_y in runs:
                    axis.plot(run_x, run_y, color=f"C{i}", alpha=0.3, linewidth=0.7)
                common = curve.x <= min(run_x[-1] for run_x, _ in runs)  # beyond, there are fewer seeds
                axis.plot(curve.x[common], curve.y[common], color=f"C{i}", linewidth=2)
                if curve.interval is not None:
                    low, high = (bound[common] for bound in curve.interval)
                    axis.fill_between(curve.x[common], low, high, color=f"C{i}", alpha=0.15)
        axes[0, column].set(title=env, xlabel="environment steps")
        axes[1, column].set(xlabel="minutes of one core")
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    for axis in axes[:, 0]:
        axis.set_ylabel("test return")
    lines = [plt.Line2D([], [], color=f"C{i}", linewidth=2) for i in range(len(names))]
    figure.legend(lines, names, loc="outside lower center", ncols=len(names))
    figure.savefig(FIGURE, dpi=110)


def table(rows: Rows, names: list[str], envs: list[str]) -> str:
    """A Markdown table: for each setting and environment the final return, its interval, and the cost."""
    from spinup.plotting.iqm import interquartile_mean, iqm_interval

    lines = [
        "| environment | settings | steps | return: IQM [95% interval] | each seed "
        "| collapsed | minutes | published |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for env in envs:
        lengths = {int(run[0, -1]) for name in names for run in curves(rows, name, env)}
        for steps in sorted(lengths & set(COMPARED)):
            for name in names:
                runs = [run[:, run[0] <= steps] for run in curves(rows, name, env) if run[0, -1] >= steps]
                if not runs:
                    continue
                ends = np.array([run[1, -LAST:].mean() for run in runs])
                low, high = iqm_interval([ends[None]])
                interval = f" [{low[0]:,.0f}, {high[0]:,.0f}]" if len(ends) > 1 else ""
                published = PUBLISHED.get(name, {}).get(env) if steps == 100_000 else None
                cells = [
                    env, name, f"{steps:,}",
                    f"{interquartile_mean(ends):,.0f}{interval}", ", ".join(f"{end:,.0f}" for end in ends),
                    f"{int((ends < 0.3 * np.median(ends)).sum())} of {len(ends)}",
                    f"{statistics.median(float(run[2, -1]) for run in runs):.0f}",
                    "" if published is None else f"{published:,}",
                ]  # fmt: skip
                lines.append("| " + " | ".join(cells) + " |")
    about = (
        f"Return: mean of the last {LAST} tests of {EPISODES} episodes. Collapsed: seeds below 30% of the "
        "median. Minutes: of one core, median. Published: means over seeds on -v4 at 100,000 steps."
    )
    return "\n".join(lines) + f"\n\n{about}\n"


if __name__ == "__main__":
    main()
