"""Train with a loss of your own: python own_objective.py [EPOCHS]

The loss of SAC's critics with the conservative term of CQL (Kumar et al. 2020, equation 2), which lowers
their values of the policy's actions and raises those of the data's. It is meant for offline data.
"""

import sys
from dataclasses import dataclass

import torch

import spinup
from spinup.pytorch import losses
from spinup.pytorch.variants.sac import GaussianObjective

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


@dataclass(frozen=True)
class ConservativeObjective(GaussianObjective):  # the loss of the policy is that of SAC
    conservative_weight: float = 1.0

    columns = ("LossConservative",)  # further columns of the log

    def critic_loss(self, networks, batch, alpha):
        with torch.no_grad():
            next_action, next_log_prob = networks.actor(batch["next_obs"], batch["noise"][0])
            action, _ = networks.actor(batch["obs"], batch["noise"][1])
        q, next_q = self.critic_outputs(
            networks, (batch["obs"], batch["action"]), (batch["next_obs"], next_action)
        )
        with torch.no_grad():
            next_value = losses.soft_value(self.target_q(next_q, batch), next_log_prob, alpha)
            target = losses.q_target(batch["reward"], batch["discount"], next_value)
        loss_q = losses.q_loss(q, target, batch.get("weight"))
        with networks.modes.critic_loss():  # as in critic_outputs: dropout, if any, is active
            q_policy = networks.critics(batch["obs"], action)
        conservative = (q_policy - q).mean(-1).sum()  # the mean over the batch, the sum over critics
        metrics = self.metrics(loss_q, q, target, batch) | {"LossConservative": conservative}
        return loss_q + self.conservative_weight * conservative, metrics


spinup.register_variant("conservative", ConservativeObjective, conservative_weight=0.1)
settings = dict(steps_per_epoch=1000, start_steps=500, update_after=500, num_test_episodes=2)
logger_kwargs = dict(output_dir="data/own_objective")


def print_term(row, ac):
    print(f"epoch {row['Epoch']}: LossConservative {row['LossConservative']:.2f}")


spinup.sac_pytorch(
    "Pendulum-v1",
    variant="conservative",
    epochs=EPOCHS,
    callback=print_term,
    logger_kwargs=logger_kwargs,
    **settings,
)
