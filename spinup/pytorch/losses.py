"""The equations of Soft Actor-Critic as pure functions on tensors.

B is the batch size. Means over a batch are over the last axis, so (B,) may also be (n, B) for n batches.
log_prob is log pi(a|s), (B,); xi is standard normal noise; q holds the values of N critics, (N, B), or
(N, B, n) for n discrete actions; probs and logp hold pi(.|s) and its logarithm, (B, n). alpha is a 0-dim
tensor. Equation numbers are those of docs/sac.md; the TensorFlow version uses the same names.
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

    The change of variables is that of Haarnoja et al. (2018a), appendix C. log(1 - tanh(u)^2) is computed as
    2 (log 2 - u - softplus(-2u)), which is finite for every u.
    """
    u = mu + log_std.exp() * xi
    log_normal = -0.5 * xi.square() - log_std - HALF_LOG_TWO_PI
    log_derivative = 2.0 * (LOG_TWO - u - softplus(-2.0 * u))
    return torch.tanh(u), (log_normal - log_derivative).sum(-1)


def soft_value(q: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
    """Equation 2, one sample: V(s) = Q(s, a) - alpha log pi(a|s), (B,)."""
    return q - alpha * log_prob


def min_q(q: Tensor, subset: Tensor | None = None) -> Tensor:
    """The minimum of the critics' values, (B, ...).

    Args:
        q: values of N critics, (N, B, ...).
        subset: indices (M,) of the critics to use, all if None. REDQ (Chen et al. 2021, algorithm 1) uses a
            random subset of M = 2.
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
        next_value: the soft value of the observation after these rewards, (B,).
    """
    return reward + discount * next_value


def q_loss(q: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Equation 4: each critic's mean squared Bellman error against one target, summed over critics; 0-dim.

    Args:
        q: values of N critics, (N, B).
        target: (B,).
        weight: importance of each transition, (B,); 1 if None.
    """
    return summed_over_critics((q - target).square(), weight)


def summed_over_critics(error: Tensor, weight: Tensor | None = None) -> Tensor:
    """The mean of each critic's errors, (N, B), summed over critics; 0-dim. `weight` as in `q_loss`."""
    return (error if weight is None else weight * error).mean(-1).sum(0)


def td_error(q: Tensor, target: Tensor) -> Tensor:
    """The mean over N critics of |Q_i(s, a) - y|, (B,), from which prioritized replay computes priorities.

    Args:
        q: values of N critics, (N, B).
        target: y of equation 4, (B,).
    """
    return (q - target).abs().mean(0)


def actor_loss(q: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
    """Equation 6: mean of alpha log pi(a|s) - Q(s, a), a drawn by equation 5; 0-dim.

    q is the minimum or the mean of the critics' values, (B,).
    """
    return -soft_value(q, log_prob, alpha).mean(-1)


def alpha_loss(
    log_alpha: Tensor, log_prob: Tensor, target_entropy: Tensor | float, factor: str = "alpha"
) -> Tensor:
    """Equation 8: mean of -alpha (log pi(a|s) + target entropy), alpha = exp(log_alpha); 0-dim.

    This is the form of Haarnoja et al. (2018b), section 5. Its gradient with respect to log_alpha has the
    factor alpha. With `factor="log_alpha"`, the form of many implementations, log_alpha takes the place of
    alpha in the loss, and the gradient lacks this factor. log pi is detached.
    """
    coefficient = log_alpha if factor == "log_alpha" else log_alpha.exp()
    return -(coefficient * (log_prob.detach() + target_entropy)).mean(-1)


def expected_log_prob(probs: Tensor, logp: Tensor) -> Tensor:
    """The negative entropy of the policy, sum over a of pi(a|s) log pi(a|s), (B,); both arguments (B, n).

    A term 0 log 0 has value 0 and gradient 0, so the policy may assign probability 0 to an action.
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
    """Equation 6 by exact sums: minus the mean of equation 9, 0-dim; see `expected_soft_value`."""
    return -expected_soft_value(q, probs, logp, alpha).mean(-1)


def value_loss(v: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Equation 10: the mean squared error of V(s) against a soft value (equation 2), both (B,); 0-dim.

    Haarnoja et al. (2018a), equation 5, without its factor 1/2, as in `q_loss`.
    """
    return q_loss(v.unsqueeze(0), target, weight)


def polyak_update(targets: list[Tensor], params: list[Tensor], polyak: float) -> None:
    """Equation 7, in place: target <- polyak * target + (1 - polyak) * param.

    Args:
        targets, params: tensors in the same order, of pairwise equal shapes and dtypes.
        polyak: in [0, 1].
    """
    if not targets:
        return
    lerp = getattr(torch, "_foreach_lerp_", _lerp_each)
    lerp(targets, params, 1.0 - polyak)


def _lerp_each(targets: list[Tensor], params: list[Tensor], weight: float) -> None:
    """Fallback for torch versions without `_foreach_lerp_`."""
    for target, param in zip(targets, params, strict=True):
        target.lerp_(param, weight)
