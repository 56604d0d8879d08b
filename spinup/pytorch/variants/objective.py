"""Objectives: the losses of a variant of SAC, as pure functions of networks and a batch."""

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

Batch = dict[str, Tensor]  # by field, (B, *shape); the field noise is (2, B, act_dim), see `draw_noise`


class Networks(NamedTuple):
    """The networks from which losses are computed."""

    actor: Callable[..., tuple[Tensor, Tensor]]  # (obs, noise) to action and log pi; discrete: (obs)
    critics: nn.Module  # (obs, action) to (N, B); discrete: (obs) to (N, B, n)
    target: nn.Module  # average of `value` if that is given, else of `critics`; or `critics` itself
    value: nn.Module | None  # obs to (B,), only in sac_v1
    modes: Modes


@dataclass(frozen=True)
class Objective(abc.ABC):
    """The losses of one variant of SAC. Each field is an option that an engine must declare.

    If `target_critics` equals `critics`, the target takes the minimum of all critics, as in SAC (Haarnoja et
    al. 2018b). If it is less, the target takes the minimum of that many critics, drawn at random for each
    batch, as in REDQ (Chen et al. 2021, algorithm 1).

    Subclasses must be dataclasses too; otherwise, their fields are not options.

    Args:
        critics: number N of critics.
        target_critics: number of critics that form a target.
        target_networks: whether polyak averages of the critics compute the targets; otherwise, the critics
            do.
        policy_q: whether the policy maximizes the "min" or the "mean" of the critics. "auto" is "min" if all
            critics form the target, as in SAC, else "mean", as in REDQ.

    Attributes:
        columns: names of additional metrics to log; their means are logged.
    """

    critics: int = 2
    target_critics: int = 2
    target_networks: bool = True
    policy_q: str = "auto"

    draws_actions: ClassVar[bool] = True  # whether losses sample the policy, with the noise of the batch
    columns: ClassVar[tuple[str, ...]] = ()

    @abc.abstractmethod
    def critic_loss(
        self, networks: Networks, batch: Batch, alpha: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critics' loss, 0-dim, and the metrics to log, see `metrics`.

        Args:
            networks: the agent's networks.
            batch: obs and next_obs (B, obs_dim), action (B, act_dim), reward and discount (B,), the fields
                of `draw_noise`, and further fields of the sampler, such as weight (B,).
            alpha: the entropy coefficient, 0-dim, without gradient.
        """

    @abc.abstractmethod
    def actor_loss(self, networks: Networks, batch: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The policy's loss (0-dim), and log pi of its actions or the expected log pi (B,)."""

    def metrics(self, loss: Tensor, q: Tensor, target: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Metrics of the critics' loss: LossQ (0-dim), Q1Vals and, with two or more critics, Q2Vals (B,).

        If the batch has the field `weight`, also TDError (B,), from which priorities are computed.

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
        """Outputs of the critics at `inputs`, and of the targets at `next_inputs` (without gradient).

        Without target networks, or with batch statistics, both inputs form one batch of 2B rows, which is
        normalized as a whole (Bhatt et al. 2024, figure 2). Wrap other passes of critics in their loss in
        `with networks.modes.critic_loss()`; outside of it, they use running statistics and no dropout.

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
        """The critics' outputs that the loss uses, (N, B) or (N, B, n)."""
        found: Tensor = critics(*inputs)
        return found

    def action_values(self, critics: nn.Module, obs: Tensor, action: Tensor) -> Tensor:
        """The critics' values of the given actions (B, act_dim), (N, B)."""
        q: Tensor = critics(obs, action)
        return q

    @property
    def draws_subset(self) -> bool:
        """Whether the target takes a random subset of the critics."""
        return self.target_critics < self.critics

    def target_q(self, q: Tensor, batch: Batch) -> Tensor:
        """The value from which a target is formed, (B,) or (B, n), given all critics' values (N, B, ...)."""
        return losses.min_q(q, batch.get("critic_subset"))

    @property
    def policy_takes_mean(self) -> bool:
        """Whether the policy maximizes the mean of the critics instead of their minimum."""
        return self.policy_q == "mean" or (self.policy_q == "auto" and self.draws_subset)

    def actor_q(self, q: Tensor) -> Tensor:
        """The value that the policy maximizes, (B, ...), given all critics' values (N, B, ...)."""
        return q.mean(0) if self.policy_takes_mean else losses.min_q(q)

    def noise_fields(self) -> tuple[str, ...]:
        """The fields that `draw_noise` adds."""
        return ("noise",) * self.draws_actions + ("critic_subset",) * self.draws_subset

    def draw_noise(self, batches: Batches, rng: Generator) -> Batches:
        """The random inputs of the losses for n batches.

        `noise` is standard normal, (n, 2, B, act_dim) float32: index 0 of axis 1 is for the action drawn at
        next_obs, index 1 for that at obs. `critic_subset` holds the indices of the critics that form a
        target, (n, M) int64.
        """
        count, batch_size, act_dim = batches["action"].shape
        drawn: dict[str, Any] = {}
        if self.draws_actions:
            drawn["noise"] = rng.standard_normal((count, 2, batch_size, act_dim), dtype=np.float32)
        if self.draws_subset:
            order = rng.permuted(np.tile(np.arange(self.critics), (count, 1)), axis=1)
            drawn["critic_subset"] = order[:, : self.target_critics].copy()
        return drawn
