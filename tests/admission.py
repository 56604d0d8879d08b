"""The admission test of engines: from one state, batches and noise, the update of the eager learner."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from helpers import make, random_batches
from torch import nn

STEPS = {torch.float64: 100, torch.float32: 10}
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-6}
NUMPY = {torch.float64: np.float64, torch.float32: np.float32}
CASES = [
    (hidden, alpha, dtype)
    for hidden, alpha in (((32, 32), 0.2), ((24,), "auto_0.5"), ((16, 40, 8), "auto"), ((7, 5), 0.0))
    for dtype in STEPS
]
BOUNDS: dict[str, Any] = {"low": [-1.0, -2.0, 0.5], "high": [1.0, 0.5, 3.0], "act_dim": 3, "obs_dim": 5}
SIZES = {"obs_dim": BOUNDS["obs_dim"], "act_dim": BOUNDS["act_dim"]}


def admit(eager: Any, other: Any, dtype: torch.dtype, blocks: int = 2) -> None:
    """Assert that both learners, in the same state, stay together for 100 (float64) or 10 updates."""
    for seed in range(blocks):
        count = STEPS[dtype] // blocks
        batches = random_batches(**SIZES, count=count, batch=20, seed=seed, dtype=NUMPY[dtype])
        compare(eager.update(batches), other.update(batches), TOLERANCE[dtype], "metrics")
    compare(eager.state_dict(), other.state_dict(), TOLERANCE[dtype], "state")


def compare(wanted: Any, got: Any, tolerance: float, where: str) -> None:
    """Assert that two nested dicts of arrays agree: keys, shapes and values."""
    if isinstance(wanted, np.ndarray):
        assert wanted.shape == got.shape, where
        np.testing.assert_allclose(got, wanted, rtol=10 * tolerance, atol=tolerance, err_msg=where)
        return
    if not isinstance(wanted, dict):
        assert wanted == got, where
        return
    assert set(wanted) == set(got), where
    for key in wanted:
        compare(wanted[key], got[key], tolerance, f"{where}.{key}")


def pair(ac: nn.Module, engine: str, alpha: Any, act_dim: int = 3, **settings: Any) -> tuple[Any, Any]:
    """An eager learner over `ac` and another engine's over a copy of it."""
    twin = copy.deepcopy(ac)
    changes = {"act_dim": act_dim, "alpha": alpha, "batch_size": 20, **settings}
    return make(ac, **changes), make(twin, engine, **changes)
