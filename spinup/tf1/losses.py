"""The equations of Soft Actor-Critic in graph operations, as pure functions on tensors.

The PyTorch version uses the same names. B is the batch size; log_prob is log pi(a|s), (B,); xi is standard
normal noise; q holds the values of N critics, (N, B). alpha is a 0-dim tensor. Equation numbers are those of
docs/sac.md. Importing this imports TensorFlow.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow.compat.v1 as tf

Tensor = Any

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
    u = mu + tf.exp(log_std) * xi
    log_normal = -0.5 * tf.square(xi) - log_std - HALF_LOG_TWO_PI
    log_derivative = 2.0 * (LOG_TWO - u - tf.math.softplus(-2.0 * u))
    return tf.tanh(u), tf.reduce_sum(log_normal - log_derivative, axis=-1)


def soft_value(q: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
    """Equation 2, one sample: V(s) = Q(s, a) - alpha log pi(a|s), (B,)."""
    return q - alpha * log_prob


def min_q(q: Tensor) -> Tensor:
    """The minimum of the critics' values (N, B), (B,)."""
    return tf.reduce_min(q, axis=0)


def q_target(reward: Tensor, discount: Tensor, next_value: Tensor) -> Tensor:
    """Equations 3 and 4: y = r + discount V(s'), (B,).

    Args:
        reward: (B,); for n-step returns, the discounted sum of n rewards.
        discount: gamma^n (1 - terminated), (B,).
        next_value: the soft value of the observation after these rewards, (B,).
    """
    return reward + discount * next_value


def q_loss(q: Tensor, target: Tensor) -> Tensor:
    """Equation 4: each critic's mean squared Bellman error against one target, summed over critics; 0-dim."""
    return tf.reduce_sum(tf.reduce_mean(tf.square(q - target), axis=-1))


def actor_loss(q: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
    """Equation 6: mean of alpha log pi(a|s) - Q(s, a), a drawn by equation 5, q (B,); 0-dim."""
    return -tf.reduce_mean(soft_value(q, log_prob, alpha))


def alpha_loss(log_alpha: Tensor, log_prob: Tensor, target_entropy: Tensor | float) -> Tensor:
    """Equation 8: mean of -alpha (log pi(a|s) + target entropy), alpha = exp(log_alpha); 0-dim.

    This is the form of Haarnoja et al. (2018b), section 5, as in the PyTorch version. log pi is detached.
    """
    return -tf.reduce_mean(tf.exp(log_alpha) * (tf.stop_gradient(log_prob) + target_entropy))


def polyak_update(targets: list[Any], params: list[Any], polyak: float) -> Any:
    """An operation for equation 7: target <- polyak * target + (1 - polyak) * param, for each variable."""
    pairs = zip(targets, params, strict=True)
    return tf.group(*[target.assign_sub((1.0 - polyak) * (target - param)) for target, param in pairs])
