"""Trap 13: gamma or polyak rounded by a low-precision cast, 0.99 to 0.988 and 0.995 to 0.996."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from helpers import LAYOUT, make, parameters, random_block, small_ac

from spinup.pytorch.agent import split


@pytest.mark.parametrize("gamma", [0.99, 0.9999])
def test_gamma_is_used_to_the_last_digit(engine: str, gamma: float) -> None:
    ac, block = small_ac(), random_block(batch=64)
    with torch.no_grad():
        for q in (ac.q1.q, ac.q2.q):
            q[-1].bias.add_(100.0)  # a backup of about 100 gamma, beside which the rest is small
    exact = copy.deepcopy(ac).double()
    b = split(torch.from_numpy(block.rows[0]).double(), torch.from_numpy(block.noise[0]).double(), LAYOUT)
    a2, _ = exact.pi(b.o2, b.xi2)
    backup = b.r + gamma * (1 - b.d) * torch.minimum(exact.q1(b.o2, a2), exact.q2(b.o2, a2))
    wanted = sum((q(b.o, b.a) - backup).square().mean() for q in (exact.q1, exact.q2))
    loss = make(ac, engine, gamma=gamma, alpha=0.0, batch_size=64).update(block)["LossQ"][0]
    assert loss == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("polyak", [0.995, 0.9])
def test_polyak_is_used_to_the_last_digit(engine: str, polyak: float) -> None:
    ac = small_ac()
    before = torch.cat([parameters(ac.q1), parameters(ac.q2)]).numpy()
    # a step so large that rounding is nothing beside it
    learner = make(ac, engine, polyak=polyak, lr=100.0, batch_size=64)
    learner.update(random_block(batch=64))
    after = torch.cat([parameters(ac.q1), parameters(ac.q2)]).numpy()
    targets = np.concatenate([np.array(v).ravel() for v in learner.state_dict()["targets"].values()])
    moved = np.abs(after - before) > 1.0
    assert moved.sum() > 50
    share = (targets - before)[moved] / (after - before)[moved]
    np.testing.assert_allclose(share, 1.0 - polyak, rtol=1e-4)
