"""An actor-critic whose policy does not see all that its critics see."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.pytorch.networks.policy_input import NoisyPolicyInput, PolicyInput


class ActorInput(PolicyInput):
    """A policy that takes whole observations and looks at some of their numbers.

    Observations of those numbers alone are taken as they are.
    """

    columns: Tensor

    def __init__(self, module: nn.Module, columns: Sequence[int], size: int) -> None:
        super().__init__(module)
        self.size = size
        self.register_buffer("columns", torch.tensor(columns), persistent=False)

    def select(self, obs: Tensor) -> Tensor:
        """The numbers that the policy sees, (..., len(columns))."""
        return obs[..., self.columns] if obs.shape[-1] == self.size else obs


class NoisyActorInput(NoisyPolicyInput, ActorInput):
    """The same for a policy that takes `noise`."""


class AsymmetricActorCritic(nn.Module):
    """An actor-critic for `critic_keys`: the critics see whole observations, the policy some numbers of them.

    Made of two actor-critics of the same kind: the policy of one for the smaller observations, the critics
    (and `v`) of one for the whole ones (Pinto et al. 2018). `act` and `pi` also take observations of the
    policy's numbers alone.

    Args:
        observation_space: flat Box, shape (obs_dim,).
        action_space: of both.
        actor_critic: constructor of both.
        ac_kwargs: keyword arguments for it.
        columns: the numbers of an observation that the policy sees.
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
        # Not registered as a child, or the policy's parameters would be saved twice.
        pi: Any = self.actor.pi
        kind = NoisyActorInput if "noise" in inspect.signature(pi.forward).parameters else ActorInput
        object.__setattr__(self, "pi", kind(pi, columns, observation_space.shape[0]))

    def act(self, obs: Any, deterministic: bool = False) -> NDArray[Any]:
        """Actions as the `act` of the actor-critic returns them."""
        like, actor = next(self.actor.parameters()), self.actor
        seen = self.pi.select(torch.as_tensor(obs, dtype=like.dtype, device=like.device))
        actions: NDArray[Any] = actor.act(seen, deterministic=deterministic)  # type: ignore[operator]
        return actions


def critic_names(ac: nn.Module) -> list[str]:
    """The names of the critics and the value network among its children."""
    return [name for name, _ in ac.named_children() if re.fullmatch(r"v|q\d+", name)]
