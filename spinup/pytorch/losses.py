"""The equations of Soft Actor-Critic as pure functions on tensors.

B is the batch size; reductions are over the last axis, so that leading axes of several batches pass
through. log_prob is log pi(a|s), (B,); xi is standard normal noise; q holds the values of N critics, (N, B),
or (N, B, n) for n discrete actions, where probs and logp hold pi(.|s) and its logarithm, (B, n). alpha is a
0-dim tensor. Equation numbers are those of docs/sac.md; the TensorFlow version has the same names.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
LOG_TWO = math.log(2.0)


def squashed_gaussian(mu: Tensor, log_std: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 5: the reparameterized sample tanh(u), u = mu + sigma * xi, and its log-density.

    Args:
        mu: means of the Gaussian before squashing, (B, act_dim).
        log_std: logarithms of its standard deviations, (B, act_dim).
        xi: standard normal noise, (B, act_dim).

    Returns:
        The sample in (-1, 1), (B, act_dim), and log pi in tanh space, (B,).

    log(1 - tanh(u)^2) is written 2 (log 2 - u - softplus(-2u)), finite for every u
    (Haarnoja et al. 2018a, appendix C, gives the change of variables).
    """
    u = mu + log_std.exp() * xi
    log_normal = -0.5 * xi.square() - log_std - HALF_LOG_TWO_PI
    log_slope = 2.0 * (LOG_TWO - u - softplus(-2.0 * u))
    return torch.tanh(u), (log_normal - log_slope).sum(-1)


def soft_value(q: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
    """Equation 2, one sample: V(s) = Q(s, a) - alpha log pi(a|s), (B,)."""
    return q - alpha * log_prob


def min_q(q: Tensor, subset: Tensor | None = None) -> Tensor:
    """The smallest of the critics' values, (N, B, ...) to (B, ...).

    Args:
        q: values of N critics.
        subset: indices (M,) of the critics that count, all if None. A random subset of M = 2 is the
            target of REDQ (Chen et al. 2021, algorithm 1).
    """
    first, *others = (q if subset is None else q[subset]).unbind()
    for other in others:
        first = torch.minimum(first, other)
    return first


def q_target(reward: Tensor, discount: Tensor, next_value: Tensor) -> Tensor:
    """Equations 3 and 4: y = r + discount V(s'), (B,).

    Args:
        reward: (B,); for n-step returns, the discounted sum of n rewards.
        discount: gamma^n (1 - terminated), (B,).
        next_value: the soft value of the observation after them, (B,).
    """
    return reward + discount * next_value


def q_loss(q: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Equation 4: each critic's mean squared Bellman error against one target, summed over critics; 0-dim.

    Args:
        q: values of N critics, (N, B).
        target: (B,).
        weight: importance of each transition, (B,); 1 if None.
    """
    error = (q - target).square()
    return (error if weight is None else weight * error).mean(-1).sum(0)


def td_error(q: Tensor, target: Tensor) -> Tensor:
    """The mean over N critics of |Q_i(s, a) - y|, (B,), by which prioritized replay draws transitions.

    Args:
        q: values of N critics, (N, B).
        target: y of equation 4, (B,).
    """
    return (q - target).abs().mean(0)


def actor_loss(q: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
    """Equation 6: mean of alpha log pi(a|s) - Q(s, a), a drawn by equation 5; 0-dim.

    q is one value per sample, (B,): the smallest or the mean of the critics'.
    """
    return -soft_value(q, log_prob, alpha).mean(-1)


def alpha_loss(log_alpha: Tensor, log_prob: Tensor, target_entropy: Tensor | float) -> Tensor:
    """Equation 8: mean of -alpha (log pi(a|s) + target entropy), alpha = exp(log_alpha); 0-dim.

    This is the form of Haarnoja et al. (2018b), section 5; its gradient by log_alpha carries the
    factor alpha, which the `log_alpha * (...)` form of some libraries lacks. log pi is held constant.
    """
    return -(log_alpha.exp() * (log_prob.detach() + target_entropy)).mean(-1)


def expected_log_prob(probs: Tensor, logp: Tensor) -> Tensor:
    """sum over a of pi(a|s) log pi(a|s), minus the policy's entropy, (B,); both arguments (B, n).

    0 log 0 counts as 0, in value and in gradient, so that a policy may rule actions out.
    """
    return (probs * logp.masked_fill(probs == 0.0, 0.0)).sum(-1)


def expected_soft_value(q: Tensor, probs: Tensor, logp: Tensor, alpha: Tensor) -> Tensor:
    """Equation 9: V(s) = sum over a of pi(a|s) (Q(s, a) - alpha log pi(a|s)), (B,).

    Args:
        q: the value of each of the n actions, (B, n).
        probs, logp: the policy's probabilities and their logarithms, (B, n).
        alpha: entropy coefficient, 0-dim.

    Equation 2 with the expectation over actions as an exact sum (Christodoulou 2019).
    """
    return (probs * q).sum(-1) - alpha * expected_log_prob(probs, logp)


def discrete_actor_loss(q: Tensor, probs: Tensor, logp: Tensor, alpha: Tensor) -> Tensor:
    """Equation 6 by exact sums: minus the mean of equation 9; all arguments (B, n), result 0-dim."""
    return -expected_soft_value(q, probs, logp, alpha).mean(-1)


def value_loss(v: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Equation 10: the mean squared error of V(s) against a soft value (equation 2), both (B,); 0-dim.

    Haarnoja et al. (2018a), equation 5, without its factor 1/2, as in `q_loss`.
    """
    return q_loss(v.unsqueeze(0), target, weight)


def atom_values(logits: Tensor, atoms: Tensor) -> Tensor:
    """The mean of each categorical distribution over `atoms` (n,), from its logits (..., n): (...)."""
    return torch.softmax(logits, -1) @ atoms


def categorical_target(
    probs: Tensor, reward: Tensor, discount: Tensor, bonus: Tensor, atoms: Tensor
) -> Tensor:
    """Equation 12: the distribution of r + discount (z + bonus), projected onto the atoms; (B, n).

    Each atom's probability is shared between the two neighbors of where it lands, in proportion to their
    nearness; what lands outside belongs to the outermost atom (Bellemare et al. 2017, algorithm 1).

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
    found = torch.zeros_like(probs).scatter_add(-1, index, probs * (1.0 - upper_share))
    return found.scatter_add(-1, index + 1, probs * upper_share)


def lowest_mean(logits: Tensor, atoms: Tensor, subset: Tensor | None = None) -> Tensor:
    """Per sample, the probabilities (B, n) of the critic with the smallest mean; logits (N, B, n).

    The smaller of two critics (equation 4), for distributions. `subset` as in `min_q`.
    """
    chosen = logits if subset is None else logits[subset]
    lowest = atom_values(chosen, atoms).argmin(0)
    return torch.softmax(chosen[lowest, torch.arange(chosen.shape[1], device=chosen.device)], -1)


def categorical_loss(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Equation 12: the cross-entropy of each critic's distribution to one target, summed over critics; 0-dim.

    Args:
        logits: (N, B, n).
        target: probabilities, (B, n).
        weight: importance of each transition, (B,); 1 if None.
    """
    error = -(target * torch.log_softmax(logits, -1)).sum(-1)
    return (error if weight is None else weight * error).mean(-1).sum(0)


def truncated_quantiles(quantiles: Tensor, dropped: int, subset: Tensor | None = None) -> Tensor:
    """Equation 13: the quantiles (N, B, n) of all critics pooled, without the largest; (B, N (n - dropped)).

    Args:
        quantiles: (N, B, n).
        dropped: how many are dropped for each critic (Kuznetsov et al. 2020, section 3).
        subset: as in `min_q`.
    """
    chosen = quantiles if subset is None else quantiles[subset]
    count, _, each = chosen.shape
    return chosen.transpose(0, 1).flatten(1).sort(-1).values[:, : count * (each - dropped)]


def quantile_loss(quantiles: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Equation 13: each critic's quantile regression to all target samples, summed over critics; 0-dim.

    With delta = target sample - quantile at level tau, the mean of |tau - [delta < 0]| huber(delta), with
    levels (2 i - 1) / 2n and the Huber loss of threshold 1 (Dabney et al. 2018, equation 10).

    Args:
        quantiles: (N, B, n).
        target: samples of the target's distribution, (B, m).
        weight: importance of each transition, (B,); 1 if None.
    """
    count = quantiles.shape[-1]
    levels = (torch.arange(count, dtype=quantiles.dtype, device=quantiles.device) + 0.5) / count
    delta = target.unsqueeze(-2) - quantiles.unsqueeze(-1)  # (N, B, n, m)
    size = delta.abs()
    huber = torch.where(size > 1.0, size - 0.5, 0.5 * delta.square())
    error = ((levels.unsqueeze(-1) - (delta < 0).to(delta.dtype)).abs() * huber).mean((-1, -2))
    return (error if weight is None else weight * error).mean(-1).sum(0)


def polyak_update(targets: list[Tensor], params: list[Tensor], polyak: float) -> None:
    """Equation 7, in place: target <- polyak * target + (1 - polyak) * param."""
    if not targets:
        return
    lerp = getattr(torch, "_foreach_lerp_", _lerp_each)
    lerp(targets, params, 1.0 - polyak)


def _lerp_each(targets: list[Tensor], params: list[Tensor], weight: float) -> None:
    """The same where torch lacks `_foreach_lerp_`."""
    for target, param in zip(targets, params, strict=True):
        target.lerp_(param, weight)
