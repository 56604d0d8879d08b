"""SAC on continuous actions (Haarnoja et al. 2018b): critics, their targets, a reparameterized policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from spinup.pytorch import losses
from spinup.pytorch.variants.objective import Batch, Networks, Objective


class GaussianObjective(Objective):
    """Base class for policies whose action is a function of Gaussian noise (equation 5)."""

    def actor_loss(self, networks: Networks, batch: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
        with networks.modes.actor_loss():
            action, log_prob = networks.actor(batch["obs"], batch["noise"][1])
            q = self.actor_q(networks.critics(batch["obs"], action))
        return losses.actor_loss(q, log_prob, alpha), log_prob


@final
@dataclass(frozen=True)
class SACObjective(GaussianObjective):
    """Equations 4 and 6."""

    def critic_loss(
        self, networks: Networks, batch: Batch, alpha: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            next_action, log_prob = networks.actor(batch["next_obs"], batch["noise"][0])
        q, next_q = self.critic_outputs(
            networks, (batch["obs"], batch["action"]), (batch["next_obs"], next_action)
        )
        with torch.no_grad():
            next_value = losses.soft_value(self.target_q(next_q, batch), log_prob, alpha)
            target = losses.q_target(batch["reward"], batch["discount"], next_value)
        loss = losses.q_loss(q, target, batch.get("weight"))
        return loss, self.metrics(loss, q, target, batch)
