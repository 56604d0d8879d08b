"""SAC on continuous actions (Haarnoja et al. 2018b): critics, their targets, a reparameterized policy."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from spinup.pytorch import losses
from spinup.pytorch.variants.objective import Batch, Networks, ReparameterizedObjective


@final
class SACObjective(ReparameterizedObjective):
    """Equations 4 and 6."""

    def critic_loss(
        self, networks: Networks, batch: Batch, alpha: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        q, next_q, log_prob = self.next_outputs(networks, batch)
        with torch.no_grad():
            next_value = losses.soft_value(self.target_q(next_q, batch), log_prob, alpha)
        return self.bellman_loss(q, next_value, batch)
