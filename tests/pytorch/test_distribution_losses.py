"""Equations 12 and 13: hand-computed values, the authors' formulas written out, numerical gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from spinup.pytorch import distribution_losses as losses
from spinup.pytorch.losses import q_target


def t(*values: float) -> Tensor:
    """A float64 vector."""
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape))


def test_atom_values_by_hand() -> None:
    # probabilities 1/4 and 3/4 of -1 and 1
    logits = t(0.0, math.log(3.0))
    assert losses.atom_values(logits, t(-1, 1)).item() == pytest.approx(0.5)
    assert losses.atom_values(logits.expand(2, 3, 2), t(-1, 1)).shape == (2, 3)


@pytest.mark.parametrize(
    ("reward", "discount", "bonus", "wanted"),
    [
        (0.0, 1.0, 0.0, [0.5, 0.3, 0.2]),  # stays where it is
        (0.25, 1.0, 0.0, [0.5 * 0.75, 0.5 * 0.25 + 0.3 * 0.75, 0.3 * 0.25 + 0.2]),  # the last is clipped to 1
        (0.5, 0.0, 9.0, [0.0, 0.5, 0.5]),  # terminal: all mass at 0.5, between 0 and 1
        (0.0, 0.5, 1.0, [0.0, 0.5 + 0.3 * 0.5, 0.3 * 0.5 + 0.2]),  # takes -1, 0, 1 to 0, 0.5, 1
        (-9.0, 1.0, 0.0, [1.0, 0.0, 0.0]),
        (9.0, 1.0, 0.0, [0.0, 0.0, 1.0]),
    ],
)
def test_categorical_target_by_hand(
    reward: float, discount: float, bonus: float, wanted: list[float]
) -> None:
    probs = t(0.5, 0.3, 0.2)[None]
    target = losses.categorical_target(probs, t(reward), t(discount), t(bonus), t(-1, 0, 1))
    assert target[0].tolist() == pytest.approx(wanted)


def projected(probs: Tensor, moved: Tensor, atoms: Tensor) -> Tensor:
    """Bellemare et al. 2017, equation 7, written out with loops."""
    (batch, count), step = probs.shape, (atoms[1] - atoms[0]).item()
    found = torch.zeros_like(probs)
    for b in range(batch):
        for i in range(count):
            for j in range(count):
                z = min(max(moved[b, j].item(), atoms[0].item()), atoms[-1].item())
                share = 1.0 - abs(z - atoms[i].item()) / step
                found[b, i] += min(max(share, 0.0), 1.0) * probs[b, j]
    return found


def test_categorical_target_is_the_authors_projection() -> None:
    atoms = torch.linspace(-2, 2, 7, dtype=torch.float64)
    probs = torch.softmax(normal(20, 7), -1)
    reward, discount, bonus = normal(20, seed=1), normal(20, seed=2).abs(), normal(20, seed=3)
    target = losses.categorical_target(probs, reward, discount, bonus, atoms)
    moved = reward[:, None] + discount[:, None] * (atoms + bonus[:, None])
    assert torch.allclose(target, projected(probs, moved, atoms), atol=1e-12)
    assert torch.allclose(target.sum(-1), torch.ones(20, dtype=torch.float64))


def test_categorical_target_keeps_the_mean_where_nothing_is_clipped() -> None:
    atoms = torch.linspace(-10, 10, 21, dtype=torch.float64)
    logits = normal(5, 21) - 3.0 * atoms.abs()
    probs = torch.softmax(logits, -1)
    reward, discount, bonus = normal(5, seed=1), t(0.9, 0.9, 0.5, 0.0, 1.0), normal(5, seed=2)
    target = losses.categorical_target(probs, reward, discount, bonus, atoms)
    wanted = q_target(reward, discount, probs @ atoms + bonus)
    assert torch.allclose(target @ atoms, wanted, atol=1e-8)


def test_lowest_mean_takes_whole_distributions_per_sample() -> None:
    atoms = t(-1, 0, 1)
    logits = normal(3, 8, 3)
    probs = torch.softmax(logits, -1)
    for subset in (None, torch.tensor([2, 0])):
        chosen = [0, 1, 2] if subset is None else [2, 0]
        found = losses.lowest_mean(logits, atoms, subset)
        for b in range(8):
            best = min(chosen, key=lambda i: float(probs[i, b] @ atoms))
            assert torch.equal(found[b], probs[best, b])


def test_categorical_loss_by_hand() -> None:
    # log 2 for a uniform critic, the target's entropy for an equal one
    logits = torch.stack([t(0, 0), t(0, math.log(3))]).unsqueeze(1)
    target = t(0.25, 0.75)[None]
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert losses.categorical_loss(logits, target).item() == pytest.approx(math.log(2) + entropy)
    assert losses.categorical_loss(logits, target, t(0.5)).item() == pytest.approx(
        (math.log(2) + entropy) / 2
    )


def test_categorical_loss_gradient() -> None:
    target = torch.softmax(normal(4, 5, seed=1), -1)
    logits = normal(2, 4, 5).requires_grad_()
    assert gradcheck(lambda x: losses.categorical_loss(x, target, t(1, 0.5, 2, 0)), [logits])
    # The derivative by a logit is softmax - target, divided by the size of the batch.
    (gradient,) = torch.autograd.grad(losses.categorical_loss(logits, target), logits)
    assert torch.allclose(gradient, (torch.softmax(logits, -1) - target) / 4)


def test_truncated_quantiles_by_hand() -> None:
    quantiles = torch.stack([t(5, 1, 3), t(2, 9, 4), t(0, 7, 8)]).unsqueeze(1)  # 3 critics, 1 sample
    assert losses.truncated_quantiles(quantiles, 0).tolist() == [[0, 1, 2, 3, 4, 5, 7, 8, 9]]
    assert losses.truncated_quantiles(quantiles, 1).tolist() == [[0, 1, 2, 3, 4, 5]]
    assert losses.truncated_quantiles(quantiles, 2).tolist() == [[0, 1, 2]]
    subset = torch.tensor([2, 0])
    assert losses.truncated_quantiles(quantiles, 1, subset).tolist() == [[0, 1, 3, 5]]


def test_quantile_loss_by_hand() -> None:
    # Levels 1/4 and 3/4 of the quantiles 0 and 2, one target sample 1: delta 1 and -1, Huber 0.5 each:
    # (0.25 * 0.5 + |0.75 - 1| * 0.5) / 2 = 0.125. Target 4: delta 4 and 2, Huber 3.5 and 1.5:
    # (0.25 * 3.5 + 0.75 * 1.5) / 2 = 1.
    quantiles = t(0, 2)[None, None]
    assert losses.quantile_loss(quantiles, t(1)[None]).item() == pytest.approx(0.125)
    assert losses.quantile_loss(quantiles, t(4)[None]).item() == pytest.approx(1.0)
    assert losses.quantile_loss(quantiles, t(1, 4)[None]).item() == pytest.approx(0.5625)  # their mean
    both = quantiles.expand(2, 1, 2)
    assert losses.quantile_loss(both, t(4)[None], t(0.5)).item() == pytest.approx(
        1.0
    )  # two critics, weight 1/2


def authors_quantile_loss(quantiles: Tensor, samples: Tensor) -> Tensor:
    """Kuznetsov et al. 2020, section 3, with loops: a mean, summed over critics."""
    total = torch.zeros((), dtype=torch.float64)
    count, batch, n = quantiles.shape
    for c in range(count):
        for b in range(batch):
            for i in range(n):
                tau = (2 * i + 1) / (2 * n)
                for y in samples[b]:
                    u = y - quantiles[c, b, i]
                    huber = 0.5 * u**2 if abs(u) <= 1 else abs(u) - 0.5
                    total = total + abs(tau - float(u < 0)) * huber / (batch * n * len(samples[b]))
    return total


def test_quantile_loss_is_the_authors() -> None:
    quantiles, samples = 2.0 * normal(2, 3, 4), 2.0 * normal(3, 5, seed=1)
    found = losses.quantile_loss(quantiles, samples)
    assert found.item() == pytest.approx(authors_quantile_loss(quantiles, samples).item())


def test_quantile_loss_gradient_and_minimum() -> None:
    quantiles = normal(2, 3, 4).requires_grad_()
    assert gradcheck(lambda x: losses.quantile_loss(x, normal(3, 5, seed=1), t(1, 0, 2)), [quantiles])
    # Fitted to many samples of a uniform distribution on [0, 100], the quantiles are those of its levels
    # (the Huber part is one unit wide).
    samples = torch.linspace(0, 100, 401, dtype=torch.float64)[None]
    fitted = torch.full((1, 1, 4), 50.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([fitted], lr=1.0)
    for _ in range(600):
        optimizer.zero_grad()
        losses.quantile_loss(fitted, samples).backward()
        optimizer.step()
    assert fitted[0, 0].tolist() == pytest.approx([12.5, 37.5, 62.5, 87.5], abs=1.5)
