"""SAC on continuous actions (Haarnoja et al. 2018b): critics, their targets, a reparameterized policy."""

from __future__ import annotations

from typing import final

from torch import Tensor

from spinup.pytorch import losses
from spinup.pytorch.variants.objective import Batch, Networks, ReparameterizedObjective


@final
class SACObjective(ReparameterizedObjective):
    """Equations 4 and 6."""

    def next_value(self, networks: Networks, batch: Batch, alpha: Tensor) -> Tensor:
        next_action, log_prob = networks.actor(batch["next_obs"], batch["noise"][0])
        q = self.target_q(networks.target(batch["next_obs"], next_action), batch)
        return losses.soft_value(q, log_prob, alpha)
