"""Equations 2 to 8: hand-computed values, numerical gradients, and the density by integration."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from spinup.pytorch import losses


def t(*values: float, grad: bool = False) -> Tensor:
    """A float64 vector."""
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def scalar(value: float, grad: bool = False) -> Tensor:
    """A float64 0-dim tensor."""
    return torch.tensor(value, dtype=torch.float64, requires_grad=grad)


def test_squashed_gaussian_by_hand() -> None:
    # One dimension at the mean of a standard normal: u = 0, slope 1, -0.5 log(2 pi) is left.
    # The other: u = 0.5 + 0.5 * 1 = 1, tanh 1 = 0.76159416, log N = -0.5 + log 2 - 0.91893853
    # = -0.72579135, log(1 - 0.76159416^2) = -0.86756166.
    mu, log_std, xi = t(0.0, 0.5)[None], t(0.0, -math.log(2))[None], t(0.0, 1.0)[None]
    a, logp = losses.squashed_gaussian(mu, log_std, xi)
    assert a.tolist() == [[0.0, pytest.approx(0.7615941559557649, abs=1e-15)]]
    assert logp.tolist() == [pytest.approx(-0.91893853 + (-0.72579135 + 0.86756166), abs=1e-7)]


def test_soft_value_by_hand() -> None:
    # 3 - 0.5 * (-2) = 4; 3 - 0.5 * 2 = 2
    assert losses.soft_value(t(3, 3), t(-2, 2), scalar(0.5)).tolist() == [4, 2]


def test_q_target_by_hand() -> None:
    # 1 + 0.9 * 10 = 10 while the episode goes on; 1 where it terminates
    assert losses.q_target(t(1, 1), t(0.9, 0), t(10, 10)).tolist() == [10, 1]


def test_min_q_by_hand() -> None:
    q = torch.stack([t(1, 5), t(2, 3), t(0, 9)])
    assert losses.min_q(q).tolist() == [0, 3]
    assert losses.min_q(q, torch.tensor([0, 1])).tolist() == [1, 3]
    assert losses.min_q(q, torch.tensor([2])).tolist() == [0, 9]
    per_action = torch.stack([torch.stack([t(1, 5), t(2, 3)]), torch.stack([t(4, 0), t(1, 4)])])
    assert losses.min_q(per_action).tolist() == [[1, 0], [1, 3]]


def test_q_loss_by_hand() -> None:
    # ((1-2)^2 + (2-2)^2) / 2 + ((0-2)^2 + (4-2)^2) / 2 = 0.5 + 4
    q = torch.stack([t(1, 2), t(0, 4)])
    assert losses.q_loss(q, t(2, 2)).item() == 4.5
    # weights 1 and 0.5: (1 + 0) / 2 + (4 + 0.5 * 4) / 2 = 0.5 + 3
    assert losses.q_loss(q, t(2, 2), t(1, 0.5)).item() == 3.5
    assert losses.q_loss(torch.stack([t(1, 2), t(0, 4), t(2, 3)]), t(2, 2)).item() == 5


def test_td_error_by_hand() -> None:
    # |1 - 2| and |0 - 2|, |2 - 2| and |4 - 2|, each the mean of two critics
    assert losses.td_error(torch.stack([t(1, 2), t(0, 4)]), t(2, 2)).tolist() == [1.5, 1]


def test_actor_loss_by_hand() -> None:
    # (0.5 * (-1) - 1 + 0.5 * 1 - 3) / 2 = (-1.5 - 2.5) / 2
    assert losses.actor_loss(t(1, 3), t(-1, 1), scalar(0.5)).item() == -2


def test_losses_of_several_batches_are_those_of_each() -> None:
    """Reductions are over the last axis, which an engine uses to log n steps at once."""
    q, target = numbers(2, 3, 4, seed=0), numbers(3, 4, seed=1)
    logp, alpha = numbers(3, 4, seed=2), numbers(3, 1, seed=3)
    each = [losses.q_loss(q[:, k], target[k]).item() for k in range(3)]
    assert losses.q_loss(q, target).tolist() == pytest.approx(each)
    each = [losses.actor_loss(target[k], logp[k], alpha[k, 0]).item() for k in range(3)]
    assert losses.actor_loss(target, logp, alpha).tolist() == pytest.approx(each)


def test_alpha_loss_and_its_gradient_by_hand() -> None:
    # alpha = 2: -2 * ((-1 + 3) / 2 - 2) = 2, and by log alpha the same again, d alpha / d log alpha = alpha
    log_alpha = scalar(math.log(2), grad=True)
    logp = t(-1, 3, grad=True)
    loss = losses.alpha_loss(log_alpha, logp, -2.0)
    assert loss.item() == pytest.approx(2)
    loss.backward()
    assert log_alpha.grad is not None
    assert log_alpha.grad.item() == pytest.approx(2)
    assert logp.grad is None


def test_alpha_loss_with_the_factor_log_alpha_by_hand() -> None:
    # -log 2 * ((-1 + 3) / 2 - 2) = log 2, whose derivative with respect to log alpha is 1
    log_alpha = scalar(math.log(2), grad=True)
    loss = losses.alpha_loss(log_alpha, t(-1, 3), -2.0, "log_alpha")
    assert loss.item() == pytest.approx(math.log(2))
    loss.backward()
    assert log_alpha.grad is not None
    assert log_alpha.grad.item() == pytest.approx(1)


def test_alpha_rises_when_entropy_is_too_low() -> None:
    # log pi = 5 means entropy -5, below the target -2: a step downhill must raise alpha.
    log_alpha = scalar(0.0, grad=True)
    losses.alpha_loss(log_alpha, t(5), -2.0).backward()
    assert log_alpha.grad is not None
    assert log_alpha.grad.item() == -3


def test_polyak_by_hand_and_at_its_ends() -> None:
    for polyak, wanted in ((0.75, 1.5), (1.0, 1.0), (0.0, 3.0)):
        target = t(1.0)
        losses.polyak_update([target], [t(3.0)], polyak)
        assert target.item() == wanted


def test_polyak_without_the_private_call_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    params = [torch.linspace(-1, 1, 7), torch.ones(2, 3)]
    targets = [[torch.full_like(p, 0.3) for p in params] for _ in range(2)]
    losses.polyak_update(targets[0], params, 0.995)
    monkeypatch.delattr(torch, "_foreach_lerp_")
    losses.polyak_update(targets[1], params, 0.995)
    for private, public in zip(*targets, strict=True):
        assert private.equal(public)


def numbers(*shape: int, seed: int) -> Tensor:
    """Standard normal float64 values that require gradients."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (losses.squashed_gaussian, [numbers(4, 2, seed=i) for i in range(3)]),
        (losses.soft_value, [numbers(4, seed=0), numbers(4, seed=1), numbers(seed=2)]),
        (losses.q_target, [numbers(4, seed=i) for i in range(3)]),
        (losses.min_q, [numbers(3, 4, seed=0)]),
        (lambda q: losses.min_q(q, torch.tensor([0, 2])), [numbers(3, 4, seed=0)]),
        (losses.q_loss, [numbers(2, 4, seed=0), numbers(4, seed=1)]),
        (losses.q_loss, [numbers(3, 4, seed=0), numbers(4, seed=1), numbers(4, seed=2)]),
        (losses.actor_loss, [numbers(4, seed=0), numbers(4, seed=1), numbers(seed=3)]),
        (lambda la: losses.alpha_loss(la, numbers(4, seed=1), -2.0), [numbers(seed=2)]),
        (lambda la: losses.alpha_loss(la, numbers(4, seed=1), -2.0, "log_alpha"), [numbers(seed=2)]),
    ],
)
def test_gradients_are_those_of_finite_differences(function: Any, arguments: list[Tensor]) -> None:
    assert gradcheck(function, tuple(arguments))


@given(mu=st.floats(-3, 3), log_std=st.floats(-3, 1), xi=st.floats(-3, 3))
def test_density_is_that_of_torch_distributions(mu: float, log_std: float, xi: float) -> None:
    if abs(mu + math.exp(log_std) * xi) > 8:  # beyond, atanh(tanh(u)) is no longer u
        return
    a, logp = losses.squashed_gaussian(t(mu)[None], t(log_std)[None], t(xi)[None])
    base = torch.distributions.Normal(t(mu), t(math.exp(log_std)))
    reference = torch.distributions.TransformedDistribution(base, torch.distributions.TanhTransform())
    assert logp.item() == pytest.approx(reference.log_prob(a[0]).item(), abs=1e-4)


@pytest.mark.parametrize(("mu", "std"), [(0.0, 0.3), (0.7, 0.5), (-1.0, 0.2)])
def test_density_integrates_to_one_over_the_actions(mu: float, std: float) -> None:
    edges = torch.linspace(-1, 1, 400_001, dtype=torch.float64)
    a = (edges[1:] + edges[:-1]) / 2
    xi = (torch.atanh(a) - mu) / std
    both = torch.full_like(xi, mu)[:, None], torch.full_like(xi, math.log(std))[:, None]
    squashed, logp = losses.squashed_gaussian(*both, xi[:, None])
    assert torch.allclose(squashed[:, 0], a)
    assert (logp.exp().sum() * (edges[1] - edges[0])).item() == pytest.approx(1, abs=1e-6)
    mean = (logp.exp() * a).sum() * (edges[1] - edges[0])
    rng = np.random.default_rng(0)
    assert mean.item() == pytest.approx(np.tanh(mu + std * rng.standard_normal(10**6)).mean(), abs=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("u", [-1000.0, -88.0, -50.0, -20.0, -9.0, 0.0, 9.0, 20.0, 50.0, 88.0, 1000.0])
def test_density_and_gradient_are_exact_for_large_u(u: float, dtype: Any) -> None:
    mu = torch.tensor([[u]], dtype=dtype, requires_grad=True)
    zero = torch.zeros_like(mu)
    a, logp = losses.squashed_gaussian(mu, zero, zero)
    exact = -0.5 * math.log(2 * math.pi) - (math.log(4) - 2 * abs(u) - 2 * math.log1p(math.exp(-2 * abs(u))))
    assert logp.item() == pytest.approx(exact, rel=1e-6)
    logp.backward()
    assert mu.grad is not None
    assert mu.grad.item() == pytest.approx(2 * math.tanh(u), rel=1e-5)
    assert abs(a.item()) <= 1
