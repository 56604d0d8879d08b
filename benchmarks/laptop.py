"""Which ingredients give the best return per minute of one core: a search over settings.

    python benchmarks/laptop.py --envs Hopper-v5 HalfCheetah-v5 --seeds 0 1 --seconds 240 --jobs 2

Each candidate, which is the base and what its name says, trains for the environment steps that fit into the
same seconds of processor time, with one thread, and is tested eight times. What a step costs is measured
first, as processor time, so that other work on the machine hardly changes it. Results are added to
results/laptop.json after every run; a second call goes on with those that are missing. results/laptop.md has
the table.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from importlib.metadata import version
from pathlib import Path
from typing import Any

from speed import machine

RESULTS = Path(__file__).parent / "results"
TESTS = 8
NORM = {"ac_kwargs": {"critic_norm": "layer"}}
BATCH = {"ac_kwargs": {"critic_norm": "batch_renorm"}, "betas": (0.5, 0.999)}
NARROW = {"ac_kwargs": {"hidden_sizes": (128, 128)}}
BASE = {"alpha": "auto", "start_steps": 5000}
CANDIDATES: dict[str, dict[str, Any]] = {
    "default": {},
    "base: learned alpha, 5,000 random steps": BASE,
    "10,000 random steps": {**BASE, "start_steps": 10_000},
    "1,000 random steps": {**BASE, "start_steps": 1000},
    "alpha from 0.2": {**BASE, "alpha": "auto_0.2"},
    "batch 256, lr 3e-4": {**BASE, "batch_size": 256, "lr": 3e-4},
    "batch 64": {**BASE, "batch_size": 64},
    "n-step 3": {**BASE, "n_step": 3},
    "LayerNorm": {**BASE, **NORM},
    "LayerNorm, n-step 3": {**BASE, **NORM, "n_step": 3},
    "half the updates": {**BASE, "updates_per_step": 0.5},
    "half the updates, n-step 3": {**BASE, "updates_per_step": 0.5, "n_step": 3},
    "twice the updates": {**BASE, "updates_per_step": 2.0},
    "LayerNorm, twice the updates": {**BASE, **NORM, "updates_per_step": 2.0},
    "LayerNorm, twice the updates, delay 2": {**BASE, **NORM, "updates_per_step": 2.0, "policy_delay": 2},
    "LayerNorm, four times the updates, delay 4": {
        **BASE, **NORM, "updates_per_step": 4.0, "policy_delay": 4,
    },
    "delay 2": {**BASE, "policy_delay": 2},
    "LayerNorm, no targets": {**BASE, **NORM, "target_networks": False},
    "BatchRenorm, no targets": {**BASE, **BATCH, "target_networks": False},
    "2 x 128": {**BASE, **NARROW},
    "2 x 128, twice the updates": {**BASE, **NARROW, "updates_per_step": 2.0},
}  # fmt: skip


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", nargs="+", default=["Hopper-v5", "HalfCheetah-v5"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--seconds", type=float, default=240.0, help="of processor time for each run")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="NAME", default=list(CANDIDATES))
    args = parser.parse_args()
    path = RESULTS / "laptop.json"
    record = json.loads(path.read_text()) if path.exists() else {"runs": {}, "cost": {}}
    record["seconds"] = args.seconds
    record["machine"] = machine()
    record["packages"] = {name: version(name) for name in ("torch", "numpy", "gymnasium", "mujoco")}
    with ProcessPoolExecutor(args.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        costs = {
            pool.submit(cost, env, CANDIDATES[name]): (env, name)
            for name in args.only
            for env in args.envs
            if name not in record["cost"].setdefault(env, {})
        }
        for future in as_completed(costs):
            env, name = costs[future]
            record["cost"][env][name] = future.result()
            path.write_text(json.dumps(record, indent=1) + "\n")
        futures = {
            pool.submit(run, env, seed, steps, CANDIDATES[name]): (key, steps)
            for key, env, name, seed, steps in missing(args, record)
        }
        for future in as_completed(futures):
            key, steps = futures[future]
            record["runs"][key] = {"steps": steps, "returns": future.result()}
            path.write_text(json.dumps(record, indent=1) + "\n")
            print(key, record["runs"][key], flush=True)
    (RESULTS / "laptop.md").write_text(table(record))
    print(table(record))


def missing(args: argparse.Namespace, record: dict[str, Any]) -> Iterator[tuple[str, str, str, int, int]]:
    """The runs that have no result yet, one seed after the other."""
    for seed in args.seeds:
        for env in args.envs:
            for name in args.only:
                key = f"{env} | {name} | {seed}"
                if key not in record["runs"]:
                    steps = int(args.seconds / record["cost"][env][name] / TESTS / 50) * 50 * TESTS
                    yield key, env, name, seed, steps


def cost(env: str, settings: dict[str, Any]) -> float:
    """Seconds of processor time of an environment step with its updates, without tests."""
    from spinup import sac_pytorch

    marks: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        sac_pytorch(
            env,
            threads=1,
            epochs=3,
            steps_per_epoch=1000,
            update_after=1000,
            num_test_episodes=0,
            callback=lambda row, _: marks.append(time.process_time()),
            logger_kwargs={"output_dir": folder, "quiet": True},
            **{**settings, "start_steps": 1000},
        )
    return (marks[-1] - marks[0]) / 2000


def run(env: str, seed: int, steps: int, settings: dict[str, Any]) -> list[float]:
    """The mean returns of the eight tests of a run."""
    from spinup import sac_pytorch

    returns: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        sac_pytorch(
            env,
            seed=seed,
            threads=1,
            epochs=TESTS,
            steps_per_epoch=steps // TESTS,
            num_test_episodes=5,
            callback=lambda row, _: returns.append(float(row["AverageTestEpRet"])),
            logger_kwargs={"output_dir": folder, "quiet": True},
            **settings,
        )
    return returns


def table(record: dict[str, Any]) -> str:
    """Mean return of the last three tests, over seeds, and steps, for each candidate and environment."""
    envs = list(record["cost"])
    lines = [
        "| settings | " + " | ".join(f"{env}: return (seeds) | steps" for env in envs) + " |",
        "|---|" + "---|---|" * len(envs),
    ]
    for name in CANDIDATES:
        cells = []
        for env in envs:
            runs = [r for key, r in record["runs"].items() if key.startswith(f"{env} | {name} | ")]
            ends = [statistics.mean(r["returns"][-3:]) for r in runs]
            each = ", ".join(f"{end:,.0f}" for end in ends)
            cells += [f"{statistics.mean(ends):,.0f} ({each})", f"{runs[0]['steps']:,}"] if ends else ["", ""]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    about = f"{record['seconds']:.0f} s of one core for each run; mean of the last three of eight tests."
    return "\n".join(lines) + f"\n\n{about} Processor {record['machine']['processor']}.\n"


if __name__ == "__main__":
    main()
