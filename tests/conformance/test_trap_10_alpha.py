"""Trap 10: the alpha logged is not the alpha used, or its gradient is by the wrong variable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from helpers import make, random_batches, small_ac
from torch import Tensor

from spinup.pytorch import losses


@pytest.mark.parametrize("alpha", [0.01, 0.3, 5.0])
def test_the_gradient_by_log_alpha_carries_the_factor_alpha(alpha: float) -> None:
    log_alpha = torch.tensor(math.log(alpha), dtype=torch.float64, requires_grad=True)
    logp = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64, requires_grad=True)
    loss = losses.alpha_loss(log_alpha, logp, -1.5)
    assert loss.item() == pytest.approx(-alpha * (-0.5 / 3 - 1.5))
    loss.backward()
    assert log_alpha.grad is not None
    assert log_alpha.grad.item() == pytest.approx(-alpha * (-0.5 / 3 - 1.5))
    assert logp.grad is None


def test_the_alpha_step_is_numerically_the_gradient_of_its_loss() -> None:
    logp = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)

    def loss(log_alpha: Tensor) -> Tensor:
        return losses.alpha_loss(log_alpha, logp, -1.5)

    assert torch.autograd.gradcheck(loss, (torch.tensor(0.3, dtype=torch.float64, requires_grad=True),))


def test_the_alpha_logged_is_the_alpha_of_both_losses(engine: str) -> None:
    """LossPi = Alpha * mean log pi - mean min Q, with the alpha of the same row, before its own step.

    With critics that stay zero, min Q is 0, so alpha follows from LossPi and LogPi.
    """
    ac = small_ac()
    with torch.no_grad():
        for critic in (ac.q1, ac.q2):
            for p in critic.parameters():
                p.zero_()
    learner = make(ac, engine, alpha="auto_0.3", lr=0.05)
    batches = random_batches(count=6)
    batches["reward"][:] = batches["discount"][:] = 0.0
    metrics = learner.update(batches)
    used = metrics["LossPi"] / metrics["LogPi"].mean(1)
    np.testing.assert_allclose(used, metrics["Alpha"], rtol=1e-4)
    assert metrics["Alpha"][0] == pytest.approx(0.3)
    assert len(set(metrics["Alpha"].tolist())) == 6


def test_the_critics_use_the_same_alpha(engine: str) -> None:
    """With zero critics and discount 1 the target is -alpha log pi: doubling alpha multiplies LossQ by 4."""

    def first_loss(alpha: Any) -> float:
        ac = small_ac()
        with torch.no_grad():
            for p in [*ac.q1.parameters(), *ac.q2.parameters()]:
                p.zero_()
        batches = random_batches()
        batches["reward"][:], batches["discount"][:] = 0.0, 1.0
        metrics = make(ac, engine, alpha=alpha).update(batches)
        return float(metrics["LossQ"][0])

    assert first_loss("auto_0.6") == pytest.approx(4 * first_loss("auto_0.3"), rel=1e-4)
    assert first_loss("auto_0.6") == pytest.approx(first_loss(0.6), rel=1e-5)


def test_one_step_of_alpha_by_hand(engine: str) -> None:
    """Adam's first step is lr against the sign of the gradient, on log alpha: alpha moves by a factor."""
    learner = make(small_ac(), engine, alpha="auto_0.3", lr=0.05, target_entropy=-40.0)
    alphas = learner.update(random_batches(count=2))["Alpha"]
    assert alphas[1] == pytest.approx(0.3 * math.exp(-0.05), rel=1e-4)
