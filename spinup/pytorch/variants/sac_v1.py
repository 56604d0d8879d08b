"""The older SAC (Haarnoja et al. 2018a): a value network V and its target beside two critics.

What differs from the modern SAC, and nothing else: the critics' backup is V_targ(o2) instead of the soft
value of an action drawn at o2; V is regressed to the soft value of an action drawn at o; and V, not Q, has
a target network (equation 10). The policy is trained as in the modern one: reparameterised, on the smaller
of the two critics.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.pytorch import losses
from spinup.pytorch.agent import Batch, Reparameterised
from spinup.pytorch.networks.actor_critic import MLPQFunction, SquashedGaussianActor, mlp
from spinup.pytorch.policy import ModulePolicy, Policy, actor_policy
from spinup.pytorch.validation import policy_call, unique_parameters

Float = NDArray[np.float32]


class MLPValueFunction(nn.Module):
    """V(o): a perceptron on the observation."""

    def __init__(self, obs_dim: int, hidden_sizes: Sequence[int], activation: type[nn.Module]) -> None:
        super().__init__()
        self.v = mlp([obs_dim, *hidden_sizes, 1], activation)

    def forward(self, obs: Tensor) -> Tensor:
        """Values (B,) of observations (B, obs_dim)."""
        return self.v(obs).squeeze(-1)  # type: ignore[no-any-return]


class MLPValueActorCritic(nn.Module):
    """MLPActorCritic with a value network: the default of `variant="sac_v1"`.

    A module of your own for this variant offers what any other does, and the Module `v` besides:
    `v(obs)` returns the values (batch,) of observations (batch, obs_dim).

    Args:
        observation_space: flat Box, shape (obs_dim,).
        action_space: bounded Box; its bounds scale the actions.
        hidden_sizes: widths of the hidden layers of each network.
        activation: class of the activation between layers.
        state_dependent_std: whether log stds come from a head of the trunk or are one free vector.
    """

    def __init__(
        self,
        observation_space: Space[Float],
        action_space: Box,
        hidden_sizes: Sequence[int] = (256, 256),
        activation: type[nn.Module] = nn.ReLU,
        state_dependent_std: bool = True,
    ) -> None:
        super().__init__()
        obs_dim, act_dim = math.prod(observation_space.shape or (0,)), math.prod(action_space.shape)
        self.pi = SquashedGaussianActor(obs_dim, action_space, hidden_sizes, activation, state_dependent_std)
        self.q1 = MLPQFunction(obs_dim, act_dim, hidden_sizes, activation)
        self.q2 = MLPQFunction(obs_dim, act_dim, hidden_sizes, activation)
        self.v = MLPValueFunction(obs_dim, hidden_sizes, activation)

    @torch.no_grad()
    def act(self, obs: Tensor | Float, deterministic: bool = False) -> Float:
        """Actions in the environment's units, as numpy: (B, act_dim), or (act_dim,) for one observation.

        Args:
            obs: observations (B, obs_dim), or one of shape (obs_dim,); tensor or array.
            deterministic: the squashed mean instead of a sample.
        """
        x = torch.as_tensor(obs, dtype=self.pi.center.dtype, device=self.pi.center.device)
        action = self.pi.mean_action(x) if deterministic else self.pi(x)[0]
        return action.cpu().numpy()


class SoftV(Reparameterised):
    """The older SAC: V and its target, two critics without targets (equation 10).

    One draw a~ at o, with the batch's noise xi, serves the regression of V and the policy's loss, as in
    Algorithm 1 of the paper; the critics move between the two. LossQ is the critics' loss alone.
    """

    def __init__(self, ac: Any, gamma: float) -> None:
        self.ac, self.gamma = ac, gamma
        self.pi = policy_call(ac.pi)
        self.targets = nn.ModuleList([copy.deepcopy(ac.v)]).requires_grad_(False)
        self.followed = list(ac.v.parameters())
        self.critic_params = unique_parameters(ac.q1, ac.q2, ac.v)
        self.pi_params = unique_parameters(ac.pi, but_not=self.critic_params)

    def critic_loss(self, b: Batch, alpha: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            backup = losses.q_backup(b.r, b.d, self.targets[0](b.o2), self.gamma)
            a, logp_a = self.pi(b.o, b.xi)
            q_min = torch.minimum(self.ac.q1(b.o, a), self.ac.q2(b.o, a))
            v_target = losses.soft_value(q_min, logp_a, alpha)
        q1, q2 = self.ac.q1(b.o, b.a), self.ac.q2(b.o, b.a)
        loss_q = losses.q_loss(q1, q2, backup)
        loss_v = losses.value_loss(self.ac.v(b.o), v_target)
        return loss_q + loss_v, {"LossQ": loss_q, "Q1Vals": q1, "Q2Vals": q2}

    def policy(self, rng: np.random.Generator) -> Policy:
        if type(self.ac) is MLPValueActorCritic:
            return actor_policy(self.ac.pi, rng)
        return ModulePolicy(self.ac)
