"""Update-only speed: every engine against the matrix products alone, turn by turn in one run.

    python benchmarks/update.py [--engines eager native compile] [--batch 100 256] [--turns 15]

Two limits, both measured in the same turn, say what the matrix products of one update would take: "products",
at the rate that torch reaches on the largest of them; "processor", at the rate of fused multiplications and
additions on registers alone (peak.cpp, all threads at once; needs a C++ compiler and the CPU). Ratios are
taken within a turn; the table shows their medians, results/update.json all numbers. Run it with nothing else
on the machine. Each engine has a process of its own, since torch's threads busy-wait after their work and
would take the cores from the next engine.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import multiprocessing
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from speed import machine

from spinup.config import SACConfig
from spinup.pytorch.agent import Agent
from spinup.pytorch.engines.native_build import FLAGS, SOURCES, compiler, native_flag
from spinup.pytorch.engines.registry import choose_engine
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.torch_settings import torch_settings
from spinup.pytorch.variants.registry import choose_variant, make_objective, update_options
from spinup.replay.registry import make_sampler
from spinup.runs.cores import thread_count

RESULTS = Path(__file__).parent / "results"
OBS, ACT, WIDTH = 17, 6, 256  # HalfCheetah, two hidden layers
COUNT = 50  # gradient steps per block, the default `update_every`


def main() -> None:
    """Time every engine at every batch size and store the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", default=["eager", "native"])
    parser.add_argument("--batch", type=int, nargs="+", default=[100, 256])
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--alpha", default="0.2", help='a number, or "auto"')
    parser.add_argument("--threads", type=int, default=thread_count(SACConfig()))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS / "update.json")
    args = parser.parse_args()
    turns = {str(batch): measure(args, batch) for batch in args.batch}
    packages = {name: version(name) for name in ("torch", "numpy")}
    record = {"machine": machine(), "packages": packages, "threads": args.threads, "milliseconds": turns}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(record, indent=1) + "\n")
    print(table(turns))


def measure(args: argparse.Namespace, batch: int) -> list[dict[str, float]]:
    """Milliseconds per update of the limits and of each engine, for each turn."""
    context = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        pools = {}
        for name in ("limits", *args.engines):
            pool = ProcessPoolExecutor(1, context, initializer=prepare, initargs=(args, name, batch))
            pools[name] = stack.enter_context(pool)
        turns = []
        for turn in range(args.turns + 2):
            times: dict[str, float] = {}
            for pool in pools.values():
                times |= pool.submit(time_once).result()
            if turn > 1:  # two to warm up and to compile
                turns.append(times)
    return turns


_timed: Callable[[], dict[str, float]]  # what a process of the benchmark measures
_open = ExitStack()  # stays open until the process ends, and with it torch's settings


def time_once() -> dict[str, float]:
    """Milliseconds per update, by name, of what this process measures."""
    return _timed()


def prepare(args: argparse.Namespace, name: str, batch: int) -> None:
    """Set what this process measures: an engine, or the limits."""
    global _timed
    _open.enter_context(torch_settings(args.threads, 0))
    peak = load_peak() if name == "limits" and args.device == "cpu" and compiler() else None

    def limits() -> dict[str, float]:
        found = {"products": products_limit(batch, args.device)}
        if peak is not None:
            found["processor"] = batch * multiplications() * 2e3 / processor_rate(peak, args.threads)
        return found

    if name == "limits":
        _timed = limits
        return
    agent, engine = make(args, name, batch)
    batches = random_batches(batch)

    def updates() -> dict[str, float]:
        engine.update(agent, batches)  # untimed, since a core that was idle is slow at first
        start = time.perf_counter()
        engine.update(agent, batches)
        return {name: (time.perf_counter() - start) / COUNT * 1e3}

    _timed = updates


def make(args: argparse.Namespace, engine: str, batch: int) -> tuple[Agent, Any]:
    """An agent on the default networks, and its engine."""
    spaces = Box(-np.inf, np.inf, (OBS,)), Box(-1.0, 1.0, (ACT,))
    alpha = args.alpha if args.alpha.startswith("auto") else float(args.alpha)
    config = SACConfig(engine=engine, alpha=alpha, batch_size=batch)
    variant = choose_variant(config, spaces[1])
    torch.manual_seed(0)
    agent = Agent(
        MLPActorCritic(*spaces, hidden_sizes=(WIDTH, WIDTH)).to(args.device),
        update_options(variant, config, spaces[1]),
        critics=config.critics,
        has_value=variant.has_value,
        make_policy=variant.make_policy,
        seed=0,
        save=lambda ac, path: None,
    )
    objective = make_objective(variant, config)
    fields = (*make_sampler(config).batch_fields, *objective.noise_fields())
    return agent, choose_engine(engine, agent, objective, fields, threads=args.threads)[0]


def random_batches(batch: int) -> dict[str, Any]:
    """Batches of standard normal numbers, without terminal states."""
    rng = np.random.default_rng(0)
    shapes = {"obs": (OBS,), "action": (ACT,), "reward": (), "next_obs": (OBS,)}
    found: dict[str, Any] = {
        name: rng.standard_normal((COUNT, batch, *shape), dtype=np.float32) for name, shape in shapes.items()
    }
    found["action"] = np.tanh(found["action"])
    found["discount"] = np.full((COUNT, batch), 0.99, np.float32)
    return {**found, "noise": rng.standard_normal((COUNT, 2, batch, ACT), dtype=np.float32)}


def load_peak() -> Any:
    """The function of peak.cpp, compiled as the native engine is."""
    program = compiler() or []
    command = [*program, *FLAGS, native_flag(program), "-DSCALAR=float", f"-I{SOURCES}"]
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "peak.so"
        source = str(Path(__file__).parent / "peak.cpp")
        subprocess.run([*command, source, "-o", str(library)], check=True)
        function = ctypes.CDLL(str(library)).peak
    function.restype, function.argtypes = ctypes.c_double, [ctypes.c_long]
    return function


def processor_rate(peak: Any, threads: int) -> float:
    """Operations per second of all threads at once, the best of five tries of some milliseconds."""
    with ThreadPoolExecutor(threads) as pool:  # ctypes releases the interpreter's lock
        return max(sum(pool.map(peak, [2_000_000] * threads)) for _ in range(5))


def products_limit(batch: int, device: str) -> float:
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
    lines = ["| batch | | ms per update | of the products' rate | of the processor's | of eager's time |"]
    lines.append("|---|---|---|---|---|---|")
    for batch, rows in turns.items():
        for name in rows[0]:
            cells = [statistics.median(row[name] for row in rows)]
            for limit in ("products", "processor"):
                cells.append(statistics.median(row.get(limit, np.nan) / row[name] for row in rows))
            cells.append(statistics.median(row[name] / row.get("eager", np.nan) for row in rows))
            lines.append(
                f"| {batch} | {name} | {cells[0]:.2f} | {cells[1]:.0%} | {cells[2]:.0%} | {cells[3]:.2f} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
