"""What the engines share: each computes the eager learner's update by other means, on its memory."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any

import torch

from spinup.pytorch.agent import EagerLearner, Float, LearnedAlpha
from spinup.pytorch.state_arrays import Optimiser
from spinup.replay.storage import Block


class WrappedLearner(abc.ABC):
    """A learner that acts, saves and restores as `eager` does and only updates in its own way.

    The engine and `eager` read and write the same parameters, targets, Adam moments and alpha, so a
    state taken from one engine continues in any other.
    """

    eager: EagerLearner

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        return self.eager.act(obs, deterministic)

    @abc.abstractmethod
    def update(self, block: Block) -> dict[str, Float]:
        """One gradient step per batch; metrics of all n, brought to the host once."""

    def save(self, folder: Path, name: str) -> None:
        """Write folder/pyt_save/<name>.pt."""
        self.eager.save(folder, name)

    def state_dict(self) -> dict[str, Any]:
        """Networks, targets, optimisers, alpha and generators, as arrays and numbers."""
        return self.eager.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken."""
        self.eager.load_state_dict(state)
        self.adopt()

    @abc.abstractmethod
    def adopt(self) -> None:
        """Take over what `eager` has just loaded into memory of its own: the optimisers' state."""


def optimisers(eager: EagerLearner) -> list[Optimiser]:
    """Every optimiser of the learner, in one order."""
    found = [eager.pi_optimiser, eager.critic_optimiser]
    if isinstance(eager.temperature, LearnedAlpha):
        found.append(eager.temperature.optimiser)
    return found


def adopt_state(optimiser: Optimiser, parameter: Any, ours: dict[str, torch.Tensor]) -> None:
    """Copy the Adam state of `parameter` into the tensors `ours`, which the optimiser holds from now on.

    Torch makes that state at the first step and anew at each load; an engine needs it to stay in place.
    """
    loaded = optimiser.state[parameter]
    for key, tensor in ours.items():
        tensor.copy_(loaded.get(key, torch.zeros(())))
    optimiser.state[parameter] = ours
