"""alpha in the graph: a tensor, whether it learns or not."""

from __future__ import annotations

import abc
import math
from typing import Any

import tensorflow.compat.v1 as tf

from spinup.config import SACConfig
from spinup.tf1 import losses
from spinup.tf1.adam import Adam

Tensor = Any


class Temperature(abc.ABC):
    """alpha, and the entropy that it aims at: a constant, nan if alpha is fixed."""

    target_entropy: Tensor

    @abc.abstractmethod
    def value(self) -> Tensor:
        """alpha as it is when this runs, 0-dim."""

    @abc.abstractmethod
    def step(self, logp_a: Tensor) -> Any:
        """An operation that takes one gradient step, if alpha learns."""


class FixedAlpha(Temperature):
    """The documented version: a constant."""

    def __init__(self, alpha: float, dtype: Any) -> None:
        self.target_entropy = tf.constant(math.nan, dtype)
        self._value = tf.constant(alpha, dtype)

    def value(self) -> Tensor:
        return self._value

    def step(self, logp_a: Tensor) -> Any:
        return tf.no_op()


class LearnedAlpha(Temperature):
    """The entropy-constrained version (equation 8)."""

    def __init__(self, alpha: float, target_entropy: float, lr: float, dtype: Any) -> None:
        self.target_entropy = tf.constant(target_entropy, dtype)
        with tf.variable_scope("temperature", use_resource=True):
            start = tf.constant_initializer(math.log(alpha))
            self.log_alpha = tf.get_variable("log_alpha", (), dtype, start)
        self._adam = Adam("alpha_adam", [self.log_alpha], lr)

    def value(self) -> Tensor:
        return tf.exp(self.log_alpha)

    def step(self, logp_a: Tensor) -> Any:
        return self._adam.minimise(losses.alpha_loss(self.log_alpha, logp_a, self.target_entropy))


def make_temperature(config: SACConfig, target_entropy: float, dtype: Any) -> Temperature:
    """The Temperature that `config` asks for, its variables in the default graph."""
    if config.learns_alpha:
        return LearnedAlpha(config.initial_alpha, target_entropy, config.lr, dtype)
    return FixedAlpha(config.initial_alpha, dtype)
