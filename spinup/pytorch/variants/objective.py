"""Objectives: what a variant of SAC minimizes, as pure functions of networks and a batch."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from spinup.pytorch import losses
from spinup.pytorch.networks.modes import Modes
from spinup.replay.transition import Batches

Batch = dict[
    str, Tensor
]  # by field, (B, *shape); noise (2, B, act_dim): for the draws at next_obs and at obs


class Networks(NamedTuple):
    """The networks that losses are functions of."""

    actor: Callable[..., tuple[Tensor, Tensor]]  # (obs, noise) to action and log pi; discrete: (obs)
    critics: nn.Module  # (obs, action) to (N, B); discrete: (obs) to (N, B, n)
    target: nn.Module  # average of `value` if there is one, else of `critics`; or `critics` itself
    value: nn.Module | None  # obs to (B,), only in sac_v1
    modes: Modes


@dataclass(frozen=True)
class Objective(abc.ABC):
    """What one variant of SAC minimizes. Each field is an option that an engine must declare.

    If `target_critics` equals `critics`, the target takes the minimum of all critics, and the policy
    maximizes that minimum, as in SAC (Haarnoja et al. 2018b). If it is less, the target takes the minimum of
    that many critics, drawn at random for each batch, and the policy maximizes the mean of all, as in REDQ
    (Chen et al. 2021, algorithm 1).

    Args:
        critics: number N of critics.
        target_critics: number of them that form a target.
        target_networks: whether averaged copies of the critics compute the targets, or the critics
            themselves.
        reward_scale: multiplies rewards.
    """

    critics: int = 2
    target_critics: int = 2
    target_networks: bool = True
    reward_scale: float = 1.0

    draws_actions: ClassVar[bool] = True  # whether losses sample the policy, with the noise of the batch

    @abc.abstractmethod
    def critic_loss(
        self, networks: Networks, batch: Batch, alpha: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critics' loss (0-dim) and what to log: LossQ (0-dim), Q1Vals and Q2Vals (B,)."""

    @abc.abstractmethod
    def actor_loss(self, networks: Networks, batch: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The policy's loss (0-dim), and log pi of its actions or its expectation (B,)."""

    def outputs(self, critics: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        """The outputs of critics that the loss uses, (N, B, ...)."""
        found: Tensor = critics(*inputs)
        return found

    def both_outputs(
        self, networks: Networks, inputs: tuple[Tensor, ...], next_inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Outputs of the critics at the stored inputs; those of the targets at the next, without gradient.

        Without target networks, and for networks with batch statistics, stored and next inputs form one batch
        of 2B (Bhatt et al. 2024, figure 2): its statistics are then those of both.
        """
        critics, target = networks.critics, networks.target
        with networks.modes.critic_loss():
            if self.target_networks and not networks.modes.batch_statistics:
                with torch.no_grad():
                    next_outputs = self.outputs(target, next_inputs)
                return self.outputs(critics, inputs), next_outputs
            joint = tuple(torch.cat(pair) for pair in zip(inputs, next_inputs, strict=True))
            stored, following = self.outputs(critics, joint).chunk(2, 1)
            if self.target_networks:
                with torch.no_grad():
                    following = self.outputs(target, joint).chunk(2, 1)[1]
            return stored, following.detach()

    def bellman_loss(self, q: Tensor, next_value: Tensor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Equation 4 for values q (N, B), given the soft value of next_obs, (B,); see `critic_loss`."""
        target = losses.q_target(self.reward(batch), batch["discount"], next_value)
        return self.logged(losses.q_loss(q, target, batch.get("weight")), q, target, batch)

    def logged(
        self, loss: Tensor, q: Tensor, target: Tensor, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A loss and what to log with it, given the critics' values, (N, B), and their targets, (B,)."""
        errors = {"TDError": losses.td_error(q.detach(), target)} if "weight" in batch else {}
        return loss, {"LossQ": loss, **{f"Q{i}Vals": values for i, values in enumerate(q[:2], 1)}, **errors}

    def reward(self, batch: Batch) -> Tensor:
        """The rewards times `reward_scale`, (B,)."""
        return batch["reward"] if self.reward_scale == 1.0 else self.reward_scale * batch["reward"]

    @property
    def draws_subset(self) -> bool:
        """Whether the target takes a random subset of the critics."""
        return self.target_critics < self.critics

    def target_q(self, q: Tensor, batch: Batch) -> Tensor:
        """The value that forms a target, (B,) or (B, n), from those of all critics, (N, B) or (N, B, n)."""
        return losses.min_q(q, batch.get("critic_subset"))

    def actor_q(self, q: Tensor) -> Tensor:
        """The value that the policy maximizes, (B, ...), from those of all critics, (N, B, ...)."""
        return q.mean(0) if self.draws_subset else losses.min_q(q)

    def noise_fields(self) -> tuple[str, ...]:
        """The fields that `draw_noise` adds."""
        return ("noise",) * self.draws_actions + ("critic_subset",) * self.draws_subset

    def draw_noise(self, batches: Batches, rng: Generator) -> Batches:
        """The random inputs of the losses for n batches: noise (n, 2, B, act_dim), critic_subset (n, M)."""
        count, batch_size, act_dim = batches["action"].shape
        drawn: dict[str, Any] = {}
        if self.draws_actions:
            drawn["noise"] = rng.standard_normal((count, 2, batch_size, act_dim), dtype=np.float32)
        if self.draws_subset:
            order = rng.permuted(np.tile(np.arange(self.critics), (count, 1)), axis=1)
            drawn["critic_subset"] = order[:, : self.target_critics].copy()
        return drawn


class ReparameterizedObjective(Objective):
    """Variants whose policy draws its action as a function of noise (equation 5)."""

    def next_outputs(self, networks: Networks, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs of critics at stored actions, of targets at drawn next actions, and log pi of these."""
        with torch.no_grad():
            next_action, log_prob = networks.actor(batch["next_obs"], batch["noise"][0])
        stored, following = (batch["obs"], batch["action"]), (batch["next_obs"], next_action)
        return *self.both_outputs(networks, stored, following), log_prob

    def actor_loss(self, networks: Networks, batch: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
        with networks.modes.actor_loss():
            action, log_prob = networks.actor(batch["obs"], batch["noise"][1])
            q = self.actor_q(networks.critics(batch["obs"], action))
        return losses.actor_loss(q, log_prob, alpha), log_prob
