"""Learning curves: train one configuration over several seeds in parallel and keep every row.

    python benchmarks/learning.py --env HalfCheetah-v5 --seeds 0 1 2 --name halfcheetah alpha=auto

writes benchmarks/results/learning/<name>.csv (every row of every seed), .json (options, versions, machine)
and .png. `--compare NAME...` draws several stored results in one picture instead. Each run takes one thread
and as many run at once as there are cores. Options are those of the call, also `recipe=droq`; `resume=True`
continues runs that were interrupted. With `offline=True`, the steps are gradient steps.
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import multiprocessing
import os
import platform
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from spinup.recipes import with_recipe

RESULTS = Path(__file__).parent / "results" / "learning"
PACKAGES = ("torch", "gymnasium", "mujoco", "numpy")
COLUMNS = ("AverageTestEpRet", "StdTestEpRet", "AverageEpRet", "Alpha", "Entropy", "Time")


def main() -> None:
    """Parse the command line and train or compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--epoch", type=int, default=10_000, help="env steps between tests")
    parser.add_argument("--name", help="name of the result (default: from env and options)")
    parser.add_argument("--algorithm", default="sac_pytorch", choices=["sac_pytorch", "sac_tf1"])
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time")
    parser.add_argument("--compare", nargs="+", metavar="NAME", help="draw stored results in one picture")
    parser.add_argument("options", nargs="*", help="key=value for the call, e.g. alpha=auto")
    args = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    if args.compare:
        draw(args.compare, RESULTS / f"{args.name or '_vs_'.join(args.compare)}.png")
    else:
        train(args, dict(parse_option(option) for option in args.options))


def parse_option(text: str) -> tuple[str, Any]:
    """key=value, the value a Python literal or else a string."""
    key, _, value = text.partition("=")
    try:
        return key, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return key, value


def train(args: argparse.Namespace, options: dict[str, Any]) -> None:
    """Run every seed and store what came out."""
    name = args.name or "_".join([args.env, *(f"{k}-{v}" for k, v in options.items())])
    call = {"steps_per_epoch": args.epoch, "epochs": args.steps // args.epoch, "threads": 1, **options}
    jobs = [(args.algorithm, args.env, seed, call, name) for seed in args.seeds]
    started = time.time()
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        outcomes = list(pool.map(run_one, jobs))
    rows = [row for outcome in outcomes for row in outcome["rows"]]
    with open(RESULTS / f"{name}.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, ["seed", "TotalEnvInteracts", *COLUMNS], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    about = {
        "command": "python benchmarks/learning.py " + " ".join(sys.argv[1:]),
        "algorithm": args.algorithm,
        "env": args.env,
        "options": with_recipe(call),
        "engine": outcomes[0]["engine"],
        "versions": {p: version(p) for p in PACKAGES} | {"python": platform.python_version()},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {args.jobs} runs at a time, 1 thread each",
        "minutes": round((time.time() - started) / 60, 1),
        "summary": summary(rows),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(about, indent=1) + "\n")
    print(json.dumps(about["summary"], indent=1))
    draw([name], RESULTS / f"{name}.png")


def run_one(job: tuple[str, str, int, dict[str, Any], str]) -> dict[str, Any]:
    """One seed in a process of its own: the rows of its log."""
    algorithm, env, seed, call, name = job
    import spinup

    folder = Path("data") / "learning" / name / f"{name}_s{seed}"
    if not call.get("resume"):
        shutil.rmtree(folder, ignore_errors=True)
    getattr(spinup, algorithm)(
        env, seed=seed, logger_kwargs={"output_dir": str(folder), "exp_name": name}, **call
    )
    lines = [line.split("\t") for line in (folder / "progress.txt").read_text().splitlines()]
    rows = [{"seed": seed, **dict(zip(lines[0], line, strict=True))} for line in lines[1:]]
    if call.get("offline"):  # no environment steps: drawn over gradient steps
        rows = [{**row, "TotalEnvInteracts": int(row["Epoch"]) * call["steps_per_epoch"]} for row in rows]
    return {"rows": rows, "engine": json.loads((folder / "config.json").read_text()).get("engine", "graph")}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean test return of each seed over the last three tests, and over seeds at each test."""
    seeds = sorted({row["seed"] for row in rows})
    last = {}
    for seed in seeds:
        returns = [float(row["AverageTestEpRet"]) for row in rows if row["seed"] == seed][-3:]
        last[str(seed)] = round(sum(returns) / len(returns), 1)
    return {
        "mean of the last three tests, by seed": last,
        "over seeds": round(sum(last.values()) / len(last), 1),
    }


def draw(names: list[str], path: Path) -> None:
    """Mean over seeds of the test return, with every seed as a thin line."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for i, name in enumerate(names):
        with open(RESULTS / f"{name}.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        curves = []
        for seed in sorted({row["seed"] for row in rows}):
            mine = [row for row in rows if row["seed"] == seed]
            x = [int(row["TotalEnvInteracts"]) for row in mine]
            curves.append([float(row["AverageTestEpRet"]) for row in mine])
            axes.plot(x, curves[-1], color=f"C{i}", alpha=0.3, linewidth=0.8)
        axes.plot(
            x, np.mean(curves, axis=0), color=f"C{i}", linewidth=2, label=f"{name} ({len(curves)} seeds)"
        )
    axes.set_xlabel("environment steps")
    axes.set_ylabel("mean return of the test episodes")
    axes.grid(alpha=0.3)
    axes.legend(loc="best")
    figure.savefig(path, dpi=120)
    plt.close(figure)


if __name__ == "__main__":
    main()
