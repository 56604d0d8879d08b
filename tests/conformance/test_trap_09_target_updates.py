"""Trap 9: target updates counted by an index local to a loop, so that they happen too rarely or never."""

from __future__ import annotations

import numpy as np
import torch
from helpers import make, parameters, random_batches, small_ac


def part(batches: dict[str, np.ndarray], start: int, stop: int) -> dict[str, np.ndarray]:
    """Batches number start to stop - 1."""
    return {name: values[start:stop] for name, values in batches.items()}


def test_targets_move_once_per_gradient_step_however_steps_are_blocked(engine: str) -> None:
    batches = random_batches(count=6)
    for sizes in ((6,), (1, 5), (2, 2, 2), (1,) * 6):
        ac, at = small_ac(), 0
        learner = make(ac, engine, polyak=0.5)
        wanted = torch.cat([parameters(ac.q1), parameters(ac.q2)])
        follower = small_ac()
        one = make(follower, engine, polyak=0.5)
        for size in sizes:
            learner.update(part(batches, at, at + size))
            at += size
        for k in range(6):
            one.update(part(batches, k, k + 1))
            wanted = 0.5 * wanted + 0.5 * torch.cat([parameters(follower.q1), parameters(follower.q2)])
        found = [np.array(v).ravel() for v in learner.state_dict()["target"].values()]
        assert np.allclose(np.concatenate(found), wanted, atol=1e-6)
