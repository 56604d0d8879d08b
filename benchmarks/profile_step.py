"""Where the time of a training step goes, in percent: act, env, store, sample, update, the rest.

    python benchmarks/profile_step.py [--env HalfCheetah-v5] [--engines eager native] [--steps 2000]

One run for each engine and turn, in turns; the first epoch of a run, with its start-up, is left out.
Prints a Markdown table of medians and writes results/profile.json.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from speed import machine

import spinup
from spinup.training import Trainer

RESULTS = Path(__file__).parent / "results"
PARTS = ("act", "env", "store", "sample", "update", "the rest")


def main() -> None:
    """Profile every engine and store the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--env", default="HalfCheetah-v5")
    parser.add_argument("--engines", nargs="+", default=["eager", "native"])
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--num_envs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2000, help="env steps that are timed")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS / "profile.json")
    args = parser.parse_args()
    turns = [{engine: profile(args, engine) for engine in args.engines} for _ in range(args.turns)]
    packages = {name: version(name) for name in ("torch", "numpy", "gymnasium", "mujoco")}
    record = {"machine": machine(), "packages": packages, "env": args.env, "batch": args.batch}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({**record, "microseconds_per_step": turns}, indent=1) + "\n")
    print(table(turns))


def profile(args: argparse.Namespace, engine: str) -> dict[str, float]:
    """Microseconds per env step, part by part, of one run."""
    clock, marks = Clock(), []

    def mark(row: dict[str, Any], ac: Any) -> None:
        marks.append((time.perf_counter(), dict(clock.spent)))

    run = Trainer.run
    Trainer.run = lambda trainer: run(clock.watch(trainer))  # type: ignore[method-assign]
    try:
        with tempfile.TemporaryDirectory() as folder:
            spinup.sac_pytorch(
                args.env,
                engine=engine,
                batch_size=args.batch,
                num_envs=args.num_envs,
                steps_per_epoch=args.steps,
                epochs=2,
                start_steps=args.steps // 2,
                update_after=args.steps // 2,
                num_test_episodes=0,
                checkpoint_every=0,
                checkpoint_minutes=0,
                logger_kwargs={"output_dir": f"{folder}/run", "quiet": True},
                callback=mark,
            )
    finally:
        Trainer.run = run  # type: ignore[method-assign]
    (start, before), (end, after) = marks
    parts = {part: after[part] - before[part] for part in PARTS[:-1]}
    parts["the rest"] = end - start - sum(parts.values())
    return {part: 1e6 * seconds / args.steps for part, seconds in parts.items()}


class Clock:
    """Seconds spent in the parts of a step."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = defaultdict(float)

    def watch(self, trainer: Any) -> Any:
        """Time the calls that the loop makes."""
        agent, engine, replay = trainer.agent, trainer.engine, trainer.replay
        calls = [
            ("act", agent, "act"), ("env", trainer.collector, "step"), ("store", replay, "add"),
            ("sample", replay, "sample"), ("sample", engine, "draw_noise"), ("update", engine, "update"),
        ]  # fmt: skip
        for part, owner, name in calls:
            setattr(owner, name, self._timed(part, getattr(owner, name)))
        return trainer

    def _timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            start = time.perf_counter()
            result = call(*args)
            self.spent[part] += time.perf_counter() - start
            return result

        return timed


def table(turns: list[dict[str, dict[str, float]]]) -> str:
    """Medians over turns as a Markdown table: percent of a step, and its microseconds."""
    lines = ["| engine | " + " | ".join(PARTS) + " | a step |", "|---|" + "---|" * (len(PARTS) + 1)]
    for engine in turns[0]:
        medians = {part: statistics.median(turn[engine][part] for turn in turns) for part in PARTS}
        whole = sum(medians.values())
        cells = [f"{medians[part] / whole:.1%}" for part in PARTS]
        lines.append(f"| {engine} | " + " | ".join(cells) + f" | {whole:.0f} us |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
