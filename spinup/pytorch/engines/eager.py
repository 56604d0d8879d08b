"""The eager engine: one gradient step by plain autograd. It is the reference for every other engine."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor, nn

from spinup.interfaces import Metrics
from spinup.pytorch import losses
from spinup.pytorch.agent import Agent, Optimizers
from spinup.pytorch.engines.engine import Engine
from spinup.pytorch.networks.layers import normalize_weights
from spinup.pytorch.variants.objective import Batch, Objective
from spinup.replay.transition import Batches


def gradient_step(
    agent: Agent, objective: Objective, batch: Batch, optimizers: Optimizers, step: int = 0
) -> dict[str, Tensor]:
    """One gradient step: critics, policy, alpha, targets. Returns what to log.

    Args:
        agent: the agent to update, in place.
        objective: the losses.
        batch: tensors by field, (B, *shape), on the agent's device.
        optimizers: the agent's optimizers, or objects that update the same parameters and state.
        step: number of the gradient step in the run, from 0; used for `policy_delay`.
    """
    options, metrics = agent.options, {}
    improves_policy = (step + 1) % options.policy_delay == 0
    if improves_policy and options.actor_first:
        metrics = policy_step(agent, objective, batch, optimizers)

    alpha = agent.temperature.value()
    critic_loss, logged = objective.critic_loss(agent.networks, batch, alpha)
    minimize(critic_loss, agent.critic_params, optimizers.critic)
    if options.normalize_weights:
        for module in filter(None, (agent.networks.critics, agent.networks.value)):
            normalize_weights(module)

    if improves_policy and not options.actor_first:
        metrics = policy_step(agent, objective, batch, optimizers)

    losses.polyak_update(agent.target_params, agent.averaged_params, options.polyak)

    metrics = logged | metrics | {"Alpha": alpha, "TargetEntropy": agent.temperature.target_entropy}
    return {key: value.detach() for key, value in metrics.items()}


def policy_step(
    agent: Agent, objective: Objective, batch: Batch, optimizers: Optimizers
) -> dict[str, Tensor]:
    """Update the policy, then alpha if it is learned. Returns what to log."""
    alpha = agent.temperature.value()
    actor_loss, log_prob = objective.actor_loss(agent.networks, batch, alpha)
    minimize(actor_loss, agent.actor_params, optimizers.actor)
    if agent.options.normalize_weights:
        normalize_weights(agent.ac.pi)

    log_alpha, target_entropy = agent.temperature.log_alpha, agent.temperature.target_entropy
    if log_alpha is not None:
        minimize(losses.alpha_loss(log_alpha, log_prob, target_entropy), [log_alpha], optimizers.alpha)
    return {"LossPi": actor_loss, "LogPi": log_prob, "Entropy": -log_prob.mean()}


def minimize(loss: Tensor, params: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """One optimizer step on `params`; no other parameter receives a gradient."""
    for p, gradient in zip(params, torch.autograd.grad(loss, params, allow_unused=True), strict=True):
        p.grad = gradient
    optimizer.step()


def gradient_steps(agent: Agent, objective: Objective, batches: dict[str, Tensor]) -> dict[str, Tensor]:
    """A gradient step per batch, fields (n, B, *shape) on the agent's device; metrics with leading axis n.

    Metrics of the policy have an entry for each step that updates it, and are missing where none does.
    """
    options, first = agent.options, 0
    if options.policy_delay > 1 or options.lr_schedule != "constant":
        first = agent.gradient_steps()
    steps = []
    for step, batch in enumerate(unstacked(batches), first):
        if options.lr_schedule != "constant":
            agent.set_learning_rate(step)
        steps.append(gradient_step(agent, objective, batch, agent.optimizers, step))
    names = dict.fromkeys(key for metrics in steps for key in metrics)
    return {key: torch.stack([metrics[key] for metrics in steps if key in metrics]) for key in names}


def unstacked(batches: dict[str, Tensor]) -> list[Batch]:
    """Fields (n, ...) as n batches."""
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
        metrics = gradient_steps(agent, self.objective, agent.to_tensors(batches))
        return {key: value.cpu().numpy() for key, value in metrics.items()}
