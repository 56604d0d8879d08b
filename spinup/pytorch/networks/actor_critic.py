"""The default actor-critics: continuous actions, discrete actions, and with a value network."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.pytorch.networks.actors import CategoricalActor, SquashedGaussianActor
from spinup.pytorch.networks.distributional import CategoricalQFunction, QuantileQFunction
from spinup.pytorch.networks.layers import initialize
from spinup.pytorch.networks.mlp import MLPDiscreteQFunction, MLPQFunction, MLPValueFunction

Float = NDArray[np.float32]


class _ActorCritic(nn.Module, abc.ABC):
    """A policy `pi` and critics `q1`, `q2`, ..."""

    pi: nn.Module

    def _add_critics(self, count: int, make: Callable[[], nn.Module]) -> None:
        for i in range(1, count + 1):
            self.add_module(f"q{i}", make())

    @torch.no_grad()
    def act(self, obs: Tensor | Float, deterministic: bool = False) -> NDArray[Any]:
        """Actions as numpy.

        Args:
            obs: observations (B, obs_dim), or one of shape (obs_dim,); tensor or array.
            deterministic: the most likely action (the squashed mean, if continuous) instead of a sample
                from torch's generator.

        Returns:
            Continuous: float in the environment's units, (B, act_dim), or (act_dim,) for one observation.
            Discrete: int64 indices, (B,), or 0-dim for one observation.
        """
        like = next(self.pi.parameters())
        action = self._action(torch.as_tensor(obs, dtype=like.dtype, device=like.device), deterministic)
        return action.cpu().numpy()

    @abc.abstractmethod
    def _action(self, obs: Tensor, deterministic: bool) -> Tensor:
        """Actions for observations (..., obs_dim)."""


class _GaussianActorCritic(_ActorCritic):
    """Networks for a bounded Box of actions; arguments as in MLPActorCritic."""

    pi: SquashedGaussianActor

    def __init__(
        self,
        observation_space: Space[Float],
        action_space: Box,
        hidden_sizes: Sequence[int] = (256, 256),
        activation: type[nn.Module] = nn.ReLU,
        state_dependent_std: bool = True,
        critics: int = 2,
        *,
        critic_hidden_sizes: Sequence[int] | None = None,
        actor_norm: str | None = None,
        critic_norm: str | None = None,
        actor_dropout: float = 0.0,
        critic_dropout: float = 0.0,
        residual: bool = False,
        log_std_range: Sequence[float] | None = None,
        init: str | None = None,
        critic: str = "scalar",
        atoms: int = 101,
        value_bound: float = 5.0,
        quantiles: int = 25,
    ) -> None:
        super().__init__()
        obs_dim, act_dim = math.prod(observation_space.shape or (0,)), math.prod(action_space.shape)
        of_actor = {"norm": actor_norm, "dropout": actor_dropout, "residual": residual}
        of_critic = {"norm": critic_norm, "dropout": critic_dropout, "residual": residual}
        sizes = hidden_sizes if critic_hidden_sizes is None else critic_hidden_sizes
        self.pi = SquashedGaussianActor(
            obs_dim, action_space, hidden_sizes, activation, state_dependent_std, log_std_range, **of_actor
        )
        kind: Callable[..., nn.Module] = MLPQFunction
        if critic == "categorical":
            kind = partial(CategoricalQFunction, count=atoms, bound=value_bound)
        elif critic == "quantile":
            kind = partial(QuantileQFunction, count=quantiles)
        self._add_critics(critics, lambda: kind(obs_dim, act_dim, sizes, activation, **of_critic))
        if self._has_value:
            self.v = MLPValueFunction(obs_dim, sizes, activation, **of_critic)
        if init is not None:
            initialize(self, init)

    _has_value: ClassVar[bool] = False

    def _action(self, obs: Tensor, deterministic: bool) -> Tensor:
        return self.pi.mean_action(obs) if deterministic else self.pi(obs)[0]


class MLPActorCritic(_GaussianActorCritic):
    """The documented default actor-critic.

    Args:
        observation_space: flat Box, shape (obs_dim,).
        action_space: bounded Box; its bounds scale the actions.
        hidden_sizes: widths of the hidden layers of the policy and of each critic.
        activation: class of the activation between layers.
        state_dependent_std: whether a linear head computes log stds from the trunk's output, as in the
            documented policy; otherwise they are one learned vector, which Spinning Up reports not to work.
        critics: number of critics, named q1, q2, ...
        critic_hidden_sizes: widths of the hidden layers of each critic; `hidden_sizes` if None.
        actor_norm: normalization of the policy's hidden layers: None, "layer", "batch" or "batch_renorm"; see
            docs/recipes.md.
        critic_norm: the same for each critic.
        actor_dropout: probability with which dropout zeroes a value in the policy during updates.
        critic_dropout: the same for the critics.
        residual: residual blocks in place of hidden layers, one for each entry of the sizes.
        log_std_range: an interval (low, high) into which tanh maps log stds, such as (-10, 2); None clamps
            them to [-20, 2], as documented.
        init: initialization of all linear layers: "xavier_uniform", "lecun_normal", "orthogonal" or "simba",
            see `initialize`; None is torch's default.
        critic: output of a critic: "scalar", a value; "categorical", logits of `atoms` values in equal steps
            on [-value_bound, value_bound]; "quantile", `quantiles` quantiles of the return. For the latter
            two, `q1(obs, a)` returns the mean, and `q1.distribution(obs, a)` all outputs.
    """


class MLPValueActorCritic(_GaussianActorCritic):
    """MLPActorCritic with a value network: the default of `variant="sac_v1"`.

    A custom actor-critic for this variant must have the Module `v` in addition to `pi`, `q1` and `q2`:
    `v(obs)` returns the values (batch,) of observations (batch, obs_dim). Arguments are those of
    MLPActorCritic.
    """

    _has_value: ClassVar[bool] = True


class DiscreteMLPActorCritic(_ActorCritic):
    """The default actor-critic for Discrete action spaces.

    A custom actor-critic for discrete actions must follow the same protocol; n is the number of actions,
    which are counted from 0 whatever the space's `start`:

    | call                            | returns                | what                               |
    |---------------------------------|------------------------|------------------------------------|
    | `act(obs, deterministic=False)` | array (batch,)         | integers in 0..n-1; () for one obs |
    | `pi(obs)`                       | (batch, n), (batch, n) | probabilities and their logarithms |
    | `q1(obs)`, `q2(obs)`            | (batch, n)             | the values of all actions          |

    Gradients flow through both results of pi.

    Args:
        observation_space: flat Box, shape (obs_dim,).
        action_space: Discrete.
        hidden_sizes: widths of the hidden layers of the policy and of each critic.
        activation: class of the activation between layers.
        critics: number of critics, named q1, q2, ...
        critic_hidden_sizes, actor_norm, critic_norm, actor_dropout, critic_dropout, residual, init: as in
            MLPActorCritic.
    """

    def __init__(
        self,
        observation_space: Space[Float],
        action_space: Discrete,
        hidden_sizes: Sequence[int] = (256, 256),
        activation: type[nn.Module] = nn.ReLU,
        critics: int = 2,
        *,
        critic_hidden_sizes: Sequence[int] | None = None,
        actor_norm: str | None = None,
        critic_norm: str | None = None,
        actor_dropout: float = 0.0,
        critic_dropout: float = 0.0,
        residual: bool = False,
        init: str | None = None,
    ) -> None:
        super().__init__()
        obs_dim, n = math.prod(observation_space.shape or (0,)), int(action_space.n)
        of_actor = {"norm": actor_norm, "dropout": actor_dropout, "residual": residual}
        of_critic = {"norm": critic_norm, "dropout": critic_dropout, "residual": residual}
        sizes = hidden_sizes if critic_hidden_sizes is None else critic_hidden_sizes
        self.pi = CategoricalActor(obs_dim, n, hidden_sizes, activation, **of_actor)
        self._add_critics(critics, lambda: MLPDiscreteQFunction(obs_dim, n, sizes, activation, **of_critic))
        if init is not None:
            initialize(self, init)

    def _action(self, obs: Tensor, deterministic: bool) -> Tensor:
        probs = self.pi(obs)[0]
        if deterministic:
            return probs.argmax(-1)  # type: ignore[no-any-return]
        rows = probs.reshape(-1, probs.shape[-1])
        return torch.multinomial(rows, 1).reshape(probs.shape[:-1])
