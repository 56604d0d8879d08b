"""Trap 2: the critics are not frozen in the policy step, so that the policy's loss changes them."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box
from helpers import FourCalls, make, parameters, random_batches, small_ac


def test_the_policy_step_moves_no_critic(engine: str) -> None:
    # The noise of the draw at obs enters only the policy's loss. Two updates that differ in it must give
    # the same critics and different policies.
    batches = random_batches(count=1)
    noise = batches["noise"].copy()
    noise[:, 1] += 1.0
    first, second = small_ac(), small_ac()
    make(first, engine).update(batches)
    make(second, engine).update({**batches, "noise": noise})
    assert torch.equal(parameters(first.q1), parameters(second.q1))
    assert torch.equal(parameters(first.q2), parameters(second.q2))
    assert not torch.equal(parameters(first.pi), parameters(second.pi))


def test_the_critic_step_moves_no_policy(engine: str) -> None:
    # With critics that cannot learn, rewards must not reach the policy within one update.
    batches = random_batches(count=1)
    policies = []
    for reward in (batches["reward"], batches["reward"] + 100.0):
        ac = small_ac()
        learner = make(ac, engine, lr=1e-12)
        learner.update({**batches, "reward": reward.astype(np.float32)})
        policies.append(parameters(ac.pi))
    assert np.allclose(policies[0], policies[1], atol=1e-9)


def test_critics_of_a_user_are_not_left_frozen() -> None:
    ac = FourCalls(Box(-1, 1, (3,)), Box(-1, 1, (2,)))
    make(ac).update(random_batches(count=2))
    assert all(p.requires_grad for p in ac.parameters())
