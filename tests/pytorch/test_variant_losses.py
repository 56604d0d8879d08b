"""Equations 9 and 10: hand-computed values and numerical gradients."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from spinup.pytorch import losses

DOUBLE = torch.float64
PROBS = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.2, 0.7]], dtype=DOUBLE)
Q1 = torch.tensor([[1.0, 2.0, 4.0], [10.0, 5.0, -10.0]], dtype=DOUBLE)
Q2 = torch.tensor([[3.0, 1.0, 4.0], [10.0, 0.0, 10.0]], dtype=DOUBLE)
ALPHA = torch.tensor(0.5, dtype=DOUBLE)


def test_expected_log_prob_is_minus_the_entropy() -> None:
    got = losses.expected_log_prob(PROBS, PROBS.log())
    by_hand = [-1.5 * math.log(2), 0.1 * math.log(0.1) + 0.2 * math.log(0.2) + 0.7 * math.log(0.7)]
    torch.testing.assert_close(got, torch.tensor(by_hand, dtype=DOUBLE))


def test_expected_soft_value_by_hand() -> None:
    got = losses.expected_soft_value(torch.minimum(Q1, Q2), PROBS, PROBS.log(), ALPHA)
    first = 0.5 * 1 + 0.25 * 1 + 0.25 * 4 + 0.5 * 1.5 * math.log(2)
    entropy = -(0.1 * math.log(0.1) + 0.2 * math.log(0.2) + 0.7 * math.log(0.7))
    second = 0.1 * 10 + 0.0 - 0.7 * 10 + 0.5 * entropy
    torch.testing.assert_close(got, torch.tensor([first, second], dtype=DOUBLE))


def test_expected_soft_value_is_the_mean_of_sampled_soft_values() -> None:
    """Equation 9 is the expectation of equation 2."""
    generator = torch.Generator().manual_seed(0)
    actions = torch.multinomial(PROBS, 200_000, replacement=True, generator=generator)
    q, logp = torch.minimum(Q1, Q2), PROBS.log()
    sampled = losses.soft_value(q.gather(1, actions), logp.gather(1, actions), ALPHA).mean(1)
    torch.testing.assert_close(
        losses.expected_soft_value(q, PROBS, logp, ALPHA), sampled, atol=0.05, rtol=0.0
    )


def test_discrete_actor_loss_by_hand() -> None:
    got = losses.discrete_actor_loss(torch.minimum(Q1, Q2), PROBS, PROBS.log(), ALPHA)
    values = losses.expected_soft_value(torch.minimum(Q1, Q2), PROBS, PROBS.log(), ALPHA)
    torch.testing.assert_close(got, -(values[0] + values[1]) / 2)
    assert got.shape == ()


def test_discrete_actor_loss_is_minimal_at_the_softmax_of_q_over_alpha() -> None:
    """For fixed Q the optimal policy is exp(Q / alpha), normalized (Haarnoja et al. 2018a, equation 4)."""
    logits = (Q1 / ALPHA).requires_grad_()
    logp = torch.log_softmax(logits, -1)
    (gradient,) = torch.autograd.grad(losses.discrete_actor_loss(Q1, logp.exp(), logp, ALPHA), logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


def test_gradients_of_the_discrete_actor_loss() -> None:
    def loss(logits: Tensor) -> Tensor:
        logp = torch.log_softmax(logits, -1)
        return losses.discrete_actor_loss(torch.minimum(Q1, Q2), logp.exp(), logp, ALPHA)

    logits = torch.randn(2, 3, dtype=DOUBLE, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(loss, (logits,))


def test_an_action_of_probability_zero_contributes_nothing() -> None:
    """0 log 0 = 0, in value and in gradient, so that a policy may rule actions out."""
    logits = torch.tensor([[1.0, 0.5, -torch.inf]], dtype=DOUBLE, requires_grad=True)
    logp = torch.log_softmax(logits, -1)
    q = torch.minimum(Q1, Q2)[:1]
    value = losses.discrete_actor_loss(q, logp.exp(), logp, ALPHA)
    two = torch.log_softmax(torch.tensor([[1.0, 0.5]], dtype=DOUBLE), -1)
    torch.testing.assert_close(value.detach(), losses.discrete_actor_loss(q[:, :2], two.exp(), two, ALPHA))
    (gradient,) = torch.autograd.grad(value, logits)
    assert torch.isfinite(gradient).all()
    assert gradient[0, 2] == 0.0
    assert gradient[0, 0] != 0.0


def test_value_loss_by_hand() -> None:
    v, target = torch.tensor([1.0, -2.0, 0.5]), torch.tensor([0.0, 1.0, 0.5])
    assert losses.value_loss(v, target).item() == pytest.approx((1 + 9 + 0) / 3)
    weight = torch.tensor([3.0, 1.0, 1.0])
    assert losses.value_loss(v, target, weight).item() == pytest.approx((3 + 9 + 0) / 3)


def test_gradients_of_the_value_loss() -> None:
    v = torch.randn(4, dtype=DOUBLE, generator=torch.Generator().manual_seed(2)).requires_grad_()
    target = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=DOUBLE)
    assert torch.autograd.gradcheck(lambda v: losses.value_loss(v, target), (v,))
    (gradient,) = torch.autograd.grad(losses.value_loss(v, target), v)
    torch.testing.assert_close(gradient, (2 / 4 * (v - target)).detach())
