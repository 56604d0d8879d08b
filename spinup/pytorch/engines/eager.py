"""The eager engine: gradient steps by plain autograd. It is the reference for every other engine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from spinup.interfaces import Metrics
from spinup.pytorch import losses
from spinup.pytorch.agent import Agent, Optimizers, StepSettings
from spinup.pytorch.engines.engine import Engine
from spinup.pytorch.networks.layers import normalize_weights
from spinup.pytorch.variants.objective import Batch, Objective
from spinup.replay.transition import Batches

OneStep = Callable[[Batch, bool], dict[str, Tensor]]  # a batch, whether to update the policy: metrics


def gradient_step(
    agent: Agent,
    objective: Objective,
    optimizers: Optimizers,
    batch: Batch,
    updates_policy: bool = True,
) -> dict[str, Tensor]:
    """One gradient step: critics, policy, alpha, targets. Returns metrics, see `Engine.update`.

    Args:
        agent: the agent to update, in place.
        objective: the losses.
        optimizers: the agent's optimizers, or objects that update the same parameters and state.
        batch: tensors by field, (B, *shape), on the agent's device.
        updates_policy: whether to update the policy and alpha too, see `policy_delay`.
    """
    options, metrics = agent.options, {}
    if updates_policy and options.actor_first:
        metrics = policy_step(agent, objective, optimizers, batch)

    alpha = agent.temperature.value()
    critic_loss, logged = objective.critic_loss(agent.networks, batch, alpha)
    minimize(critic_loss, agent.critic_params, optimizers.critic)
    if options.normalize_weights:
        for module in filter(None, (agent.networks.critics, agent.networks.value)):
            normalize_weights(module)

    if updates_policy and not options.actor_first:
        metrics = policy_step(agent, objective, optimizers, batch)

    losses.polyak_update(agent.target_params, agent.online_params, options.polyak)

    metrics = logged | metrics | {"Alpha": alpha, "TargetEntropy": agent.temperature.target_entropy}
    return {key: value.detach() for key, value in metrics.items()}


def policy_step(
    agent: Agent, objective: Objective, optimizers: Optimizers, batch: Batch
) -> dict[str, Tensor]:
    """Update the policy, then alpha if it is learned. Returns LossPi, LogPi and Entropy."""
    alpha = agent.temperature.value()
    actor_loss, log_prob = objective.actor_loss(agent.networks, batch, alpha)
    minimize(actor_loss, agent.actor_params, optimizers.actor)
    if agent.options.normalize_weights:
        normalize_weights(agent.ac.pi)

    log_alpha, target_entropy = agent.temperature.log_alpha, agent.temperature.target_entropy
    if log_alpha is not None:
        alpha_loss = losses.alpha_loss(log_alpha, log_prob, target_entropy, agent.options.alpha_loss)
        minimize(alpha_loss, [log_alpha], optimizers.alpha)
    return {"LossPi": actor_loss, "LogPi": log_prob, "Entropy": -log_prob.mean()}


def minimize(loss: Tensor, params: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """One optimizer step on `params`; no other parameter receives a gradient."""
    for p, gradient in zip(params, torch.autograd.grad(loss, params, allow_unused=True), strict=True):
        p.grad = gradient
    optimizer.step()


def gradient_steps(
    agent: Agent, batches: dict[str, Tensor], settings: list[StepSettings], one_step: OneStep
) -> dict[str, Tensor]:
    """Run one gradient step per batch; returns metrics with leading axis n.

    Metrics of the policy have one entry per step that updates it, and are missing if no step does.

    Args:
        agent: the agent that `one_step` updates.
        batches: fields of n batches, (n, B, *shape), on the agent's device.
        settings: the settings of the n steps.
        one_step: updates the agent with a batch, with or without its policy, and returns metrics.
    """
    steps = []
    for batch, (updates_policy, lr) in zip(split_batches(batches), settings, strict=True):
        if lr is not None:
            agent.set_learning_rate(lr)
        steps.append(one_step(batch, updates_policy))
    names = dict.fromkeys(key for metrics in steps for key in metrics)
    return {key: torch.stack([metrics[key] for metrics in steps if key in metrics]) for key in names}


def split_batches(batches: dict[str, Tensor]) -> list[Batch]:
    """Split fields (n, B, *shape) into n batches with fields (B, *shape)."""
    rows = zip(*(values.unbind() for values in batches.values()), strict=True)
    return [dict(zip(batches, row, strict=True)) for row in rows]


@final
class EagerEngine(Engine):
    """Plain autograd, for any actor-critic, variant, option and device."""

    name: ClassVar[str] = "eager"
    description: ClassVar[str] = "plain autograd"

    @classmethod
    def unsupported_reason(cls, agent: Agent, objective: Objective, fields: tuple[str, ...]) -> str | None:
        """Always None."""
        return None

    def update(self, agent: Agent, batches: Batches) -> Metrics:
        one_step = partial(gradient_step, agent, self.objective, agent.optimizers)
        settings = agent.begin_steps(len(batches["reward"]))
        metrics = gradient_steps(agent, agent.to_tensors(batches), settings, one_step)
        return {key: value.cpu().numpy() for key, value in metrics.items()}
