"""Trap 13: gamma or polyak rounded by a low-precision cast, 0.99 to 0.988 and 0.995 to 0.996."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from helpers import make, parameters, random_batches, replay_buffer, small_ac


@pytest.mark.parametrize("gamma", [0.99, 0.9999])
def test_gamma_is_used_with_full_precision(engine: str, gamma: float) -> None:
    ac, batches = small_ac(), random_batches(batch=64)
    buffer = replay_buffer(64, 3, 2, gamma=gamma)  # the sampler makes the discount
    rows = {name: values[0] for name, values in batches.items()}
    buffer.add({**rows, "terminated": rows["discount"] == 0.0})
    batches |= buffer.sample(1, 64, np.random.default_rng(0))
    with torch.no_grad():
        for q in (ac.q1.q, ac.q2.q):
            q[-1].bias.add_(100.0)  # a target of about 100 gamma; the other terms are small
    exact = copy.deepcopy(ac).double()
    b = {name: torch.from_numpy(values[0]).double() for name, values in batches.items()}
    next_action, _ = exact.pi(b["next_obs"], b["noise"][0])
    next_q = torch.minimum(exact.q1(b["next_obs"], next_action), exact.q2(b["next_obs"], next_action))
    target = b["reward"] + gamma * (b["discount"] > 0) * next_q
    wanted = sum((q(b["obs"], b["action"]) - target).square().mean() for q in (exact.q1, exact.q2))
    loss = make(ac, engine, alpha=0.0, batch_size=64).update(batches)["LossQ"][0]
    assert loss == pytest.approx(wanted.item(), rel=1e-5)


@pytest.mark.parametrize("polyak", [0.995, 0.9])
def test_polyak_is_used_with_full_precision(engine: str, polyak: float) -> None:
    ac = small_ac()
    before = torch.cat([parameters(ac.q1), parameters(ac.q2)]).numpy()
    # a step so large that rounding is negligible
    learner = make(ac, engine, polyak=polyak, lr=100.0, batch_size=64)
    learner.update(random_batches(batch=64))
    after = torch.cat([parameters(ac.q1), parameters(ac.q2)]).numpy()
    targets = np.concatenate([np.array(v).ravel() for v in learner.state_dict()["target"].values()])
    moved = np.abs(after - before) > 1.0
    assert moved.sum() > 50
    share = (targets - before)[moved] / (after - before)[moved]
    np.testing.assert_allclose(share, 1.0 - polyak, rtol=1e-4)
