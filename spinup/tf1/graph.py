"""The graph that acts and learns: networks, targets, optimisers, a block of updates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow.compat.v1 as tf

from spinup.config import SACConfig
from spinup.replay.storage import Layout
from spinup.tf1 import losses
from spinup.tf1.adam import Adam
from spinup.tf1.protocol import ActorCritic, inputs
from spinup.tf1.temperature import make_temperature

Tensor = Any
Make = Callable[[str], ActorCritic]
METRICS = ("LossQ", "Q1Vals", "Q2Vals", "LossPi", "LogPi", "Entropy", "Alpha", "TargetEntropy")


class TrainingGraph:
    """Networks, targets, optimisers and the block of updates, made in the default graph.

    Attributes:
        x, a, xi: placeholders for observations, actions and noise, in the graph's dtype.
        out: what the graph function returned for them.
        rows, noise: placeholders of a Block, float32.
        metrics: by name, tensors with leading axis n; fetching them runs the block's n updates.
    """

    def __init__(
        self, make: Make, layout: Layout, config: SACConfig, target_entropy: float, dtype: str
    ) -> None:
        self.layout, self.config, self.dtype = layout, config, tf.as_dtype(dtype)
        self.main, self.target = make("main"), make("target")
        self.x, self.a, self.xi = inputs(layout, self.dtype)
        self.out = self.main(self.x, self.a, self.xi)
        self.target(self.x, self.a, self.xi)
        self.alpha = make_temperature(config, target_entropy, self.dtype)
        self.pi_adam = Adam("pi_adam", self.main.variables("pi"), config.lr)
        self.critic_adam = Adam("critic_adam", self.main.variables("q1", "q2"), config.lr)
        self.rows = tf.placeholder(tf.float32, (None, config.batch_size, layout.width), "rows")
        self.noise = tf.placeholder(tf.float32, (None, 2, config.batch_size, layout.act_dim), "noise")
        self.metrics = self._updates()

    def initialise(self) -> Any:
        """An operation that draws the networks' weights and copies the critics to their targets."""
        pairs = zip(self._targets(), self._followed(), strict=True)
        with tf.control_dependencies([tf.global_variables_initializer()]):
            return tf.group(*[target.assign(param) for target, param in pairs])

    def step(self, rows: Tensor, noise: Tensor) -> tuple[dict[str, Tensor], Any]:
        """One gradient step: critics, policy, alpha, targets.

        Args:
            rows: transitions, (B, layout.width), in the graph's dtype.
            noise: of the policy's draws at o2 and at o, (2, B, act_dim).

        Returns:
            The metrics, and an operation after which the step is done.
        """
        at, main, gamma = self.layout, self.main, self.config.gamma
        o2, o, a, r, d = rows[:, at.o2], rows[:, at.o], rows[:, at.a], rows[:, at.r], rows[:, at.d]
        alpha = self.alpha.value()

        _, a2, logp_a2, _, _ = main(o2, a, noise[0])
        _, _, _, q1_targ, q2_targ = self.target(o2, a2, noise[0])
        v2 = losses.soft_value(tf.minimum(q1_targ, q2_targ), logp_a2, alpha)
        backup = tf.stop_gradient(losses.q_backup(r, d, v2, gamma))
        _, a_pi, logp_a, q1, q2 = main(o, a, noise[1])
        loss_q = losses.q_loss(q1, q2, backup)
        critics_done = self.critic_adam.minimise(loss_q)

        with tf.control_dependencies([critics_done]):
            _, _, _, q1_pi, q2_pi = main(o, a_pi, noise[1])
            loss_pi = losses.pi_loss(q1_pi, q2_pi, logp_a, alpha)
            pi_done = self.pi_adam.minimise(loss_pi)
            targets_done = losses.polyak_update(self._targets(), self._followed(), self.config.polyak)

        with tf.control_dependencies([pi_done]):
            alpha_done = self.alpha.step(logp_a)

        values = (loss_q, q1, q2, loss_pi, logp_a, -tf.reduce_mean(logp_a), alpha, self.alpha.target_entropy)
        return dict(zip(METRICS, values, strict=True)), tf.group(pi_done, targets_done, alpha_done)

    def _updates(self) -> dict[str, Tensor]:
        """The block's steps one after another, without a return to Python between them."""
        rows, noise = tf.cast(self.rows, self.dtype), tf.cast(self.noise, self.dtype)
        count, batch = tf.shape(rows)[0], self.config.batch_size
        vectors = ("Q1Vals", "Q2Vals", "LogPi")
        logs = [
            tf.TensorArray(self.dtype, count, element_shape=(batch,) if key in vectors else ())
            for key in METRICS
        ]

        def body(i: Tensor, logs: list[Any]) -> tuple[Tensor, list[Any]]:
            metrics, done = self.step(rows[i], noise[i])
            with tf.control_dependencies([done]):
                return i + 1, [log.write(i, metrics[key]) for key, log in zip(METRICS, logs, strict=True)]

        _, logs = tf.while_loop(lambda i, _: i < count, body, (0, logs), parallel_iterations=1)
        return {key: log.stack() for key, log in zip(METRICS, logs, strict=True)}

    def _targets(self) -> list[Any]:
        return self.target.variables("q1", "q2")

    def _followed(self) -> list[Any]:
        return self.main.variables("q1", "q2")
