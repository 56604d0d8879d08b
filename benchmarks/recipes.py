"""Processor time of an environment step with its updates, for each recipe, by `eager` and by `auto`.

    python benchmarks/recipes.py [--only crossq droq] [--turns 3]

trains on HalfCheetah-v5 with one thread for 200 steps, the first 100 without updates, and writes the
milliseconds of a step from 125 to 175, which contain 50 steps' updates, to results/recipes.json. Times are
those of the processor, which other programs change little; the median over turns counts. With `--only`, the
stored times of other recipes stay.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

from speed import machine

RESULTS = Path(__file__).parent / "results" / "recipes.json"
STEPS, WITHOUT, FIRST, LAST = 200, 100, 125, 175  # of a run; without updates; those between which it measures
ENGINES = ("eager", "auto")


def settings() -> dict[str, dict[str, Any]]:
    """Arguments of `sac_pytorch` by name: of SAC, of all recipes, and of CrossQ with narrow critics."""
    from spinup.recipes import RECIPES

    found: dict[str, dict[str, Any]] = {
        "sac": {"alpha": "auto", "lr": 3e-4, "batch_size": 256},
        **{name: {"recipe": name} for name in RECIPES},
    }
    narrow = {"hidden_sizes": (256, 256), "critic_hidden_sizes": (256, 256)}
    return {**found, "crossq, critics 2 x 256": {"recipe": "crossq", "ac_kwargs": narrow}}


def main() -> None:
    """Measure turn by turn and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=settings(), default=list(settings()))
    args = parser.parse_args()
    record: dict[str, Any] = {"machine": machine(), "milliseconds": {}}
    if RESULTS.exists() and (stored := json.loads(RESULTS.read_text()))["machine"] == record["machine"]:
        kept = stored["milliseconds"].items()
        record["milliseconds"] = {name: times for name, times in kept if name not in args.only}
    record["packages"] = {name: version(name) for name in ("torch", "numpy", "gymnasium", "mujoco")}
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for _ in range(args.turns):
            for name in args.only:
                times = record["milliseconds"].setdefault(name, {})
                for engine in ENGINES:
                    used, milliseconds = pool.submit(measure, name, engine).result()
                    times.setdefault(engine, []).append(milliseconds)
                    times["engine"] = used  # of the last, "auto"
                RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    print(table(record["milliseconds"]))


def measure(name: str, engine: str) -> tuple[str, float]:
    """The engine that ran, and milliseconds of processor time of a step with updates."""
    from spinup import sac_pytorch

    marks: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        sac_pytorch(
            "HalfCheetah-v5",
            engine=engine,
            threads=1,
            epochs=1,
            steps_per_epoch=STEPS,
            num_test_episodes=0,
            callback=lambda row, _: marks.setdefault(row["TotalEnvInteracts"], time.process_time()),
            callback_every=(LAST - FIRST) // 2,
            logger_kwargs={"output_dir": folder, "quiet": True},
            **{**settings()[name], "start_steps": WITHOUT, "update_after": WITHOUT},
        )
        used = json.loads((Path(folder) / "config.json").read_text())["engine"]
    return str(used), (marks[LAST] - marks[FIRST]) / (LAST - FIRST) * 1e3


def table(times: dict[str, dict[str, Any]]) -> str:
    """A Markdown table of medians, in milliseconds per step."""
    lines = ["| recipe | eager | auto | engine |", "|---|---|---|---|"]
    for name, of in times.items():
        eager, auto = (statistics.median(of[engine]) for engine in ENGINES)
        lines.append(f"| {name} | {eager:.1f} | {auto:.1f} | {of['engine']} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
