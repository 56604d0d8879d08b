"""SAC with distributional critics: C51's atoms, or TQC's truncated quantiles.

Difference from `sac`: the critics' loss and target. The policy maximizes the means of the distributions.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from spinup.pytorch import losses
from spinup.pytorch.distribution_losses import (
    atom_values,
    categorical_loss,
    categorical_target,
    lowest_mean,
    quantile_loss,
    truncated_quantiles,
)
from spinup.pytorch.variants.objective import Batch, Networks
from spinup.pytorch.variants.sac import GaussianObjective


class DistributionalObjective(GaussianObjective):
    """Base class for critics with the method `distribution`."""

    def outputs(self, critics: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
        """The n outputs of each critic, (N, B, n)."""
        ensemble: Any = critics
        found: Tensor = ensemble.distributions(*inputs)
        return found

    def critic_loss(
        self, networks: Networks, batch: Batch, alpha: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            next_action, log_prob = networks.actor(batch["next_obs"], batch["noise"][0])
        outputs, next_outputs = self.critic_outputs(
            networks, (batch["obs"], batch["action"]), (batch["next_obs"], next_action)
        )
        return self.distribution_loss(networks, outputs, next_outputs, -alpha * log_prob, batch)

    @abc.abstractmethod
    def distribution_loss(
        self, networks: Networks, outputs: Tensor, next_outputs: Tensor, bonus: Tensor, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The critics' loss and what to log, as `critic_loss` returns them.

        Args:
            networks: the agent's networks.
            outputs: outputs of the critics at the stored actions, (N, B, n).
            next_outputs: outputs of the targets at the next action, without gradient, (N, B, n).
            bonus: -alpha log pi of the next action, (B,).
            batch: the batch.
        """


@final
@dataclass(frozen=True)
class CategoricalSACObjective(DistributionalObjective):
    """Equation 12: cross-entropy to the projected distribution of the target with the smallest mean.

    Args:
        atoms: number of atoms.
        value_bound: the atoms are equally spaced on [-value_bound, value_bound].
    """

    atoms: int = 101
    value_bound: float = 5.0

    def distribution_loss(
        self, networks: Networks, outputs: Tensor, next_outputs: Tensor, bonus: Tensor, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        bound = self.value_bound
        atoms = torch.linspace(-bound, bound, self.atoms, dtype=outputs.dtype, device=outputs.device)
        with torch.no_grad():
            probs = lowest_mean(next_outputs, atoms, batch.get("critic_subset"))
            target = categorical_target(probs, batch["reward"], batch["discount"], bonus, atoms)
            values = atom_values(outputs, atoms)
        loss = categorical_loss(outputs, target, batch.get("weight"))
        return loss, self.metrics(loss, values, (target * atoms).sum(-1), batch)


@final
@dataclass(frozen=True)
class QuantileSACObjective(DistributionalObjective):
    """Equation 13: quantile regression to the pooled quantiles of all targets, without the largest.

    The policy maximizes the mean of all quantiles of all critics.

    Args:
        drop_quantiles: number of quantiles to drop for each critic.
    """

    drop_quantiles: int = 2

    def distribution_loss(
        self, networks: Networks, outputs: Tensor, next_outputs: Tensor, bonus: Tensor, batch: Batch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            kept = truncated_quantiles(next_outputs, self.drop_quantiles, batch.get("critic_subset"))
            reward, discount = batch["reward"].unsqueeze(-1), batch["discount"].unsqueeze(-1)
            target = losses.q_target(reward, discount, kept + bonus.unsqueeze(-1))
        loss = quantile_loss(outputs, target, batch.get("weight"))
        return loss, self.metrics(loss, outputs.mean(-1), target.mean(-1), batch)

    @property
    def policy_takes_mean(self) -> bool:
        """True: the mean of the critics' means is that of all quantiles."""
        return True
