"""SAC on discrete actions (Christodoulou 2019): expectations over actions are exact sums.

Difference from `sac`: the policy gives a probability per action, each critic a value per action, and no
action is drawn to form a target or a policy loss (equation 9).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from spinup.pytorch import losses
from spinup.pytorch.variants.objective import Batch, Networks, Objective

TARGET_FRACTION = 0.3


def default_target_entropy(n: int) -> float:
    """The default target entropy for n actions, in nats: TARGET_FRACTION * log n.

    The fraction is small because a larger target can be unreachable, and alpha then grows without bound: if
    some actions prolong an episode, the entropy bonus favors these actions for every alpha. Values of alpha
    on CartPole-v1 (`python benchmarks/target_entropy.py`, 20,000 steps, seed 0) half-way and at the end:
    fraction 0.3: 0.091, 0.082; 0.5: 0.24, 0.19; 0.7: 1.6, 0.71; 0.9: 63, 2,800; 0.98: 3,100, 150,000.
    No fraction is safe on every task: if the column Alpha keeps growing, set a smaller `target_entropy`.
    """
    return TARGET_FRACTION * math.log(n)


class DiscreteObjective(Objective):
    """Base class for critics with one output per action. The field `action` holds indices, (B, 1)."""

    draws_actions: ClassVar[bool] = False

    def actor_loss(self, networks: Networks, batch: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
        with networks.modes.actor_loss():
            probs, logp = networks.actor(batch["obs"])
            with torch.no_grad():
                q = self.actor_q(networks.critics(batch["obs"]))
        loss = losses.discrete_actor_loss(q, probs, logp, alpha)
        return loss, losses.expected_log_prob(probs, logp)

    def action_values(self, critics: nn.Module, obs: Tensor, action: Tensor) -> Tensor:
        return values_at(critics(obs), action)


@final
@dataclass(frozen=True)
class DiscreteSACObjective(DiscreteObjective):
    """Equations 4 and 6 with the soft value of equation 9."""

    def critic_loss(
        self, networks: Networks, batch: Batch, alpha: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        q, next_q = self.critic_outputs(networks, (batch["obs"],), (batch["next_obs"],))
        with torch.no_grad():
            next_policy = networks.actor(batch["next_obs"])
            next_value = losses.expected_soft_value(self.target_q(next_q, batch), *next_policy, alpha)
            target = losses.q_target(batch["reward"], batch["discount"], next_value)
        q = values_at(q, batch["action"])
        loss = losses.q_loss(q, target, batch.get("weight"))
        return loss, self.metrics(loss, q, target, batch)


def values_at(q: Tensor, action: Tensor) -> Tensor:
    """The values (N, B) of the actions with indices `action` (B, 1), selected from q (N, B, n)."""
    return q.gather(-1, action.long().expand(len(q), -1, -1)).squeeze(-1)
