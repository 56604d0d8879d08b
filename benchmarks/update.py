"""Update-only speed: every engine against the matrix products alone, turn by turn in one run.

    python benchmarks/update.py [--engines eager fused compile] [--batch 100 256] [--turns 15]

The limit is what the matrix products of one update would take at the rate that torch reaches on the
largest of them, measured in the same turn. Ratios are taken within a turn; the table shows their medians,
results/update.json all numbers. Run it with nothing else on the machine.
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
import torch
from gymnasium.spaces import Box
from speed import machine

from spinup.config import SACConfig
from spinup.envs.spaces import action_spec
from spinup.pytorch.engines.registry import make_learner
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.torch_settings import thread_count, torch_settings
from spinup.pytorch.variants.registry import make_objective
from spinup.replay.storage import Block, Layout

RESULTS = Path(__file__).parent / "results"
OBS, ACT, WIDTH = 17, 6, 256  # HalfCheetah, two hidden layers
COUNT = 50  # gradient steps per block, the default `update_every`


def main() -> None:
    """Time every engine at every batch size and store the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", default=["eager", "fused", "native"])
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 256])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--alpha", default="0.2", help='a number, or "auto"')
    parser.add_argument("--threads", type=int, default=thread_count(SACConfig()))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "update.json")
    args = parser.parse_args()
    with torch_settings(args.threads, 0):
        turns = {str(batch): measure(args, batch) for batch in args.batch}
    packages = {name: version(name) for name in ("torch", "numpy")}
    record = {"machine": machine(), "packages": packages, "threads": args.threads, "milliseconds": turns}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(table(turns))


def measure(args: argparse.Namespace, batch: int) -> list[dict[str, float]]:
    """Milliseconds per update of the limit and of each engine, for each turn."""
    learners = {engine: make(args, engine, batch) for engine in args.engines}
    block = random_block(batch)
    turns = []
    for turn in range(args.turns + 2):
        times = {"limit": limit(batch, args.device)}
        for engine, learner in learners.items():
            start = time.perf_counter()
            learner.update(block)
            times[engine] = (time.perf_counter() - start) / COUNT * 1e3
        if turn > 1:  # two to warm up and to compile
            turns.append(times)
    return turns


def make(args: argparse.Namespace, engine: str, batch: int) -> Any:
    """A learner on the default networks."""
    spaces = Box(-np.inf, np.inf, (OBS,)), Box(-1.0, 1.0, (ACT,))
    alpha = args.alpha if args.alpha.startswith("auto") else float(args.alpha)
    config = SACConfig(engine=engine, alpha=alpha, batch_size=batch)
    torch.manual_seed(0)
    ac = MLPActorCritic(*spaces, hidden_sizes=(WIDTH, WIDTH)).to(args.device)
    objective = make_objective(ac, config, spaces[1])
    return make_learner(ac, objective, config, action_spec(spaces[1]), lambda ac, path: None)[0]


def random_block(batch: int) -> Block:
    """Batches of standard normal numbers, without terminal states."""
    layout, rng = Layout(OBS, ACT), np.random.default_rng(0)
    rows = rng.standard_normal((COUNT, batch, layout.width), dtype=np.float32)
    rows[..., layout.a] = np.tanh(rows[..., layout.a])
    rows[..., layout.d] = 0.0
    return Block(layout, rows, rng.standard_normal((COUNT, 2, batch, ACT), dtype=np.float32))


def limit(batch: int, device: str) -> float:
    """Milliseconds for the matrix products of one update, at the rate of the largest one."""
    x, w = torch.ones(2, batch, WIDTH, device=device), torch.ones(2, WIDTH, WIDTH, device=device)
    out, repeats = torch.empty_like(x), 200
    start = time.perf_counter()
    for _ in range(repeats):
        torch.bmm(x, w, out=out)
    out.sum().item()
    rate = repeats * 2 * batch * WIDTH**2 / (time.perf_counter() - start)
    return batch * multiplications() / rate * 1e3


def multiplications() -> int:
    """Multiplications that one update needs for each row of its batch, by products of matrices."""
    pi_first, q_first, square = OBS * WIDTH, (OBS + ACT) * WIDTH, WIDTH**2
    pi, q = pi_first + square + 2 * ACT * WIDTH, q_first + square + WIDTH
    forward = 2 * pi + 2 * (q + q + q)  # pi at o2 and o; both targets, both critics at a and at a~
    critics = 2 * (q + q - q_first)  # gradients by weights; by activations, not by the input
    policy = 2 * (q - q_first + ACT * WIDTH) + pi + pi - pi_first  # through the critics to a~ alone
    return forward + critics + policy


def table(turns: dict[str, list[dict[str, float]]]) -> str:
    """Medians and ratios as a Markdown table."""
    lines = ["| batch | engine | ms per update | of the limit | of eager's time |", "|---|---|---|---|---|"]
    for batch, rows in turns.items():
        for name in rows[0]:
            cells = [statistics.median(row[name] for row in rows)]
            cells.append(statistics.median(row["limit"] / row[name] for row in rows))
            cells.append(statistics.median(row[name] / row.get("eager", np.nan) for row in rows))
            lines.append(f"| {batch} | {name} | {cells[0]:.2f} | {cells[1]:.0%} | {cells[2]:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
