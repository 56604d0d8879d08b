"""Graph functions: calls in a variable scope, their variables, and checks of their outputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow.compat.v1 as tf
from gymnasium.spaces import Box

from spinup.errors import ConfigError, first_line
from spinup.tf1.session import open_session

Tensor = Any
GraphFunction = Callable[..., Any]
PARTS = ("pi", "q1", "q2")
_SET_BY_RUN = ("action_space", "noise")


class Outputs(NamedTuple):
    """The outputs of a graph function: mu and pi (B, act_dim); logp_pi, q1 and q2 (B,)."""

    mu: Tensor
    pi: Tensor
    logp_pi: Tensor
    q1: Tensor
    q2: Tensor

    @property
    def q(self) -> Tensor:
        """The values of both critics, (2, B)."""
        return tf.stack([self.q1, self.q2])


class ActorCritic:
    """A graph function in one variable scope: every call uses the same variables.

    Args:
        function: `actor_critic(x, a, action_space=..., **ac_kwargs)`. If it has a parameter `noise`, it
            receives the run's noise; otherwise it draws noise in the graph.
        scope: "main" or "target".
        action_space: flat bounded Box.
        ac_kwargs: keyword arguments for `function`.

    Raises:
        ConfigError: if `ac_kwargs` holds an argument that the run sets.
    """

    def __init__(
        self, function: GraphFunction, scope: str, action_space: Box, ac_kwargs: dict[str, Any]
    ) -> None:
        for name in _SET_BY_RUN:
            if name in ac_kwargs:
                raise ConfigError(f"ac_kwargs has {name!r}: leave it out, the run sets it")
        self.function, self.scope, self.kwargs = function, scope, ac_kwargs
        self.action_space, self.act_dim = action_space, action_space.shape[0]
        self.name = getattr(function, "__name__", type(function).__name__)
        self.takes_noise = "noise" in inspect.signature(function).parameters

    def __call__(self, x: Tensor, a: Tensor, noise: Tensor | None = None) -> Outputs:
        """The function's tensors for observations x (B, obs_dim) and actions a (B, act_dim).

        Raises:
            ConfigError: if the function fails, or does not return five tensors.
        """
        given = {"noise": noise} if self.takes_noise else {}
        with tf.variable_scope(self.scope, reuse=tf.AUTO_REUSE, use_resource=True):
            try:
                out = self.function(x, a, action_space=self.action_space, **self.kwargs, **given)
            except (TypeError, ValueError, AttributeError, tf.errors.OpError) as error:
                if isinstance(error, ConfigError):
                    raise
                raise ConfigError(f"{self.name} failed: {first_line(error)}") from error
        if not isinstance(out, (tuple, list)) or len(out) != len(Outputs._fields):
            raise ConfigError(f"{self.name} must return the five tensors mu, pi, logp_pi, q1, q2")
        return Outputs(*out)

    def variables(self, *parts: str) -> list[Any]:
        """The trainable variables of these parts ("pi", "q1", "q2"), in the order of their creation."""
        found: list[Any] = []
        for part in parts:
            found += tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope=f"{self.scope}/{part}/")
        return found


def placeholders(obs_dim: int, act_dim: int, dtype: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Placeholders for observations (B, obs_dim), actions (B, act_dim) and noise (B, act_dim)."""
    widths = {"x": obs_dim, "a": act_dim, "noise": act_dim}
    x, a, noise = (tf.placeholder(dtype, (None, width), name) for name, width in widths.items())
    return x, a, noise


def check_graph_function(ac: ActorCritic, obs_dim: int, dtype: str, threads: int) -> None:
    """Build `ac` in a temporary graph; check its outputs, and the scopes of its variables.

    Raises:
        ConfigError: naming the output, the variable or the scope, and the remedy.
    """
    session = open_session(0, threads)
    with session, session.graph.as_default():
        x, a, _ = placeholders(obs_dim, ac.act_dim, dtype)
        out = ac(x, a)
        _check_variables(ac, [v.name for v in tf.trainable_variables()])
        for name in ("pi", "logp_pi"):
            if all(g is None for g in tf.gradients(getattr(out, name), ac.variables("pi"))):
                raise ConfigError(f"{ac.name}: {name} has no gradient: sample as mean + std * noise")
        before = len(tf.trainable_variables())
        ac(x, a)
        if again := tf.trainable_variables()[before:]:
            raise ConfigError(
                f"{ac.name} creates variables at each call, such as {again[0].name}: use tf.get_variable"
            )
        session.run(tf.global_variables_initializer())
        for batch in (1, 3):
            feed = {x: np.zeros((batch, obs_dim)), a: np.zeros((batch, ac.act_dim))}
            _check_shapes(ac.name, Outputs(*session.run(out, feed)), batch, ac.act_dim)


def _check_variables(ac: ActorCritic, created: list[str]) -> None:
    for part in PARTS:
        if not ac.variables(part):
            raise ConfigError(
                f"{ac.name} creates no variables in the scope {part!r}: wrap that part in "
                f"tf.variable_scope({part!r}) and create them with tf.get_variable"
            )
    trained = {v.name for v in ac.variables(*PARTS)}
    for name in created:
        if name not in trained:
            raise ConfigError(
                f"{ac.name} creates {name} outside the scopes pi, q1 and q2, where it would not be trained: "
                "create it in one of them"
            )


def _check_shapes(name: str, values: Outputs, batch: int, act_dim: int) -> None:
    """Check the outputs' shapes; called for batches of 1 and 3, as `squeeze` without an axis fails at 1."""
    for field, value in values._asdict().items():
        wanted: tuple[int, ...] = (batch, act_dim)
        remedy = ""
        if field not in ("mu", "pi"):
            wanted, remedy = (batch,), "; flatten it with tf.squeeze(..., axis=-1), or sum over the actions"
        if value.shape != wanted:
            raise ConfigError(
                f"{name}: {field} has shape {value.shape} for a batch of {batch}, and must have "
                f"{wanted}{remedy}"
            )
