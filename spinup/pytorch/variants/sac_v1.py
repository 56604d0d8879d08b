"""The older SAC (Haarnoja et al. 2018a), with a value network V in addition to the critics.

Difference from `sac`: the critics' target is r + discount V_targ(s'); V is regressed to the soft value of
an action drawn at s; only V has a target network (equation 10).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from spinup.pytorch import losses
from spinup.pytorch.variants.objective import Batch, Networks
from spinup.pytorch.variants.sac import GaussianObjective


@final
@dataclass(frozen=True)
class SACv1Objective(GaussianObjective):
    """Equation 10, and equation 6 for the policy.

    The regression of V and the policy's loss use the same noise for the action drawn at s, as in Algorithm 1
    of the paper. LossQ does not include the loss of V.
    """

    def critic_loss(
        self, networks: Networks, batch: Batch, alpha: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert networks.value is not None
        with torch.no_grad():
            action, log_prob = networks.actor(batch["obs"], batch["noise"][1])
        with networks.modes.critic_loss():
            q = networks.critics(batch["obs"], batch["action"])
            value = networks.value(batch["obs"])
            with torch.no_grad():
                next_value = networks.target(batch["next_obs"])
                chosen = self.target_q(networks.critics(batch["obs"], action), batch)
                value_target = losses.soft_value(chosen, log_prob, alpha)
                target = losses.q_target(batch["reward"], batch["discount"], next_value)
        weight = batch.get("weight")
        loss_q = losses.q_loss(q, target, weight)
        loss = loss_q + losses.value_loss(value, value_target, weight)
        return loss, self.metrics(loss_q, q, target, batch)
