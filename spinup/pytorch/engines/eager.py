"""The eager engine: one gradient step by plain autograd. It is the reference for every other engine."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor, nn

from spinup.interfaces import Metrics
from spinup.pytorch import losses
from spinup.pytorch.agent import Agent, Optimizers
from spinup.pytorch.engines.engine import Engine
from spinup.pytorch.variants.objective import Batch, Objective
from spinup.replay.transition import Batches


def gradient_step(
    agent: Agent, objective: Objective, batch: Batch, optimizers: Optimizers
) -> dict[str, Tensor]:
    """One gradient step: critics, policy, alpha, targets. Returns what to log."""
    networks, alpha = agent.networks, agent.temperature.value()

    critic_loss, metrics = objective.critic_loss(networks, batch, alpha)
    minimize(critic_loss, agent.critic_params, optimizers.critic)

    actor_loss, log_prob = objective.actor_loss(networks, batch, alpha)
    minimize(actor_loss, agent.actor_params, optimizers.actor)

    log_alpha, target_entropy = agent.temperature.log_alpha, agent.temperature.target_entropy
    if log_alpha is not None:
        minimize(losses.alpha_loss(log_alpha, log_prob, target_entropy), [log_alpha], optimizers.alpha)

    losses.polyak_update(agent.target_params, agent.averaged_params, agent.options.polyak)

    metrics |= {"LossPi": actor_loss, "LogPi": log_prob, "Entropy": -log_prob.mean()}
    metrics |= {"Alpha": alpha, "TargetEntropy": target_entropy}
    return {key: value.detach() for key, value in metrics.items()}


def minimize(loss: Tensor, params: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    """One optimizer step on `params`; no other parameter receives a gradient."""
    for p, gradient in zip(params, torch.autograd.grad(loss, params, allow_unused=True), strict=True):
        p.grad = gradient
    optimizer.step()


def gradient_steps(agent: Agent, objective: Objective, batches: dict[str, Tensor]) -> dict[str, Tensor]:
    """A gradient step per batch, fields (n, B, *shape) on the agent's device; metrics with leading axis n."""
    steps = [gradient_step(agent, objective, batch, agent.optimizers) for batch in unstacked(batches)]
    return {key: torch.stack([metrics[key] for metrics in steps]) for key in steps[0]}


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
        """Nothing is unsupported."""
        return None

    def update(self, agent: Agent, batches: Batches) -> Metrics:
        metrics = gradient_steps(agent, self.objective, agent.to_tensors(batches))
        return {key: value.cpu().numpy() for key, value in metrics.items()}
