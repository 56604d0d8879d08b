"""Where remote collectors saturate: a simulation of one learner and up to 1,000 collectors.

    python benchmarks/scale_simulation.py --calibrate    # measures its inputs on this machine, then simulates
    python benchmarks/scale_simulation.py                # simulates with the stored inputs

The model has the parts of `spinup.collect.remote`: a learner with one thread, which hands out tickets, admits
blocks and makes updates; its network link, in each direction a queue; and collectors, which answer their
tickets in turn and have at most two. A policy goes once to each node of 16 collectors. Inputs are measured:
bytes of a block and of a policy (HalfCheetah-v5, default networks), the learner's time for a ticket, a block
and an update, Ray's time for a message. Writes benchmarks/results/scale.json and scale.png.
"""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from speed import machine

RESULTS = Path(__file__).parent / "results"
PER_NODE = 16  # collectors that share a node, and its copy of the policy
TICKETS = 2
COLLECTORS = (1, 2, 4, 8, 10, 16, 32, 64, 100, 200, 400, 1000)


@dataclass(frozen=True)
class Costs:
    """Measured inputs: bytes and seconds."""

    block_bytes_per_row: float
    block_bytes_fixed: float
    policy_bytes: int
    snapshot_seconds: float  # packing a policy
    block_seconds_per_row: float  # unpacking, checking and storing
    block_seconds_fixed: float
    message_seconds: float  # Ray: sending a ticket and receiving its block, in the learner's process
    update_seconds: float
    act_seconds: float  # choosing an action and stepping HalfCheetah, in the collector


@dataclass(frozen=True)
class Setting:
    """One simulated run."""

    collectors: int
    env_seconds: float  # of a step, with its action
    updates_per_step: float = 1.0
    block_rows: int = 50
    bandwidth: float = 1.25e8  # bytes per second in each direction, 1 Gbit/s
    latency: float = 2e-4
    max_staleness: float = float("inf")


def simulate(costs: Costs, s: Setting) -> dict[str, Any]:
    """Steps per second, staleness, and how busy each part is, once it has settled."""
    blocks = max(4000, 40 * s.collectors)
    block_bytes = costs.block_bytes_fixed + s.block_rows * costs.block_bytes_per_row
    admit = costs.block_seconds_fixed + s.block_rows * costs.block_seconds_per_row + costs.message_seconds / 2
    updating = s.block_rows * s.updates_per_step * costs.update_seconds
    collecting = s.block_rows * s.env_seconds
    now = busy_until_out = busy_until_in = 0.0
    version = 0.0
    free_at = [0.0] * s.collectors
    held = [0] * s.collectors
    node_version = [-1.0] * (s.collectors // PER_NODE + 1)
    arrivals: list[tuple[float, int, float]] = []  # when, collector, version of its policy
    wanting = deque(range(s.collectors))
    wanting.extend(range(s.collectors))
    on_the_way = 0
    settled = (0.0, 0)
    busy = dict.fromkeys(("updates", "messages", "network out", "network in", "collectors"), 0.0)
    ages: list[float] = []
    for count in range(blocks):
        while wanting and (on_the_way + s.block_rows) * s.updates_per_step <= s.max_staleness:
            i = wanting.popleft()
            cost = costs.message_seconds / 2
            size = 300.0
            if node_version[i // PER_NODE] != version:
                cost += costs.snapshot_seconds if max(node_version) != version else 0.0
                node_version[i // PER_NODE] = version
                size += costs.policy_bytes
            now += cost
            busy["messages"] += cost
            busy_until_out = max(busy_until_out, now) + size / s.bandwidth
            busy["network out"] += size / s.bandwidth
            begin = max(busy_until_out + s.latency, free_at[i])
            free_at[i] = begin + collecting
            busy["collectors"] += collecting / s.collectors
            heapq.heappush(arrivals, (free_at[i], i, version))
            on_the_way += s.block_rows
            held[i] += 1
        done, i, acted_by = heapq.heappop(arrivals)
        busy_until_in = max(busy_until_in, done) + block_bytes / s.bandwidth
        busy["network in"] += block_bytes / s.bandwidth
        now = max(now, busy_until_in + s.latency)
        ages.append(version - acted_by)
        now += admit + updating
        busy["messages"] += admit
        busy["updates"] += updating
        version += s.block_rows * s.updates_per_step
        on_the_way -= s.block_rows
        wanting.append(i)
        if count == blocks // 10:
            settled = (now, count)
            busy = dict.fromkeys(busy, 0.0)
    taken = now - settled[0]
    shares = {name: value / taken for name, value in busy.items()}
    return {
        **{k: v for k, v in asdict(s).items() if v != float("inf")},
        "steps per second": (blocks - 1 - settled[1]) * s.block_rows / taken,
        "staleness": statistics.mean(ages[blocks // 10 :]),
        "busy": {name: round(min(value, 1.0), 3) for name, value in shares.items()},
        "bottleneck": max(shares, key=lambda name: shares[name]),
    }


def calibrate() -> Costs:
    """Measure every input on this machine: medians of processor time, which other work hardly changes."""
    from spinup.collect.messages import pack
    from spinup.collect.remote import RemoteCollector
    from spinup.collect.remote_worker import CollectorWorker
    from spinup.collect.transport import Message
    from spinup.collect.update_schedule import UpdateSchedule
    from spinup.config import SACConfig
    from spinup.envs.make import env_function

    sizes = {}
    config = SACConfig(collectors=1, max_staleness=10**6, start_steps=0, steps_per_epoch=10**6)
    policy, replay = halfcheetah()
    for rows in (10, 500):
        worker = CollectorWorker(env_function("HalfCheetah-v5"), config, policy.make, 0, 0)
        snapshot = pack({"version": 0, "arrays": policy.arrays()})
        blocks, acting = [], []
        for k in range(100):
            began = time.process_time()
            blocks.append(
                worker.run(pack({"kind": "ticket", "ticket": k, "rows": rows, "random": 0}), snapshot)
            )
            acting.append((time.process_time() - began) / rows)
        assert worker.envs is not None
        learner = RemoteCollector(
            config, lambda: None, worker.envs.actions, worker.envs.fields, Silent(), UpdateSchedule(config)
        )
        learner.act_by(policy)
        learner._start(learner._collectors[0])
        hello = pack({"kind": "hello", "collector": 0, "incarnation": 0})
        learner._receive(Message(0, 0, hello))
        seconds = []
        for block in blocks:
            learner._hand_out()
            began = time.process_time()
            learner._receive(Message(0, 0, block))
            replay.add(learner._admit(learner._collectors[0])[0])
            seconds.append(time.process_time() - began)
        sizes[rows] = (len(blocks[0]), statistics.median(seconds), statistics.median(acting))
    (few, few_seconds, _), (many, many_seconds, act) = sizes[10], sizes[500]
    snapshots = []
    for _ in range(50):
        began = time.process_time()
        snapshot = pack({"version": 0, "arrays": policy.arrays()})
        snapshots.append(time.process_time() - began)
    message_seconds = ray_message_seconds(few + 40 * (many - few) // 490, snapshot)
    per_row = (many - few) / 490
    seconds_per_row = max((many_seconds - few_seconds) / 490, 0.0)
    return Costs(
        block_bytes_per_row=per_row,
        block_bytes_fixed=few - 10 * per_row,
        policy_bytes=len(snapshot),
        snapshot_seconds=statistics.median(snapshots),
        block_seconds_per_row=seconds_per_row,
        block_seconds_fixed=max(few_seconds - 10 * seconds_per_row, 0.0),
        message_seconds=message_seconds,
        update_seconds=update_seconds(act),
        act_seconds=act,
    )


def ray_message_seconds(size: int, policy: bytes) -> float:
    """Processor seconds in the learner's process of a ticket with a policy, and a block of `size` bytes."""
    from spinup.collect.ray_transport import RayTransport
    from spinup.collect.transport import pickled_program

    transport = RayTransport(None)
    transport.open(pickled_program(lambda collector, incarnation: Echo(size)), 1)
    transport.start(0, 0)
    seconds = []
    try:
        for _ in range(300):
            began = time.process_time()
            transport.send(0, b"x" * 300, bytes(bytearray(policy)))
            while not transport.receive(1.0):
                pass
            seconds.append(time.process_time() - began)
    finally:
        transport.close()
    return statistics.median(seconds[50:])


class Silent:
    """A transport to nobody."""

    def start(self, collector: int, incarnation: int) -> None:
        """Nothing."""

    def send(self, collector: int, request: bytes, policy: bytes = b"") -> None:
        """Nothing."""


class Echo:
    """A worker that answers with as many bytes as a block has."""

    def __init__(self, size: int) -> None:
        self.answer = bytes(size)

    def run(self, request: bytes, policy: bytes) -> bytes:
        """The answer."""
        return self.answer


def halfcheetah() -> tuple[Any, Any]:
    """The policy of a new agent for HalfCheetah-v5, and a replay buffer for its transitions."""
    from gymnasium.spaces import Box

    from spinup.pytorch.agent import Agent, UpdateOptions
    from spinup.pytorch.networks.actor_critic import MLPActorCritic
    from spinup.pytorch.policy import gaussian_policy
    from spinup.pytorch.remote_policy import policy_source
    from spinup.replay.buffer import ReplayBuffer
    from spinup.replay.builders import OneStepBuilder
    from spinup.replay.samplers import UniformSampler
    from spinup.replay.storage import HostStorage
    from spinup.replay.transition import transition_fields

    spaces = Box(-np.inf, np.inf, (17,), np.float32), Box(-1.0, 1.0, (6,), np.float32)
    agent = Agent(
        MLPActorCritic(*spaces), UpdateOptions(), critics=2, has_value=False, make_policy=gaussian_policy,
        seed=0, save=lambda ac, path: None,
    )  # fmt: skip
    sampler, fields = UniformSampler(OneStepBuilder(0.99)), transition_fields(17, 6)
    replay = ReplayBuffer(HostStorage([fields[name] for name in sampler.stored_fields], 200_000), sampler)
    return policy_source(agent, gaussian_policy, MLPActorCritic, spaces, {}), replay


def update_seconds(act_seconds: float) -> float:
    """Processor seconds of a gradient step of a default run on HalfCheetah-v5 with one thread."""
    import tempfile

    from spinup import sac_pytorch

    ends: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        sac_pytorch(
            "HalfCheetah-v5", steps_per_epoch=1000, epochs=5, start_steps=1000, update_after=1000, threads=1,
            num_test_episodes=0, checkpoint_every=0, checkpoint_minutes=0.0,
            logger_kwargs={"output_dir": folder, "quiet": True, "tensorboard": False},
            callback=lambda row, ac: ends.append(time.process_time()),
        )  # fmt: skip
    return max((ends[-1] - ends[0]) / (1000 * (len(ends) - 1)) - act_seconds, 1e-5)


def main() -> None:
    """Calibrate if asked, simulate, store numbers and figure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calibrate", action="store_true", help="measure the inputs on this machine")
    args = parser.parse_args()
    path = RESULTS / "scale.json"
    if args.calibrate:
        costs, about = calibrate(), machine()
        packages = {name: version(name) for name in ("torch", "numpy", "gymnasium", "ray")}
    else:
        stored = json.loads(path.read_text())
        costs, about, packages = Costs(**stored["costs"]), stored["machine"], stored["packages"]
    record = {
        "command": "python benchmarks/scale_simulation.py --calibrate",
        "machine": about,
        "packages": packages,
        "costs": asdict(costs),
        "tables": tables(costs),
        "curves": curves(costs),
    }
    path.write_text(json.dumps(record, indent=1) + "\n")
    draw(record["curves"], RESULTS / "scale.png")
    print(markdown(record["tables"]))


ENVS = {"20 ms": 0.02, "1 ms": 0.001, "HalfCheetah": None}
RATIOS = (1.0, 0.1, 0.01)


def curves(costs: Costs) -> list[dict[str, Any]]:
    """Steps per second over the number of collectors, by environment and updates per step."""
    found = []
    for name, seconds in ENVS.items():
        for ratio in RATIOS:
            for collectors in COLLECTORS:
                setting = Setting(collectors, seconds or costs.act_seconds, ratio)
                found.append({"env": name, **simulate(costs, setting)})
    return found


def tables(costs: Costs) -> list[dict[str, Any]]:
    """10, 100 and 1,000 collectors, with what limits them, also for other blocks and networks."""
    found = []
    for collectors in (10, 100, 1000):
        for name, seconds in (("20 ms", 0.02), ("HalfCheetah", costs.act_seconds)):
            for ratio in RATIOS:
                for rows, bandwidth in ((50, 1.25e8), (500, 1.25e8), (50, 1.25e9)):
                    setting = Setting(collectors, seconds, ratio, rows, bandwidth)
                    found.append({"env": name, **simulate(costs, setting)})
    return found


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table for docs/scale.md: blocks of 50 over 1 Gbit/s."""
    lines = [
        "| environment | updates per step | collectors | steps/s | staleness | bottleneck |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["block_rows"] == 50 and row["bandwidth"] == 1.25e8:
            lines.append(
                f"| {row['env']} | {row['updates_per_step']:g} | {row['collectors']:,} | "
                f"{row['steps per second']:,.0f} | {row['staleness']:,.0f} | {row['bottleneck']} "
                f"({row['busy'][row['bottleneck']]:.0%}) |"
            )
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Steps per second over collectors, a panel for each environment."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(ENVS), figsize=(9.6, 3.4), layout="constrained", sharey=True)
    for axes, name in zip(panels, ENVS, strict=True):
        for k, ratio in enumerate(RATIOS):
            mine = [row for row in rows if row["env"] == name and row["updates_per_step"] == ratio]
            x, y = [row["collectors"] for row in mine], [row["steps per second"] for row in mine]
            axes.loglog(x, y, ".-", color=f"C{k}", label=f"{ratio:g} updates per step")
        axes.set_title(f"step of {name}" if name in ("20 ms", "1 ms") else name, fontsize=10)
        axes.set_xlabel("collectors")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("environment steps per second")
    panels[0].legend(fontsize=8)
    figure.savefig(path, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    sys.exit(main())
