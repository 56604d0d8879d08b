"""Trap 11: the default target entropy of discrete SAC lies where alpha grows without bound.

Raising alpha raises a policy's entropy only while rewards oppose it. Where the entropy bonus itself favors
some actions, those that continue an episode, no alpha gives more than a certain entropy, which is less than
log n. `Bridge` is such a task, small enough to compute that entropy.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

from spinup.pytorch.variants.discrete import default_target_entropy

GAMMA = 0.8


class Bridge(gym.Env[Any, Any]):
    """One state, no reward; the last of the four actions ends the episode."""

    observation_space, action_space = Box(-1.0, 1.0, (1,), np.float32), Discrete(4)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.ones(1, np.float32), {}

    def step(self, action: Any) -> Any:
        return np.ones(1, np.float32), 0.0, bool(action == 3), False, {}


def reachable_entropy() -> float:
    """The entropy of the policy that maximizes entropy alone: V / alpha = log(3 exp(gamma V / alpha) + 1)."""
    v = 0.0
    for _ in range(500):
        v = math.log(3 * math.exp(GAMMA * v) + 1)
    p = np.exp(np.array([GAMMA * v] * 3 + [0.0]) - v)
    return float(-(p * np.log(p)).sum())


def test_the_bridge_separates_the_two_defaults() -> None:
    assert default_target_entropy(4) < reachable_entropy() < 0.98 * math.log(4)


def alphas(run: Any, target: Any) -> list[float]:
    """Alpha after each epoch on the bridge."""
    options = {"lr": 0.02, "polyak": 0.9, "steps_per_epoch": 120, "epochs": 5, "batch_size": 32}
    _, rows = run(
        Bridge,
        alpha="auto_0.2",
        target_entropy=target,
        gamma=GAMMA,
        num_test_episodes=0,
        **options,
    )
    return [float(row["Alpha"]) for row in rows]


def test_alpha_stays_small_at_the_default_and_grows_at_an_unreachable_target(run: Any) -> None:
    stable = alphas(run, "auto")
    assert max(stable) <= 0.2
    unreachable = alphas(run, 0.98 * math.log(4))
    assert unreachable[-1] > 5 * 0.2
    assert all(after > before for before, after in itertools.pairwise(unreachable))


@pytest.mark.parametrize("n", [2, 3, 6, 18, 1000])
def test_the_default_is_well_within_the_reachable_entropies(n: int) -> None:
    assert 0.0 < default_target_entropy(n) <= 0.3 * math.log(n)
