"""The page: the equations of Soft Actor-Critic as pure functions on tensors.

Symbols, the same in both backends: o, a, r, o2, d are a batch's observations (B, obs_dim), actions
(B, act_dim), rewards (B,), next observations and terminal flags (B,) in {0, 1}; logp_a is log pi(a|o);
xi is standard normal noise; q1, q2 are critic values (B,); backup is the regression target (B,). Where
actions are discrete, probs and logp hold pi(.|o) and its logarithm, and q1, q2 a value per action, (B, n).
alpha is a 0-dim tensor. Equation numbers are those of docs/sac.md.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import softplus

HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
LOG_TWO = math.log(2.0)


def squashed_gaussian(mu: Tensor, log_std: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
    """Equation 5: the reparameterised sample tanh(u), u = mu + sigma * xi, and its log-density.

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


def soft_value(q: Tensor, logp_a: Tensor, alpha: Tensor) -> Tensor:
    """Equation 2, one sample: V(o) = Q(o, a) - alpha log pi(a|o), (B,)."""
    return q - alpha * logp_a


def q_backup(r: Tensor, d: Tensor, v2: Tensor, gamma: float) -> Tensor:
    """Equations 3 and 4: y = r + gamma (1 - d) V(o2), (B,); v2 is the soft value of o2, (B,)."""
    return r + gamma * (1.0 - d) * v2


def q_loss(q1: Tensor, q2: Tensor, backup: Tensor) -> Tensor:
    """Equation 4: the two mean squared Bellman errors against one backup, summed; a 0-dim tensor."""
    return (q1 - backup).square().mean() + (q2 - backup).square().mean()


def pi_loss(q1: Tensor, q2: Tensor, logp_a: Tensor, alpha: Tensor) -> Tensor:
    """Equation 6: mean of alpha log pi(a|o) - min(Q1, Q2)(o, a), a drawn by equation 5; 0-dim."""
    return -soft_value(torch.minimum(q1, q2), logp_a, alpha).mean()


def alpha_loss(log_alpha: Tensor, logp_a: Tensor, target_entropy: float) -> Tensor:
    """Equation 8: mean of -alpha (log pi(a|o) + target entropy), alpha = exp(log_alpha); 0-dim.

    This is the form of Haarnoja et al. (2018b), section 5; its gradient by log_alpha carries the
    factor alpha, which the `log_alpha * (...)` form of some libraries lacks. log pi is held constant.
    """
    return -(log_alpha.exp() * (logp_a.detach() + target_entropy)).mean()


def expected_log_prob(probs: Tensor, logp: Tensor) -> Tensor:
    """sum over a of pi(a|o) log pi(a|o), minus the policy's entropy, (B,); both arguments (B, n).

    0 log 0 counts as 0, in value and in gradient, so that a policy may rule actions out.
    """
    return (probs * logp.masked_fill(probs == 0.0, 0.0)).sum(-1)


def expected_soft_value(q: Tensor, probs: Tensor, logp: Tensor, alpha: Tensor) -> Tensor:
    """Equation 9: V(o) = sum over a of pi(a|o) (Q(o, a) - alpha log pi(a|o)), (B,).

    Args:
        q: the value of each of the n actions, (B, n).
        probs, logp: the policy's probabilities and their logarithms, (B, n).
        alpha: entropy coefficient, 0-dim.

    Equation 2 with the expectation over actions as an exact sum (Christodoulou 2019).
    """
    return (probs * q).sum(-1) - alpha * expected_log_prob(probs, logp)


def discrete_pi_loss(q1: Tensor, q2: Tensor, probs: Tensor, logp: Tensor, alpha: Tensor) -> Tensor:
    """Equation 6 by exact sums: minus the mean of equation 9 on min(Q1, Q2); all (B, n), result 0-dim."""
    return -expected_soft_value(torch.minimum(q1, q2), probs, logp, alpha).mean()


def value_loss(v: Tensor, target: Tensor) -> Tensor:
    """Equation 10: the mean squared error of V(o) against a soft value (equation 2), both (B,); 0-dim.

    Haarnoja et al. (2018a), equation 5, without its factor 1/2, as in `q_loss`.
    """
    return (v - target).square().mean()


def polyak_update(targets: list[Tensor], params: list[Tensor], polyak: float) -> None:
    """Equation 7, in place: target <- polyak * target + (1 - polyak) * param."""
    lerp = getattr(torch, "_foreach_lerp_", _lerp_each)
    lerp(targets, params, 1.0 - polyak)


def _lerp_each(targets: list[Tensor], params: list[Tensor], weight: float) -> None:
    """For a torch without the call that does all at once."""
    for target, param in zip(targets, params, strict=True):
        target.lerp_(param, weight)
