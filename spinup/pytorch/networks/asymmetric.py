"""An actor-critic whose policy receives only part of the observation that its critics receive."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.pytorch.networks.transformed_input import TransformedInput, attach


class ActorInput(TransformedInput):
    """A policy that takes whole observations and uses only some of their columns.

    Observations that consist of these columns only are passed on unchanged.
    """

    columns: Tensor

    def __init__(self, module: nn.Module, columns: Sequence[int], size: int) -> None:
        super().__init__(module)
        self.size = size
        self.register_buffer("columns", torch.tensor(columns), persistent=False)

    def transform(self, obs: Tensor) -> Tensor:
        """The columns that the policy uses, (..., len(columns))."""
        return obs[..., self.columns] if obs.shape[-1] == self.size else obs


class AsymmetricActorCritic(nn.Module):
    """An actor-critic for `critic_keys`: critics use whole observations, the policy some columns of them.

    It combines the policy of an actor-critic built for the policy's columns with the critics (and `v`) of
    another one, built for whole observations (Pinto et al. 2018). `act` and `pi` also take observations that
    consist of the policy's columns only.

    Args:
        observation_space: flat Box, shape (obs_dim,).
        action_space: the environment's action space.
        actor_critic: constructor of both actor-critics.
        ac_kwargs: keyword arguments for `actor_critic`.
        columns: indices of the columns of an observation that the policy uses.
    """

    pi: ActorInput

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        actor_critic: Callable[..., nn.Module],
        ac_kwargs: dict[str, Any],
        columns: Sequence[int],
    ) -> None:
        super().__init__()
        assert isinstance(observation_space, Box)
        seen = Box(
            observation_space.low[list(columns)], observation_space.high[list(columns)], dtype=np.float32
        )
        self.actor = actor_critic(seen, action_space, **ac_kwargs)
        for name in critic_names(self.actor):
            delattr(self.actor, name)
        whole = actor_critic(observation_space, action_space, **ac_kwargs)
        for name in critic_names(whole):
            self.add_module(name, getattr(whole, name))
        pi: Any = self.actor.pi
        attach(self, "pi", ActorInput(pi, columns, observation_space.shape[0]))

    def act(self, obs: Any, deterministic: bool = False) -> NDArray[Any]:
        """Actions as the `act` of the actor-critic returns them."""
        like, actor = next(self.actor.parameters()), self.actor
        seen = self.pi.transform(torch.as_tensor(obs, dtype=like.dtype, device=like.device))
        actions: NDArray[Any] = actor.act(seen, deterministic=deterministic)  # type: ignore[operator]
        return actions


def critic_names(ac: nn.Module) -> list[str]:
    """The names of the critics and the value network among the children of `ac`."""
    return [name for name, _ in ac.named_children() if re.fullmatch(r"v|q\d+", name)]
