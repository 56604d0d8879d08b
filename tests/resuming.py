"""Shared by tests of resuming: environments that stop the run, and the comparison of two runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.wrappers import NormalizeObservation, NormalizeReward
from helpers import Point, parameters, read_rows, without_timing


class StepHook(gym.Wrapper[Any, Any, Any, Any]):
    """Calls `call` in step number `at`, counted over all environments of this process."""

    steps = 0
    at: int | None = None
    call: Any = None

    def step(self, action: Any) -> Any:
        StepHook.steps += 1
        if StepHook.steps == StepHook.at:
            StepHook.call()
        return super().step(action)


def signal_at(at: int | None, signum: int = signal.SIGTERM) -> None:
    """Send this process a signal in step number `at` from now on."""
    StepHook.steps, StepHook.at = 0, at
    StepHook.call = lambda: os.kill(os.getpid(), signum)


def point() -> Any:
    """A Point with the hook."""
    return StepHook(Point())


def normalized() -> Any:
    """A Point whose observations and rewards are normalized with running statistics."""
    return StepHook(NormalizeReward(NormalizeObservation(Point(steps=50)), gamma=0.9))


class Noise(gym.Wrapper[Any, Any, Any, Any]):
    """Adds noise from its own generator, which resets do not seed."""

    def __init__(self, env: Any) -> None:
        super().__init__(env)
        self.rng = np.random.default_rng(5)

    def step(self, action: Any) -> Any:
        o2, r, terminated, truncated, info = super().step(action)
        return o2 + self.rng.normal(0, 0.1, 2).astype(np.float32), r, terminated, truncated, info


def noisy() -> Any:
    """A Point with noise and the hook."""
    return StepHook(Noise(Point()))


def assert_same(a: Any, b: Any, folder_a: Path, folder_b: Path) -> None:
    """Parameters, rows and model files of two runs are equal bit for bit."""
    assert parameters(a).equal(parameters(b))
    assert_same_files(folder_a, folder_b)


def assert_same_files(folder_a: Path, folder_b: Path) -> None:
    """Rows, each once, and model files of two runs are equal bit for bit."""
    assert without_timing(read_rows(folder_a)) == without_timing(read_rows(folder_b))
    for name in ("model.pt", "model_best.pt"):
        assert (folder_a / "pyt_save" / name).read_bytes() == (folder_b / "pyt_save" / name).read_bytes()


def talking(folder: Path) -> dict[str, Any]:
    """Keyword arguments for a logger that prints."""
    return {"output_dir": str(folder), "tensorboard": False}
