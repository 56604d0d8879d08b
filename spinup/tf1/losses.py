"""The page in graph operations: the equations of Soft Actor-Critic as pure functions on tensors.

Symbols, the same in both backends: o, a, r, o2, d are a batch's observations (B, obs_dim), actions
(B, act_dim), rewards (B,), next observations and terminal flags (B,) in {0, 1}; logp_a is log pi(a|o);
xi is standard normal noise; q1, q2 are critic values (B,); backup is the regression target (B,).
alpha is a 0-dim tensor. Equation numbers are those of docs/sac.md. Importing this imports TensorFlow.
"""

from __future__ import annotations

import math
from typing import Any

import tensorflow.compat.v1 as tf

Tensor = Any

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
    u = mu + tf.exp(log_std) * xi
    log_normal = -0.5 * tf.square(xi) - log_std - HALF_LOG_TWO_PI
    log_slope = 2.0 * (LOG_TWO - u - tf.math.softplus(-2.0 * u))
    return tf.tanh(u), tf.reduce_sum(log_normal - log_slope, axis=-1)


def soft_value(q: Tensor, logp_a: Tensor, alpha: Tensor) -> Tensor:
    """Equation 2, one sample: V(o) = Q(o, a) - alpha log pi(a|o), (B,)."""
    return q - alpha * logp_a


def q_backup(r: Tensor, d: Tensor, v2: Tensor, gamma: float) -> Tensor:
    """Equations 3 and 4: y = r + gamma (1 - d) V(o2), (B,); v2 is the soft value of o2, (B,)."""
    return r + gamma * (1.0 - d) * v2


def q_loss(q1: Tensor, q2: Tensor, backup: Tensor) -> Tensor:
    """Equation 4: the two mean squared Bellman errors against one backup, summed; a 0-dim tensor."""
    return tf.reduce_mean(tf.square(q1 - backup)) + tf.reduce_mean(tf.square(q2 - backup))


def pi_loss(q1: Tensor, q2: Tensor, logp_a: Tensor, alpha: Tensor) -> Tensor:
    """Equation 6: mean of alpha log pi(a|o) - min(Q1, Q2)(o, a), a drawn by equation 5; 0-dim."""
    return -tf.reduce_mean(soft_value(tf.minimum(q1, q2), logp_a, alpha))


def alpha_loss(log_alpha: Tensor, logp_a: Tensor, target_entropy: float) -> Tensor:
    """Equation 8: mean of -alpha (log pi(a|o) + target entropy), alpha = exp(log_alpha); 0-dim.

    The form of Haarnoja et al. (2018b), section 5, as in PyTorch; log pi is held constant.
    """
    return -tf.reduce_mean(tf.exp(log_alpha) * (tf.stop_gradient(logp_a) + target_entropy))


def polyak_update(targets: list[Any], params: list[Any], polyak: float) -> Tensor:
    """Equation 7, an operation: target <- polyak * target + (1 - polyak) * param, for each variable."""
    pairs = zip(targets, params, strict=True)
    return tf.group(*[target.assign_sub((1.0 - polyak) * (target - param)) for target, param in pairs])
