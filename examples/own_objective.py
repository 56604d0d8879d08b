"""Train with a loss of your own: python own_objective.py [EPOCHS]

The loss of SAC's critics with the conservative term of CQL (Kumar et al. 2020, equation 2), which lowers
their values of the policy's actions and raises those of the data's. It is meant for offline data.
"""

import sys
from dataclasses import dataclass

import torch

import spinup
from spinup.pytorch.variants.sac import GaussianObjective, SACObjective

EPOCHS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


@dataclass(frozen=True)
class ConservativeObjective(GaussianObjective):  # the loss of the policy is that of SAC
    conservative_weight: float = 1.0

    columns = ("LossConservative",)  # further columns of the log

    def critic_loss(self, networks, batch, alpha):
        sac = SACObjective(self.critics, self.target_critics, self.target_networks)
        loss, metrics = sac.critic_loss(networks, batch, alpha)
        with torch.no_grad():
            action, _ = networks.actor(batch["obs"], batch["noise"][1])
        with networks.modes.critic_loss():  # dropout and batch statistics, if any, are active
            q_policy = networks.critics(batch["obs"], action)
            q_data = networks.critics(batch["obs"], batch["action"])
        conservative = (q_policy - q_data).mean(-1).sum()  # the mean over the batch, the sum over critics
        return loss + self.conservative_weight * conservative, metrics | {"LossConservative": conservative}


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
