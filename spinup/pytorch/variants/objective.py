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

Batch = dict[str, Tensor]  # by field, (B, *shape); of noise, (2, B, act_dim), see `draw_noise`


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

    Subclasses are dataclasses too, or their fields would not be options.

    Args:
        critics: number N of critics.
        target_critics: number of them that form a target.
        target_networks: whether averaged copies of the critics compute the targets, or the critics
            themselves.

    Attributes:
        columns: names of metrics to log, as means, in addition to those of every variant.
    """

    critics: int = 2
    target_critics: int = 2
    target_networks: bool = True

    draws_actions: ClassVar[bool] = True  # whether losses sample the policy, with the noise of the batch
    columns: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def critic_loss(
        self, networks: Networks, batch: Batch, alpha: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critics' loss, 0-dim, and what to log, see `metrics`.

        Args:
            networks: the agent's networks.
            batch: the fields of a batch: obs and next_obs (B, obs_dim), action (B, act_dim), reward and
                discount (B,), those of `draw_noise`, and what else the sampler adds, such as weight (B,).
            alpha: the entropy coefficient, 0-dim, without gradient.
        """

    @abc.abstractmethod
    def actor_loss(self, networks: Networks, batch: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The policy's loss (0-dim), and log pi of its actions or its expectation (B,); see `critic_loss`."""

    def metrics(self, loss: Tensor, q: Tensor, target: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What to log of a critics' loss: LossQ (0-dim), Q1Vals and Q2Vals (B,).

        With the field `weight`, also TDError (B,), from which prioritized replay gets its priorities.

        Args:
            loss: the critics' loss, 0-dim.
            q: the critics' values of the stored actions, (N, B).
            target: their targets, (B,).
            batch: the batch.
        """
        errors = {"TDError": losses.td_error(q.detach(), target)} if "weight" in batch else {}
        return {"LossQ": loss, **{f"Q{i}Vals": values for i, values in enumerate(q[:2], 1)}, **errors}

    def critic_outputs(
        self, networks: Networks, inputs: tuple[Tensor, ...], next_inputs: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor]:
        """Outputs of the critics at `inputs`; those of the targets at `next_inputs`, without gradient.

        Without target networks, and for networks with batch statistics, both form one batch of 2B (Bhatt et
        al. 2024, figure 2), whose statistics are those of both. Further passes of critics in their loss
        belong into `with networks.modes.critic_loss()`, or they use running statistics and no dropout.

        Returns:
            Two tensors (N, B), or (N, B, n) if a critic has n outputs.
        """
        critics, target = networks.critics, networks.target
        with networks.modes.critic_loss():
            if self.target_networks and not networks.modes.batch_statistics:
                with torch.no_grad():
                    next_outputs = self.outputs(target, next_inputs)
                return self.outputs(critics, inputs), next_outputs
            joint = tuple(torch.cat(pair) for pair in zip(inputs, next_inputs, strict=True))
            outputs, next_outputs = self.outputs(critics, joint).chunk(2, 1)
            if self.target_networks:
                with torch.no_grad():
                    next_outputs = self.outputs(target, joint).chunk(2, 1)[1]
            return outputs, next_outputs.detach()

    def outputs(self, critics: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        """The outputs of critics that the loss uses, (N, B) or (N, B, n)."""
        found: Tensor = critics(*inputs)
        return found

    def action_values(self, critics: nn.Module, obs: Tensor, action: Tensor) -> Tensor:
        """The critics' values of given actions, (N, B)."""
        q: Tensor = critics(obs, action)
        return q

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
        """The random inputs of the losses for n batches.

        `noise` is standard normal, (n, 2, B, act_dim) float32, for the actions drawn at next_obs and at obs;
        `critic_subset` are the critics that form a target, (n, M) int64.
        """
        count, batch_size, act_dim = batches["action"].shape
        drawn: dict[str, Any] = {}
        if self.draws_actions:
            drawn["noise"] = rng.standard_normal((count, 2, batch_size, act_dim), dtype=np.float32)
        if self.draws_subset:
            order = rng.permuted(np.tile(np.arange(self.critics), (count, 1)), axis=1)
            drawn["critic_subset"] = order[:, : self.target_critics].copy()
        return drawn
