"""An actor-critic that takes raw observations and normalizes them by statistics in its buffers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Self

import torch
from gymnasium.spaces import Space
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.pytorch.networks.asymmetric import critic_names
from spinup.pytorch.networks.transformed_input import TransformedInput, attach
from spinup.replay.normalizer import EPSILON, RunningMoments


class Normalization(nn.Module):
    """(obs - mean) / sqrt(var + 1e-8), computed in float64.

    Args:
        moments: running mean and variance; the buffers `mean` and `var` share their memory.
        columns: indices of the columns of an observation that a policy with `critic_keys` uses; observations
            that consist of these columns only are then accepted too.
    """

    mean: Tensor
    var: Tensor
    columns: Tensor | None

    def __init__(self, moments: RunningMoments, columns: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("columns", columns, persistent=False)
        self.register_buffer("mean", torch.from_numpy(moments.mean))
        self.register_buffer("var", torch.from_numpy(moments.var))

    def forward(self, obs: Tensor) -> Tensor:
        """Normalized observations (..., obs_dim), in the dtype of `obs`."""
        mean, var = self.mean.to(obs.device), self.var.to(obs.device)
        if self.columns is not None and obs.shape[-1] != len(mean):
            mean, var = mean[self.columns], var[self.columns]
        return ((obs.double() - mean) / (var + EPSILON).sqrt()).to(obs.dtype)


class NormalizedPart(TransformedInput):
    """A policy, critic or value network of normalized observations."""

    def __init__(self, normalize: Normalization, module: nn.Module) -> None:
        super().__init__(module)
        self.normalize = normalize

    def transform(self, obs: Tensor) -> Tensor:
        """Normalized observations (..., obs_dim)."""
        return self.normalize(obs)  # type: ignore[no-any-return]


class NormalizedActorCritic(nn.Module):
    """An actor-critic for raw observations: what a run with `normalize_observations` returns and saves.

    `act`, `pi`, the critics and `v` take the environment's observations. `ac` is the actor-critic that was
    trained on normalized observations.

    Args:
        observation_space: flat Box, shape (obs_dim,).
        action_space: action space of the actor-critic.
        actor_critic: constructor of the actor-critic.
        ac_kwargs: keyword arguments for `actor_critic`.
    """

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        actor_critic: Callable[..., nn.Module],
        ac_kwargs: dict[str, Any],
    ) -> None:
        super().__init__()
        obs_dim = math.prod(observation_space.shape or (0,))
        self._wrap(actor_critic(observation_space, action_space, **ac_kwargs), RunningMoments((obs_dim,)))

    @classmethod
    def around(cls, ac: nn.Module, moments: RunningMoments) -> Self:
        """Wrap an existing actor-critic; later updates of `moments` change the normalization."""
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._wrap(ac, moments)
        return made

    def _wrap(self, ac: nn.Module, moments: RunningMoments) -> None:
        columns = getattr(getattr(ac, "pi", None), "columns", None)
        self.ac, self.normalize = ac, Normalization(moments, columns)
        for name in (*critic_names(ac), "pi"):
            attach(self, name, NormalizedPart(self.normalize, getattr(ac, name)))

    def act(self, obs: Any, deterministic: bool = False) -> NDArray[Any]:
        """Actions for raw observations, as the `act` of the actor-critic returns them."""
        like, ac = next(self.ac.parameters()), self.ac
        raw = torch.as_tensor(obs, dtype=like.dtype, device=like.device)
        actions: NDArray[Any] = ac.act(self.normalize(raw), deterministic=deterministic)  # type: ignore[operator]
        return actions
