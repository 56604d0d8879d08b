"""What a checkpoint costs: seconds and bytes, for buffers of 10k, 100k and 1M rows.

    python benchmarks/checkpoint.py [--out benchmarks/results/checkpoint.json]

A run of HalfCheetah's sizes with the default networks, without its training: the buffer is filled with
random rows, the first checkpoint writes all of it, and each later one what an epoch of 4000 steps has added.
Reported are every single time, and the time to resume: to check and read the newest checkpoint.
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

from gymnasium.spaces import Box

from spinup import MLPActorCritic
from spinup.config import SACConfig
from spinup.envs.spaces import action_spec
from spinup.pytorch.engines.registry import make_learner
from spinup.pytorch.variants.registry import make_objective
from spinup.replay.storage import Layout, ReplayBuffer
from spinup.runs.checkpoint_files import CheckpointFolder

OBS_DIM, ACT_DIM, EPOCH = 17, 6, 4000
LATER = 12


def learner_state() -> dict[str, Any]:
    """The state of a learner of the default networks, after one update, which makes Adam's moments."""
    spaces = Box(-np.inf, np.inf, (OBS_DIM,)), Box(-1.0, 1.0, (ACT_DIM,))
    config = SACConfig(engine="eager", alpha="auto")
    ac = MLPActorCritic(*spaces)
    objective = make_objective(ac, config, spaces[1])
    learner = make_learner(ac, objective, config, action_spec(spaces[1]), lambda ac, path: None)[0]
    learner.update(filled(1000, 1000).sample(1, 100, np.random.default_rng(0)))
    return learner.state_dict()


def filled(rows: int, capacity: int) -> ReplayBuffer:
    """A buffer with that many random rows."""
    layout = Layout(OBS_DIM, ACT_DIM)
    replay, rng = ReplayBuffer(layout, capacity), np.random.default_rng(0)
    while replay.total < rows:
        count = min(50_000, rows - replay.total)
        replay.add(rng.standard_normal((count, layout.width), dtype=np.float32))
    return replay


def timed(action: Any) -> tuple[float, Any]:
    """Seconds that it took, and what it returned."""
    before = time.perf_counter()
    result = action()
    return time.perf_counter() - before, result


def measure(rows: int, learner: dict[str, Any]) -> dict[str, Any]:
    """Checkpoints of a buffer that is full with `rows` rows, in a temporary folder."""
    replay = filled(rows, rows)
    with tempfile.TemporaryDirectory() as place:
        folder = CheckpointFolder(Path(place))
        state = {"learner": learner}
        first = timed(lambda: folder.write(state, {}, replay))
        later = []
        for _ in range(LATER):
            replay.add(filled(EPOCH, EPOCH).read(0, EPOCH))
            later.append(timed(lambda: folder.write(state, {}, replay)))
        on_disk = sum(p.stat().st_size for p in Path(place).iterdir())
        fresh, again = CheckpointFolder(Path(place)), ReplayBuffer(replay.layout, rows)
        check, (checkpoint, _) = timed(fresh.read)
        read, _ = timed(lambda: fresh.read_rows(checkpoint, again))
    return {
        "rows": rows,
        "first": {"seconds": first[0], "bytes": first[1]},
        "later": {"seconds": [s for s, _ in later], "bytes": [b for _, b in later]},
        "bytes_on_disk": on_disk,
        "resume_seconds": {"check": check, "read_rows": read},
    }


def main() -> None:
    """Measure, print a table, and write the raw numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--out", default=str(Path(__file__).parent / "results" / "checkpoint.json"))
    out = Path(parser.parse_args().out)
    learner = learner_state()
    results = [measure(rows, learner) for rows in (10_000, 100_000, 1_000_000)]
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
