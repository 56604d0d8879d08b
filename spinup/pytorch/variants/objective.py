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
from spinup.replay.transition import Batches

Batch = dict[
    str, Tensor
]  # by field, (B, *shape); noise (2, B, act_dim): for the draws at next_obs and at obs


class Networks(NamedTuple):
    """What losses are functions of."""

    actor: Callable[..., tuple[Tensor, Tensor]]  # (obs, noise) to action and log pi; discrete: (obs)
    critics: nn.Module  # (obs, action) to (N, B); discrete: (obs) to (N, B, n)
    target: nn.Module  # averages `value` where there is one, else `critics`
    value: nn.Module | None  # obs to (B,), only in sac_v1


@dataclass(frozen=True)
class Objective(abc.ABC):
    """What one variant of SAC minimizes. Each field is an option that an engine must declare.

    The critics' target takes the minimum of `target_critics` of them, chosen at random for each batch; of
    all where the numbers are equal, as in SAC (Haarnoja et al. 2018b). The policy maximizes their minimum
    then, and otherwise the mean of all, as in REDQ (Chen et al. 2021, algorithm 1).

    Args:
        critics: number N of critics.
        target_critics: number of them that form a target.
    """

    critics: int = 2
    target_critics: int = 2

    draws_actions: ClassVar[bool] = True  # whether losses sample the policy, with the noise of the batch

    @abc.abstractmethod
    def next_value(self, networks: Networks, batch: Batch, alpha: Tensor) -> Tensor:
        """The soft value of next_obs by the target networks, (B,), without gradient."""

    @abc.abstractmethod
    def actor_loss(self, networks: Networks, batch: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The policy's loss (0-dim), and log pi of its actions or its expectation (B,)."""

    def q_values(self, networks: Networks, batch: Batch) -> Tensor:
        """The critics' values of the stored actions, (N, B)."""
        q: Tensor = networks.critics(batch["obs"], batch["action"])
        return q

    def critic_loss(
        self, networks: Networks, batch: Batch, alpha: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critics' loss (0-dim) and what to log: LossQ (0-dim), Q1Vals and Q2Vals (B,).

        Where the batch has the field `weight`, also TDError (B,), the absolute errors that set priorities.
        """
        with torch.no_grad():
            next_value = self.next_value(networks, batch, alpha)
            target = losses.q_target(batch["reward"], batch["discount"], next_value)
        q = self.q_values(networks, batch)
        loss = losses.q_loss(q, target, batch.get("weight"))
        errors = {"TDError": losses.td_error(q, target)} if "weight" in batch else {}
        return loss, {"LossQ": loss, **{f"Q{i}Vals": values for i, values in enumerate(q[:2], 1)}, **errors}

    @property
    def draws_subset(self) -> bool:
        """Whether the target takes a random subset of the critics."""
        return self.target_critics < self.critics

    def target_q(self, q: Tensor, batch: Batch) -> Tensor:
        """The value that forms a target, (B,) or (B, n), from those of all critics, (N, B) or (N, B, n)."""
        return losses.min_q(q, batch.get("critic_subset"))

    def actor_q(self, q: Tensor) -> Tensor:
        """The critics' value that the policy maximizes, from (N, B, ...)."""
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

    def actor_loss(self, networks: Networks, batch: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
        action, log_prob = networks.actor(batch["obs"], batch["noise"][1])
        q = self.actor_q(networks.critics(batch["obs"], action))
        return losses.actor_loss(q, log_prob, alpha), log_prob
