"""SAC on discrete actions (Christodoulou 2019): expectations over actions are exact sums.

What differs from the modern SAC, and nothing else: the policy gives a probability per action, each critic
a value per action, and no action is drawn to form a target or a policy loss (equation 9).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Discrete, Space
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.pytorch import losses
from spinup.pytorch.agent import Batch, Objective
from spinup.pytorch.networks.actor_critic import mlp
from spinup.pytorch.policy import Policy
from spinup.pytorch.validation import unique_parameters

Float = NDArray[np.float32]
TARGET_FRACTION = 0.3


def default_target_entropy(n: int) -> float:
    """The entropy that a learned alpha aims at with n actions: TARGET_FRACTION * log n nats.

    The fraction is small because a greater one can be out of reach, and then alpha grows without bound: on
    tasks where some actions keep an episode going, the entropy bonus itself favours these, whatever alpha.
    Measured on CartPole-v1 (`python benchmarks/target_entropy.py`, 20,000 steps, seed 0), alpha half-way
    and at the end: fraction 0.3: 0.091, 0.082; 0.5: 0.24, 0.19; 0.7: 1.6, 0.71; 0.9: 63, 2,800; 0.98:
    3,100, 150,000. No fraction is safe on every task: watch the column Alpha, and give `target_entropy`
    a smaller number if it climbs.
    """
    return TARGET_FRACTION * math.log(n)


class CategoricalActor(nn.Module):
    """pi(.|o): a perceptron that ends in one logit per action."""

    def __init__(
        self, obs_dim: int, n: int, hidden_sizes: Sequence[int], activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.logits = mlp([obs_dim, *hidden_sizes, n], activation)

    def forward(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities and their logarithms, each (..., n), of observations (..., obs_dim)."""
        logp = torch.log_softmax(self.logits(obs), -1)
        return logp.exp(), logp


class MLPDiscreteQFunction(nn.Module):
    """Q(o, .): a perceptron with one output per action."""

    def __init__(
        self, obs_dim: int, n: int, hidden_sizes: Sequence[int], activation: type[nn.Module]
    ) -> None:
        super().__init__()
        self.q = mlp([obs_dim, *hidden_sizes, n], activation)

    def forward(self, obs: Tensor) -> Tensor:
        """Values (B, n) of all actions at observations (B, obs_dim)."""
        return self.q(obs)  # type: ignore[no-any-return]


class DiscreteMLPActorCritic(nn.Module):
    """The default actor-critic where the action space is Discrete.

    The protocol, which a module of your own for discrete actions must offer too; n is the number of
    actions, counted from 0 whatever the space's `start`:

    =============================  =====================  =============================================
    call                           returns                what
    =============================  =====================  =============================================
    act(obs, deterministic=False)  numpy (batch,)         integers in 0..n-1; () for one observation
    pi(obs)                        (batch, n), (batch, n) probabilities and their logarithms, through
                                                          both of which gradients flow
    q1(obs), q2(obs)               (batch, n)             the values of all actions
    =============================  =====================  =============================================

    Args:
        observation_space: flat Box, shape (obs_dim,).
        action_space: Discrete.
        hidden_sizes: widths of the hidden layers of the policy and of each critic.
        activation: class of the activation between layers.
    """

    def __init__(
        self,
        observation_space: Space[Float],
        action_space: Discrete,
        hidden_sizes: Sequence[int] = (256, 256),
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        obs_dim, n = math.prod(observation_space.shape or (0,)), int(action_space.n)
        self.pi = CategoricalActor(obs_dim, n, hidden_sizes, activation)
        self.q1 = MLPDiscreteQFunction(obs_dim, n, hidden_sizes, activation)
        self.q2 = MLPDiscreteQFunction(obs_dim, n, hidden_sizes, activation)

    @torch.no_grad()
    def act(self, obs: Tensor | Float, deterministic: bool = False) -> NDArray[np.int64]:
        """Action indices, as numpy.

        Args:
            obs: observations (B, obs_dim), or one of shape (obs_dim,); tensor or array.
            deterministic: the likeliest action instead of a sample from torch's generator.

        Returns:
            (B,) int64, or 0-dim for a single observation.
        """
        like = next(self.pi.parameters())
        probs = self.pi(torch.as_tensor(obs, dtype=like.dtype, device=like.device))[0]
        if deterministic:
            return probs.argmax(-1).cpu().numpy()  # type: ignore[no-any-return]
        rows = probs.reshape(-1, probs.shape[-1])
        return torch.multinomial(rows, 1).reshape(probs.shape[:-1]).cpu().numpy()


class DiscreteSoftQ(Objective):
    """Discrete SAC: two critics, their targets, a categorical policy (equation 9)."""

    def __init__(self, ac: Any, gamma: float) -> None:
        self.ac, self.gamma = ac, gamma
        critics = nn.ModuleList([ac.q1, ac.q2])
        self.targets = copy.deepcopy(critics).requires_grad_(False)
        self.followed = list(critics.parameters())
        self.critic_params = unique_parameters(ac.q1, ac.q2)
        self.pi_params = unique_parameters(ac.pi, but_not=self.critic_params)

    def critic_loss(self, b: Batch, alpha: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            probs2, logp2 = self.ac.pi(b.o2)
            q_targ = torch.minimum(self.targets[0](b.o2), self.targets[1](b.o2))
            v2 = losses.expected_soft_value(q_targ, probs2, logp2, alpha)
            backup = losses.q_backup(b.r, b.d, v2, self.gamma)
        taken = b.a.long()
        q1, q2 = (q(b.o).gather(-1, taken).squeeze(-1) for q in (self.ac.q1, self.ac.q2))
        loss = losses.q_loss(q1, q2, backup)
        return loss, {"LossQ": loss, "Q1Vals": q1, "Q2Vals": q2}

    def policy_loss(self, b: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
        probs, logp = self.ac.pi(b.o)
        with torch.no_grad():
            q1, q2 = self.ac.q1(b.o), self.ac.q2(b.o)
        loss = losses.discrete_pi_loss(q1, q2, probs, logp, alpha)
        return loss, losses.expected_log_prob(probs, logp)

    def policy(self, rng: np.random.Generator) -> Policy:
        if type(self.ac) is DiscreteMLPActorCritic:
            return CategoricalPolicy(self.ac.pi, rng)
        return DiscreteModulePolicy(self.ac)


class CategoricalPolicy:
    """The default actor on any device, with uniform numbers from the learner's own generator."""

    def __init__(self, pi: CategoricalActor, rng: np.random.Generator) -> None:
        self.pi, self.rng = pi, rng
        self._like = next(pi.parameters())

    @torch.no_grad()
    def act(self, obs: Float, deterministic: bool) -> Float:
        """Action indices (N, 1) float32 for observations (N, obs_dim)."""
        x = torch.as_tensor(obs, dtype=self._like.dtype, device=self._like.device)
        probs = self.pi(x)[0].double().cpu().numpy()
        if deterministic:
            return as_rows(probs.argmax(-1))
        return as_rows(inverse_cdf(probs, self.rng.random(len(probs))))


class DiscreteModulePolicy:
    """Calls the user's `act`, and gives its integers the shape of a row's action."""

    def __init__(self, ac: Any) -> None:
        self.ac = ac
        self._like = next(ac.parameters())

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Action indices (N, 1) float32 for observations (N, obs_dim)."""
        x = torch.as_tensor(obs, dtype=self._like.dtype, device=self._like.device)
        return as_rows(self.ac.act(x, deterministic=deterministic))


def as_rows(indices: NDArray[Any]) -> Float:
    """Action indices (N,) as the replay buffer holds them, (N, 1) float32."""
    return indices.astype(np.float32)[:, None]


def inverse_cdf(probs: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices (N,) with the probabilities (N, n), from numbers (N,) uniform in [0, 1).

    Scaled by each row's own sum, so that rounding never yields an index past the end or one whose
    probability is zero.
    """
    cumulative = probs.cumsum(-1)
    passed = cumulative <= uniform[:, None] * cumulative[:, -1:]
    indices: NDArray[np.int64] = passed.sum(-1)
    return indices
