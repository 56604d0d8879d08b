"""The engine: gradient steps as graph operations, a block of them per run of the session."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow.compat.v1 as tf
from numpy.random import Generator

from spinup.interfaces import Metrics
from spinup.replay.transition import Batches
from spinup.tf1 import losses
from spinup.tf1.agent import GraphAgent

Tensor = Any
METRICS = ("LossQ", "Q1Vals", "Q2Vals", "LossPi", "LogPi", "Entropy", "Alpha", "TargetEntropy")


def gradient_step(agent: GraphAgent, batch: dict[str, Tensor], polyak: float) -> dict[str, Tensor]:
    """Operations of one gradient step: critics, policy, alpha, targets.

    Args:
        agent: the agent to update; its graph must be the default graph.
        batch: fields (B, *shape), and noise (2, B, act_dim) for the draws at next_obs and at obs.
        polyak: target <- polyak * target + (1 - polyak) * online.

    Returns:
        Tensors to log; fetching any of them executes the step.
    """
    main, obs, action, noise = agent.main, batch["obs"], batch["action"], batch["noise"]
    temperature, alpha = agent.temperature, agent.temperature.value()

    following = main(batch["next_obs"], action, noise[0])
    target_q = agent.target(batch["next_obs"], following.pi, noise[0]).q
    next_value = losses.soft_value(losses.min_q(target_q), following.logp_pi, alpha)
    target = tf.stop_gradient(losses.q_target(batch["reward"], batch["discount"], next_value))
    now = main(obs, action, noise[1])
    critic_loss = losses.q_loss(now.q, target)
    critics_done = agent.critic_optimizer.minimize(critic_loss)

    with tf.control_dependencies([critics_done]):
        q = losses.min_q(main(obs, now.pi, noise[1]).q)
        actor_loss = losses.actor_loss(q, now.logp_pi, alpha)
        done = [agent.actor_optimizer.minimize(actor_loss)]
        targets_done = losses.polyak_update(agent.target_params, agent.critic_params, polyak)

    if agent.alpha_optimizer is not None:
        with tf.control_dependencies(done):
            alpha_loss = losses.alpha_loss(temperature.log_alpha, now.logp_pi, temperature.target_entropy)
            done.append(agent.alpha_optimizer.minimize(alpha_loss))

    log_prob, entropy = now.logp_pi, -tf.reduce_mean(now.logp_pi)
    values = (critic_loss, now.q1, now.q2, actor_loss, log_prob, entropy, alpha, temperature.target_entropy)
    with tf.control_dependencies([*done, targets_done]):
        return {key: tf.identity(value) for key, value in zip(METRICS, values, strict=True)}


class GraphEngine:
    """Adds the updates of an agent to its graph, and finalizes the graph.

    Args:
        agent: the agent to update.
        batch_size: transitions per gradient step.
        polyak: target <- polyak * target + (1 - polyak) * online.
    """

    def __init__(self, agent: GraphAgent, batch_size: int, polyak: float) -> None:
        obs, action, scalar = (batch_size, agent.obs_dim), (batch_size, agent.act_dim), (batch_size,)
        shapes: dict[str, tuple[int, ...]] = {
            "obs": obs, "action": action, "reward": scalar, "discount": scalar, "next_obs": obs,
            "noise": (2, *action),
        }  # fmt: skip
        with agent.session.graph.as_default():
            self._fields = {
                name: tf.placeholder(tf.float32, (None, *shape), name) for name, shape in shapes.items()
            }
            self._metrics = tf.map_fn(
                tf.autograph.experimental.do_not_convert(lambda batch: gradient_step(agent, batch, polyak)),
                {name: tf.cast(field, agent.dtype) for name, field in self._fields.items()},
                fn_output_signature=dict.fromkeys(METRICS, agent.dtype),
                parallel_iterations=1,  # each step depends on the variables that the previous one has updated
            )
        agent.session.graph.finalize()

    def draw_noise(self, batches: Batches, rng: Generator) -> Batches:
        """The noise of the policy's draws at next_obs and at obs, (n, 2, B, act_dim)."""
        count, batch_size, act_dim = batches["action"].shape
        return {"noise": rng.standard_normal((count, 2, batch_size, act_dim), dtype=np.float32)}

    def update(self, agent: GraphAgent, batches: Batches) -> Metrics:
        """One gradient step per batch, in one run of the session; `agent` is the one it was built for."""
        feed = {self._fields[name]: values for name, values in batches.items()}
        metrics: Metrics = agent.session.run(self._metrics, feed)
        return metrics
