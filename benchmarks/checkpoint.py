"""Measures what a checkpoint costs: seconds and bytes, for replay buffers of 10k, 100k and 1M transitions.

    python benchmarks/checkpoint.py [--out benchmarks/results/checkpoint.json]

The state is that of a short run on HalfCheetah-v5 with the default networks. The replay buffer is filled with
random transitions; the first checkpoint writes all of them, and each later one those that an epoch of 4000
steps has added. The results are every single time, and the time to resume: to read and validate the newest
checkpoint, and to fill the replay buffer from it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from spinup import sac_pytorch
from spinup.loggers.run_folder import CHECKPOINT_FOLDER
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.builders import OneStepBuilder
from spinup.replay.samplers import UniformSampler
from spinup.replay.storage import HostStorage
from spinup.replay.transition import Transitions, transition_fields
from spinup.runs.checkpoint_files import CheckpointFolder

OBS_DIM, ACT_DIM, EPOCH = 17, 6, 4000
LATER = 12


def run_state() -> dict[str, Any]:
    """The state of a run after some updates, which create Adam's moments."""
    with tempfile.TemporaryDirectory() as folder:
        sac_pytorch(
            "HalfCheetah-v5", epochs=1, steps_per_epoch=200, update_after=100, num_test_episodes=0,
            alpha="auto", engine="eager", logger_kwargs={"output_dir": folder, "quiet": True},
        )  # fmt: skip
        checkpoint, _ = CheckpointFolder(Path(folder) / CHECKPOINT_FOLDER).read()
    assert checkpoint is not None
    return checkpoint.state


def empty(capacity: int) -> ReplayBuffer:
    """A replay buffer with the fields of one-step SAC."""
    sampler, fields = UniformSampler(OneStepBuilder(gamma=0.99)), transition_fields(OBS_DIM, ACT_DIM)
    return ReplayBuffer(HostStorage([fields[name] for name in sampler.stored_fields], capacity), sampler)


def add_random(replay: ReplayBuffer, count: int, rng: np.random.Generator) -> None:
    """Add `count` random transitions."""
    while count > 0:
        part = min(50_000, count)
        transitions: Transitions = {
            field.name: rng.standard_normal((part, *field.shape), dtype=np.float32).astype(field.dtype)
            for field in replay.fields
        }
        replay.add(transitions)
        count -= part


def timed(action: Any) -> tuple[float, Any]:
    """Seconds that `action` takes, and its result."""
    before = time.perf_counter()
    result = action()
    return time.perf_counter() - before, result


def measure(rows: int, state: dict[str, Any]) -> dict[str, Any]:
    """Checkpoints of a full replay buffer of `rows` transitions, in a temporary folder."""
    replay, rng = empty(rows), np.random.default_rng(0)
    add_random(replay, rows, rng)
    with tempfile.TemporaryDirectory() as path:
        folder = CheckpointFolder(Path(path))
        first = timed(lambda: folder.write(state, {}, replay))
        later = []
        for _ in range(LATER):
            add_random(replay, EPOCH, rng)
            later.append(timed(lambda: folder.write(state, {}, replay)))
        on_disk = sum(p.stat().st_size for p in Path(path).iterdir())
        fresh, restored = CheckpointFolder(Path(path)), empty(rows)
        check, (checkpoint, _) = timed(fresh.read)
        restore, _ = timed(lambda: fresh.restore_replay(checkpoint, restored))
    return {
        "rows": rows,
        "first": {"seconds": first[0], "bytes": first[1]},
        "later": {"seconds": [s for s, _ in later], "bytes": [b for _, b in later]},
        "bytes_on_disk": on_disk,
        "resume_seconds": {"check": check, "read_rows": restore},
    }


def main() -> None:
    """Measure, print a table, and write the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "checkpoint.json"))
    out = Path(parser.parse_args().out)
    state = run_state()
    results = [measure(rows, state) for rows in (10_000, 100_000, 1_000_000)]
    print(f"{'rows':>9} {'first':>16} {'later (median, worst)':>28} {'on disk':>9} {'resume':>8}")
    for r in results:
        seconds, size = r["later"]["seconds"], r["later"]["bytes"]
        print(
            f"{r['rows']:>9} {r['first']['seconds']:>6.2f} s {r['first']['bytes'] / 1e6:>5.1f} MB "
            f"{statistics.median(seconds):>6.3f} s {max(seconds):.3f} s "
            f"{statistics.median(size) / 1e6:>5.1f} MB "
            f"{r['bytes_on_disk'] / 1e6:>6.1f} MB {sum(r['resume_seconds'].values()):>6.2f} s"
        )
    machine = {
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
        "load": os.getloadavg(),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine, "results": results}, indent=2) + "\n")
    print(f"raw numbers: {out}")


if __name__ == "__main__":
    main()
