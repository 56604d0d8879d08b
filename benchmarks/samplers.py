"""What sampling costs beside the update: each sampler on a full replay buffer, turn by turn in one run.

    python benchmarks/samplers.py [--rows 1000000] [--turns 20]

For blocks of 50 gradient steps and of 1, at the sizes of HalfCheetah and batches of 100: CPU microseconds per
gradient step to store a transition, draw a batch and take its TD errors over, and to compute the update with
the engine `native`. The table shows medians, results/samplers.json all numbers.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from speed import machine
from update import ACT, OBS, make

from spinup.config import SACConfig
from spinup.pytorch.torch_settings import torch_settings
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.hindsight import Goals, HindsightSampler
from spinup.replay.normalizer import Normalizer
from spinup.replay.registry import make_sampler
from spinup.replay.samplers import Sampler
from spinup.replay.storage import HostStorage
from spinup.replay.transition import Transitions, transition_fields

RESULTS = Path(__file__).parent / "results"
BATCH, EPISODE = 100, 1000
GOALS = Goals(slice(0, 3), slice(3, 6), lambda achieved, desired: -np.abs(achieved - desired)[:, 0], None)


def main() -> None:
    """Time every sampler for both sizes of blocks and store the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--turns", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS / "samplers.json")
    args = parser.parse_args()
    with torch_settings(1, 0):
        blocks = {str(count): measure(args.rows, args.turns, count) for count in (50, 1)}
    packages = {name: version(name) for name in ("torch", "numpy")}
    record = {"machine": machine(), "packages": packages, "rows": args.rows, "microseconds": blocks}
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(table(blocks))


def samplers() -> dict[str, Sampler]:
    """The samplers by name."""
    return {
        "uniform": make_sampler(SACConfig()),
        "n_step=3": make_sampler(SACConfig(n_step=3)),
        "per": make_sampler(SACConfig(sampler="per")),
        "her": HindsightSampler(0.99, 4, GOALS),
    }


def measure(rows: int, turns: int, count: int) -> list[dict[str, float]]:
    """Microseconds per gradient step of each sampler and of the update, for each turn of `count` steps."""
    fields = transition_fields(OBS, ACT)
    found: dict[str, ReplayBuffer] = {}
    for name, sampler in samplers().items():
        storage = HostStorage([fields[field] for field in sampler.stored_fields], rows)
        found[name] = ReplayBuffer(storage, sampler)
        found[name].add(transitions(0, rows))
    plain = found["uniform"]
    normalizer = Normalizer(OBS, 1, 0.99, observations=True, rewards=True)
    found["uniform, normalized"] = ReplayBuffer(plain.storage, plain.sampler, normalizer)
    options = argparse.Namespace(alpha="0.2", device="cpu", threads=1)
    agent, engine = make(options, "native", BATCH)
    rng, errors = np.random.default_rng(0), np.random.default_rng(1).exponential(1, (count, BATCH))
    new = [transitions(k, k + 1) for k in range(count)]
    results = []
    for turn in range(turns + 2):
        times = {}
        for name, buffer in found.items():
            start = time.process_time()
            for transition in new:
                buffer.add(transition)
            batches = buffer.sample(count, BATCH, rng)
            buffer.sampler.update_priorities(errors)
            times[name] = (time.process_time() - start) / count * 1e6
            if name == "uniform":
                batches |= engine.draw_noise(batches, rng)
                start = time.process_time()
                engine.update(agent, batches)
                times["update"] = (time.process_time() - start) / count * 1e6
        if turn > 1:  # two to warm up
            results.append(times)
    return results


def transitions(start: int, stop: int) -> Transitions:
    """Transitions of normal numbers in episodes of EPISODE steps."""
    rng, number = np.random.default_rng(start), np.arange(start, stop)
    found: dict[str, Any] = {
        name: rng.standard_normal((len(number), *field.shape), np.float32).astype(field.dtype)
        for name, field in transition_fields(OBS, ACT).items()
    }
    # Rewards that the goals of hindsight agree with.
    found["reward"] = -np.abs(found["next_obs"][:, 0] - found["obs"][:, 3])
    found["env"][:], found["terminated"][:] = 0, False
    found["episode_start"] = number % EPISODE == 0
    return found


def table(blocks: dict[str, list[dict[str, float]]]) -> str:
    """Medians, and the shares of the update."""
    lines = [
        "| block | what | us per gradient step | over uniform, share of uniform and update |",
        "|---|---|---|---|",
    ]
    for block, turns in blocks.items():
        medians = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
        whole = medians["uniform"] + medians["update"]
        for name, value in medians.items():
            share = "" if name in ("uniform", "update") else f"{(value - medians['uniform']) / whole:.1%}"
            lines.append(f"| {block} | {name} | {value:.0f} | {share} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
