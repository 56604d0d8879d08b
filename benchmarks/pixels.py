"""Learning from pixels beside learning from the state, on a task drawn with NumPy.

    python benchmarks/pixels.py --steps 6000 --seeds 0 1 2 --out benchmarks/results/pixels.json

A point with momentum is pushed to a target; an episode has 50 steps, each rewarded with minus the distance.
The pixels are 32 x 32 with the point and the target in a channel each, and hold no velocity, so three frames
are stacked. Both versions have the same settings; a file that exists is completed with what it lacks, and
--figure draws it.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.wrappers import FrameStackObservation
from numpy.typing import NDArray

from spinup import sac_pytorch

SIZE, FRAMES, EPISODE = 32, 3, 50
VERSIONS = ("state", "pixels")


class PointMass(gym.Env[NDArray[Any], NDArray[np.float32]]):
    """A damped point mass in the unit square.

    Args:
        pixels: observe an image (SIZE, SIZE, 2) uint8 instead of position, velocity and target.
    """

    action_space = Box(-1, 1, (2,), np.float32)

    def __init__(self, pixels: bool) -> None:
        self.pixels = pixels
        self.observation_space = (
            Box(0, 255, (SIZE, SIZE, 2), np.uint8) if pixels else Box(-2, 2, (6,), np.float32)
        )
        self.position = self.velocity = self.target = np.zeros(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        super().reset(seed=seed)
        self.position, self.target = self.np_random.uniform(0.15, 0.85, (2, 2))
        self.velocity, self.steps = np.zeros(2), 0
        return self._observation(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        self.velocity = 0.8 * self.velocity + 0.03 * np.clip(action, -1, 1)
        self.position = np.clip(self.position + self.velocity, 0, 1)
        self.steps += 1
        reward = -float(np.linalg.norm(self.position - self.target))
        return self._observation(), reward, False, self.steps >= EPISODE, {}

    def _observation(self) -> NDArray[Any]:
        if not self.pixels:
            return np.concatenate([self.position, self.velocity, self.target]).astype(np.float32)
        centers = np.arange(SIZE) + 0.5
        image = np.empty((SIZE, SIZE, 2))
        for channel, (x, y) in enumerate((self.position, self.target)):
            distances = np.hypot(centers[:, None] - y * SIZE, centers - x * SIZE)
            image[:, :, channel] = np.clip(3.0 - distances, 0, 1)  # a disc with a soft edge
        return (255 * image).astype(np.uint8)


def make(kind: str) -> gym.Env[Any, Any]:
    """The environment of one version."""
    env = PointMass(kind == "pixels")
    return FrameStackObservation(env, FRAMES) if kind == "pixels" else env


def train(kind: str, seed: int, steps: int) -> dict[str, Any]:
    """One run: its mean test return after each epoch, and its minutes."""
    rows: list[dict[str, Any]] = []
    encoder = {"encoder": {"filters": 16}} if kind == "pixels" else {}
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        sac_pytorch(
            lambda: make(kind), seed=seed, steps_per_epoch=500, epochs=steps // 500, alpha="auto_0.1",
            batch_size=64, start_steps=500, update_after=500, update_every=10, num_test_episodes=10,
            max_ep_len=EPISODE, replay_size=steps, threads=1, device="cpu", checkpoint_every=0,
            checkpoint_minutes=0,
            ac_kwargs={"hidden_sizes": [128, 128], **encoder},
            logger_kwargs={"output_dir": folder, "quiet": True},
            callback=lambda row, ac: rows.append(row),
        )  # fmt: skip
    return {
        "kind": kind, "seed": seed, "steps": [row["TotalEnvInteracts"] for row in rows],
        "returns": [round(row["AverageTestEpRet"], 3) for row in rows],
        "minutes": round((time.perf_counter() - start) / 60, 2),
    }  # fmt: skip


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """The curves of all runs, and their means."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel="environment steps", ylabel="test return")
    for kind, color in zip(VERSIONS, ("#1f77b4", "#d62728"), strict=True):
        mine = [run for run in runs if run["kind"] == kind]
        for run in mine:
            axes.plot(run["steps"], run["returns"], color=color, alpha=0.3, linewidth=1)
        if mine:
            mean = np.mean([run["returns"] for run in mine], 0)
            axes.plot(mine[0]["steps"], mean, color=color, label=f"{kind}, runs: {len(mine)}")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def main() -> None:
    """Make the runs that the file lacks, print a line for each, and draw them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=6000, help="env steps of each run")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, required=True, help="JSON file for the curves")
    parser.add_argument("--figure", type=Path, help="PNG file to draw them in")
    args = parser.parse_args()
    runs: list[dict[str, Any]] = json.loads(args.out.read_text())["runs"] if args.out.exists() else []
    done = {(run["kind"], run["seed"]) for run in runs}
    for seed in args.seeds:
        for kind in VERSIONS:
            if (kind, seed) in done:
                continue
            run = train(kind, seed, args.steps)
            print(
                f"{kind} seed {seed}: return {run['returns'][-1]:.1f}, {run['minutes']:.1f} minutes",
                flush=True,
            )
            runs.append(run)
            about = {
                "command": f"python benchmarks/pixels.py --steps {args.steps} --seeds "
                f"{' '.join(map(str, args.seeds))} --out benchmarks/results/pixels.json",
                "versions": {name: version(name) for name in ("spinup", "torch", "gymnasium", "numpy")},
                "machine": platform.machine(),
            }
            args.out.write_text(json.dumps({**about, "runs": runs}, indent=1))
    if args.figure is not None:
        draw(runs, args.figure)


if __name__ == "__main__":
    main()
