"""The equations of distributional critics as pure functions on tensors: C51's atoms, TQC's quantiles.

B is the batch size, N the number of critics, n the number of atoms or quantiles. Equation numbers refer to
docs/recipes.md.
"""

from __future__ import annotations

import torch
from torch import Tensor

from spinup.pytorch.losses import summed_over_critics


def atom_values(logits: Tensor, atoms: Tensor) -> Tensor:
    """The means (...) of categorical distributions over `atoms` (n,), given their logits (..., n)."""
    return torch.softmax(logits, -1) @ atoms


def categorical_target(
    probs: Tensor, reward: Tensor, discount: Tensor, bonus: Tensor, atoms: Tensor
) -> Tensor:
    """Equation 12: the distribution of r + discount (z + bonus), projected onto the atoms; (B, n).

    The probability of each shifted atom is split between its two nearest neighbors by linear interpolation;
    values outside the support are clipped to the outermost atom (Bellemare et al. 2017, algorithm 1).

    Args:
        probs: probabilities of the atoms at the next observation, (B, n).
        reward, discount: (B,), as in `q_target`.
        bonus: -alpha log pi of the next action, (B,).
        atoms: n values in equal steps, (n,).
    """
    first, last, count = atoms[0], atoms[-1], len(atoms)
    moved = reward.unsqueeze(-1) + discount.unsqueeze(-1) * (atoms + bonus.unsqueeze(-1))
    at = (moved.clamp(first, last) - first) / (last - first) * (count - 1)
    lower = at.floor().clamp(0, count - 2)
    upper_share = at - lower
    index = lower.long()
    projected = torch.zeros_like(probs).scatter_add(-1, index, probs * (1.0 - upper_share))
    return projected.scatter_add(-1, index + 1, probs * upper_share)


def lowest_mean(logits: Tensor, atoms: Tensor, subset: Tensor | None = None) -> Tensor:
    """For each sample, the atoms' probabilities (B, n) by the critic with the smallest mean.

    This replaces the minimum over critics (equation 4). logits are (N, B, n); `subset` is as in `min_q`.
    """
    chosen = logits if subset is None else logits[subset]
    lowest = atom_values(chosen, atoms).argmin(0)
    return torch.softmax(chosen[lowest, torch.arange(chosen.shape[1], device=chosen.device)], -1)


def categorical_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Equation 12: cross-entropy between the target and each critic, summed over critics; 0-dim.

    Args:
        logits: each critic's logits of the atoms, (N, B, n).
        target: the target's probabilities of the atoms, (B, n).
        weight: importance of each transition, (B,); 1 if None.
    """
    error = -(target * torch.log_softmax(logits, -1)).sum(-1)
    return summed_over_critics(error, weight)


def truncated_quantiles(quantiles: Tensor, dropped: int, subset: Tensor | None = None) -> Tensor:
    """Equation 13: the pooled quantiles of N critics without the N * dropped largest, (B, N (n - dropped)).

    Args:
        quantiles: n quantiles of each critic, (N, B, n).
        dropped: number of quantiles to drop for each critic (Kuznetsov et al. 2020, section 3).
        subset: as in `min_q`.
    """
    chosen = quantiles if subset is None else quantiles[subset]
    count, _, each = chosen.shape
    return chosen.transpose(0, 1).flatten(1).sort(-1).values[:, : count * (each - dropped)]


def quantile_loss(quantiles: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Equation 13: each critic's quantile regression loss, summed over critics; 0-dim.

    The loss of a critic is the mean of |tau - [delta < 0]| huber(delta) over the batch, its quantiles and
    the target samples. delta = target sample - quantile at level tau; the levels are (2i - 1) / 2n, and the
    Huber loss has threshold 1 (Dabney et al. 2018, equation 10).

    Args:
        quantiles: n quantiles of each critic, (N, B, n).
        target: samples of the target's distribution, (B, m).
        weight: importance of each transition, (B,); 1 if None.
    """
    count = quantiles.shape[-1]
    levels = (torch.arange(count, dtype=quantiles.dtype, device=quantiles.device) + 0.5) / count
    delta = target.unsqueeze(-2) - quantiles.unsqueeze(-1)  # (N, B, n, m)
    size = delta.abs()
    huber = torch.where(size > 1.0, size - 0.5, 0.5 * delta.square())
    error = ((levels.unsqueeze(-1) - (delta < 0).to(delta.dtype)).abs() * huber).mean((-1, -2))
    return summed_over_critics(error, weight)
