"""The default networks as a graph function: a squashed Gaussian policy and two critics.

TensorFlow is imported when a graph is built, so that the signature of `sac_tf1` is available without it.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from spinup.errors import ConfigError
from spinup.hints import nearest
from spinup.loggers.tf_saver import import_tf

Tensor = Any
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0
ACTIVATIONS = (
    "elu", "gelu", "leaky_relu", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh",
)  # fmt: skip


def mlp_actor_critic(
    x: Tensor,
    a: Tensor,
    hidden_sizes: Sequence[int] = (256, 256),
    activation: str | Callable[[Tensor], Tensor] = "relu",
    state_dependent_std: bool = True,
    *,
    action_space: Box,
    noise: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The documented default actor-critic; its variables are in the scopes pi, q1 and q2.

    Args:
        x: observations, (B, obs_dim).
        a: actions in the environment's units, (B, act_dim).
        hidden_sizes: widths of the hidden layers of the policy and of each critic.
        activation: a function of tensors, or the name of one in tf.nn.
        state_dependent_std: whether a linear head computes log stds from the trunk's output, as in the
            documented policy; otherwise they are one learned vector, which Spinning Up reports not to work.
        action_space: bounded Box; its bounds scale the actions.
        noise: standard normal noise, (B, act_dim); drawn in the graph if absent.

    Returns:
        mu, the deterministic actions, and pi, sampled ones (equation 5), each (B, act_dim) in the
        environment's units; logp_pi, log pi of the latter in tanh space, (B,); q1 and q2, the values of x
        and a, (B,).

    Raises:
        ConfigError: for an activation that is not in tf.nn.
    """
    tf, activate = import_tf(), _activation(activation)
    xa = tf.concat([x, a], -1)
    with tf.variable_scope("pi"):
        mu, pi, logp_pi = _policy(x, hidden_sizes, activate, state_dependent_std, action_space, noise)
    with tf.variable_scope("q1"):
        q1 = tf.squeeze(mlp(xa, [*hidden_sizes, 1], activate), axis=-1)
    with tf.variable_scope("q2"):
        q2 = tf.squeeze(mlp(xa, [*hidden_sizes, 1], activate), axis=-1)
    return mu, pi, logp_pi, q1, q2


def mlp(
    x: Tensor, sizes: Sequence[int], activation: Callable[[Tensor], Tensor], *, activate_last: bool = False
) -> Tensor:
    """A multi-layer perceptron, (B, sizes[-1]); the last layer has an activation only if `activate_last`."""
    for i, width in enumerate(sizes):
        x = dense(x, width, f"layer{i}")
        if activate_last or i < len(sizes) - 1:
            x = activation(x)
    return x


def dense(x: Tensor, width: int, name: str) -> Tensor:
    """x @ weight + bias, (B, width), for x (B, inputs).

    Weight and bias are initialized as in torch.nn.Linear: uniform within +-1/sqrt(inputs).
    """
    tf, inputs = import_tf(), int(x.shape[-1])
    bound = 1.0 / math.sqrt(inputs) if inputs else 0.0
    with tf.variable_scope(name):
        uniform = tf.random_uniform_initializer(-bound, bound)
        weight = tf.get_variable("weight", (inputs, width), x.dtype, uniform)
        bias = tf.get_variable("bias", (width,), x.dtype, uniform)
    return tf.nn.bias_add(tf.matmul(x, weight), bias)


def _policy(
    x: Tensor,
    hidden_sizes: Sequence[int],
    activation: Callable[[Tensor], Tensor],
    state_dependent_std: bool,
    action_space: Box,
    noise: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    from spinup.tf1.losses import squashed_gaussian

    tf, act_dim = import_tf(), math.prod(action_space.shape)
    h = mlp(x, hidden_sizes, activation, activate_last=True)
    mean = dense(h, act_dim, "mu")
    if state_dependent_std:
        log_std = dense(h, act_dim, "log_std")
    else:
        free = tf.get_variable("log_std", (act_dim,), x.dtype, tf.constant_initializer(-0.5))
        log_std = tf.zeros_like(mean) + free
    log_std = tf.clip_by_value(log_std, LOG_STD_MIN, LOG_STD_MAX)
    xi = tf.random.normal(tf.shape(mean), dtype=x.dtype) if noise is None else noise
    squashed, logp_pi = squashed_gaussian(mean, log_std, xi)
    return to_env_units(tf.tanh(mean), action_space), to_env_units(squashed, action_space), logp_pi


def to_env_units(squashed: Tensor, action_space: Box) -> Tensor:
    """Map (-1, 1) to [low, high] per dimension; clipped, since rounding can exceed a bound by one ulp."""
    tf, dtype = import_tf(), squashed.dtype.as_numpy_dtype
    low, high = (np.asarray(bound, np.float64).flatten() for bound in (action_space.low, action_space.high))
    center, half_range = ((high + low) / 2).astype(dtype), ((high - low) / 2).astype(dtype)
    return tf.clip_by_value(center + half_range * squashed, low.astype(dtype), high.astype(dtype))


def _activation(activation: str | Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    if not isinstance(activation, str):
        return activation
    name = activation.removeprefix("tf.").removeprefix("nn.")
    if name not in ACTIVATIONS:
        hint = nearest(name.rsplit(".", 1)[-1].lower(), ACTIVATIONS)
        raise ConfigError(f"activation={activation!r} is not one of {', '.join(ACTIVATIONS)} in tf.nn{hint}")
    import_tf()
    function: Callable[[Tensor], Tensor] = getattr(importlib.import_module("tensorflow").nn, name)
    return function
