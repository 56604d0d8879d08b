"""Trap 12: log(1 - tanh^2) overflows or clamps: NaN or exploding gradients near the bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from helpers import make, parameters, random_batches, small_ac


@pytest.mark.parametrize("mean", [-200.0, -50.0, 50.0, 200.0])
def test_a_saturated_policy_keeps_finite_and_correct_updates(engine: str, mean: float) -> None:
    ac = small_ac()
    with torch.no_grad():
        ac.pi.mu_layer.weight.zero_()
        ac.pi.mu_layer.bias.fill_(mean)
        ac.pi.log_std_layer.weight.zero_()
        ac.pi.log_std_layer.bias.fill_(-1.0)
    batches = random_batches(count=1)
    metrics = make(ac, engine).update(batches)
    assert all(np.isfinite(metrics[key]).all() for key in ("LogPi", "LossPi", "LossQ"))
    xi = batches["noise"][0, 1].astype(np.float64)
    size = np.abs(mean + math.exp(-1) * xi)  # log(1 - tanh(u)^2) is log 4 - 2 |u| out here
    wanted = (-0.5 * xi**2 + 1.0 - 0.5 * math.log(2 * math.pi) - (math.log(4) - 2 * size)).sum(-1)
    assert metrics["LogPi"][0] == pytest.approx(wanted, rel=1e-5)
    assert torch.isfinite(parameters(ac)).all()


def test_the_gradient_pulls_a_saturated_policy_back(engine: str) -> None:
    ac = small_ac()
    with torch.no_grad():
        ac.pi.mu_layer.weight.zero_()
        ac.pi.mu_layer.bias.fill_(60.0)
    make(ac, engine).update(random_batches(count=1))
    assert (ac.pi.mu_layer.bias < 60.0).all()
