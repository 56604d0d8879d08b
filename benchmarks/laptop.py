"""Which ingredients give the best return per minute of one core: a search over settings.

    python benchmarks/laptop.py --envs Hopper-v5 HalfCheetah-v5 --seeds 0 1 --seconds 150 --jobs 2
    python benchmarks/laptop.py --costs 3            # with nothing else running

Each candidate, which is the base and what its name says, trains with one thread and is tested every 2,500
steps. Its result is the mean of the last three tests within the steps that fit into the given seconds of
processor time. Learning does not depend on the load of the machine, but the cost of a step does, so `--costs`
measures costs separately, all candidates in turn, and the median counts. Results are added to
results/laptop.json after every run; a second call continues with those that are missing. results/laptop.md
has the table.
"""

from __future__ import annotations

import argparse
import json
import math
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
EVERY, EPISODES, LAST = 2500, 5, 3  # steps between tests, episodes of each, tests of a result
MARGIN = 1.2  # a run is longer than its cost says, since a later measurement may find a smaller cost
NORM = {"ac_kwargs": {"critic_norm": "layer"}}
BATCH = {"ac_kwargs": {"critic_norm": "batch_renorm"}, "betas": (0.5, 0.999)}
BASE = {"alpha": "auto", "start_steps": 5000}
NARROW = {**BASE, "ac_kwargs": {"hidden_sizes": (128, 128)}}
SMALL = {**BASE, "ac_kwargs": {"hidden_sizes": (64, 64)}}
NARROW_NORM = {**BASE, "ac_kwargs": {"hidden_sizes": (128, 128), "critic_norm": "layer"}}
BOTH = {"actor_norm": "batch_renorm", "critic_norm": "batch_renorm"}
NARROW_BATCH = {
    **BASE, "ac_kwargs": {"hidden_sizes": (128, 128), "critic_norm": "batch_renorm"}, "betas": (0.5, 0.999),
    "policy_delay": 3, "target_networks": False,
}  # fmt: skip
BLOCKS = {**NARROW_BATCH, "policy_delay": 1, "update_every": 10}
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
    "2 x 128": NARROW,
    "2 x 128, half the updates": {**NARROW, "updates_per_step": 0.5},
    "2 x 128, batch 64": {**NARROW, "batch_size": 64},
    "2 x 128, batch 256, lr 3e-4": {**NARROW, "batch_size": 256, "lr": 3e-4},
    "2 x 128, n-step 3": {**NARROW, "n_step": 3},
    "2 x 128, delay 2": {**NARROW, "policy_delay": 2},
    "2 x 128, LayerNorm": NARROW_NORM,
    "2 x 128, twice the updates": {**NARROW, "updates_per_step": 2.0},
    "2 x 128, twice the updates, 1,000 random steps": {
        **NARROW, "updates_per_step": 2.0, "start_steps": 1000,
    },
    "2 x 128, twice the updates, lr 3e-4": {**NARROW, "updates_per_step": 2.0, "lr": 3e-4},
    "2 x 128, twice the updates, LayerNorm": {**NARROW_NORM, "updates_per_step": 2.0},
    "2 x 128, twice the updates, LayerNorm, delay 2": {
        **NARROW_NORM, "updates_per_step": 2.0, "policy_delay": 2,
    },
    "2 x 128, four times the updates": {**NARROW, "updates_per_step": 4.0},
    "2 x 128, four times the updates, delay 4": {**NARROW, "updates_per_step": 4.0, "policy_delay": 4},
    "2 x 128, four times the updates, LayerNorm, delay 4": {
        **NARROW_NORM, "updates_per_step": 4.0, "policy_delay": 4,
    },
    "2 x 128, BatchRenorm": {**NARROW_BATCH, "policy_delay": 1},
    "2 x 128, BatchRenorm, delay 3": NARROW_BATCH,
    "2 x 128, BatchRenorm, delay 3, default betas": {**NARROW_BATCH, "betas": (0.9, 0.999)},
    "2 x 128, BatchRenorm in both, delay 3": {
        **NARROW_BATCH, "ac_kwargs": {"hidden_sizes": (128, 128), **BOTH},
    },
    "2 x 128, BatchRenorm, twice the updates, delay 2": {
        **NARROW_BATCH, "updates_per_step": 2.0, "policy_delay": 2,
    },
    "2 x 64, BatchRenorm, four times the updates, delay 3": {
        **NARROW_BATCH, "updates_per_step": 4.0,
        "ac_kwargs": {"hidden_sizes": (64, 64), "critic_norm": "batch_renorm"},
    },
    "2 x 128, BatchRenorm, blocks of 10": BLOCKS,
    "2 x 128, BatchRenorm, blocks of 10, delay 2": {**BLOCKS, "policy_delay": 2},
    "2 x 128, BatchRenorm, blocks of 10, default betas": {**BLOCKS, "betas": (0.9, 0.999)},
    "2 x 128, BatchRenorm in both, blocks of 10": {
        **BLOCKS, "ac_kwargs": {"hidden_sizes": (128, 128), **BOTH},
    },
    "2 x 128, BatchRenorm, quantiles, blocks of 10": {**BLOCKS, "critic": "quantile"},
    "2 x 128, twice the updates, blocks of 10": {**NARROW, "updates_per_step": 2.0, "update_every": 10},
    "2 x 64": SMALL,
    "2 x 64, twice the updates": {**SMALL, "updates_per_step": 2.0},
    "2 x 64, four times the updates": {**SMALL, "updates_per_step": 4.0},
}  # fmt: skip


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--envs", nargs="+", default=["Hopper-v5", "HalfCheetah-v5"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--seconds", type=float, default=150.0, help="of processor time")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--costs", type=int, default=0, metavar="N", help="only measure costs, N times")
    parser.add_argument("--anew", action="store_true", help="forget costs of another machine")
    args = parser.parse_args()
    path = RESULTS / "laptop.json"
    record = json.loads(path.read_text()) if path.exists() else {"runs": {}, "cost": {}}
    record["seconds"] = args.seconds
    record["machine"] = machine()
    record["packages"] = {name: version(name) for name in ("torch", "numpy", "gymnasium", "mujoco")}
    cases = [(env, name) for name in args.only for env in args.envs]

    def add_cost(env: str, name: str, seconds: float) -> None:
        record["cost"].setdefault(env, {}).setdefault(name, []).append(seconds)
        path.write_text(json.dumps(record, indent=1) + "\n")

    context = multiprocessing.get_context("spawn")
    if args.costs:
        record["cost"] = {} if args.anew else record["cost"]
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            for env, name in cases * args.costs:
                add_cost(env, name, pool.submit(cost, env, CANDIDATES[name]).result())
    else:
        with ProcessPoolExecutor(args.jobs, mp_context=context) as pool:
            costs = {
                pool.submit(cost, env, CANDIDATES[name]): (env, name)
                for env, name in cases
                if name not in record["cost"].get(env, {})
            }
            for measured in as_completed(costs):
                add_cost(*costs[measured], measured.result())
            runs = {
                pool.submit(run, env, seed, steps, CANDIDATES[name]): f"{env} | {name} | {seed}"
                for env, name, seed, steps in missing(args.seeds, cases, record)
            }
            for done in as_completed(runs):
                record["runs"][runs[done]] = done.result()
                path.write_text(json.dumps(record, indent=1) + "\n")
                print(runs[done], record["runs"][runs[done]], flush=True)
    (RESULTS / "laptop.md").write_text(table(record))
    print(table(record))


def steps_within(record: dict[str, Any], env: str, name: str) -> float:
    """Environment steps that fit into the seconds of processor time."""
    return float(record["seconds"] / statistics.median(record["cost"][env][name]))


def missing(
    seeds: list[int], cases: list[tuple[str, str]], record: dict[str, Any]
) -> Iterator[tuple[str, str, int, int]]:
    """Environment, candidate, seed and steps of the runs without a result that is long enough."""
    for seed in seeds:
        for env, name in cases:
            steps, done = steps_within(record, env, name), record["runs"].get(f"{env} | {name} | {seed}", [])
            if len(done) < int(steps / EVERY):
                yield env, name, seed, math.ceil(MARGIN * steps / EVERY) * EVERY


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
    """The mean return of each test of a run."""
    from spinup import sac_pytorch

    returns: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        sac_pytorch(
            env,
            seed=seed,
            threads=1,
            epochs=steps // EVERY,
            steps_per_epoch=EVERY,
            num_test_episodes=EPISODES,
            callback=lambda row, _: returns.append(round(float(row["AverageTestEpRet"]), 2)),
            logger_kwargs={"output_dir": folder, "quiet": True},
            **settings,
        )
    return returns


def table(record: dict[str, Any]) -> str:
    """Results, their mean over seeds, and the steps that they took, for each candidate and environment."""
    envs = list(record["cost"])
    lines = [
        "| settings | " + " | ".join(f"{env}: return (seeds) | steps" for env in envs) + " |",
        "|---|" + "---|---|" * len(envs),
    ]
    for name in CANDIDATES:
        cells = []
        for env in envs:
            if name not in record["cost"][env]:
                cells += ["", ""]
                continue
            steps = steps_within(record, env, name)
            tests = max(int(steps / EVERY), 1)
            own = (run for key, run in record["runs"].items() if key.startswith(f"{env} | {name} | "))
            last = slice(max(tests - LAST, 0), tests)
            ends = [statistics.mean(curve[last]) for curve in own if len(curve) >= tests]
            each = ", ".join(f"{end:,.0f}" for end in ends)
            cells += [f"{statistics.mean(ends):,.0f} ({each})" if ends else "", f"{steps:,.0f}"]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    about = f"{record['seconds']:.0f} s of one core for each run; mean of the last {LAST} tests."
    about += " Without a return: not run, or not for as many steps."
    return "\n".join(lines) + f"\n\n{about} Processor {record['machine']['processor']}.\n"


if __name__ == "__main__":
    main()
