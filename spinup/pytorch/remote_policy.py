"""The policy of an agent, for collectors in other processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spinup.collect.transport import PolicySource
from spinup.pytorch.agent import Agent
from spinup.pytorch.policy import MakePolicy, Policy, calls_act
from spinup.pytorch.state_arrays import arrays, load_arrays


def policy_source(
    agent: Agent,
    make_policy: MakePolicy,
    constructor: Callable[..., Any],
    spaces: tuple[Any, Any],
    kwargs: dict[str, Any],
) -> PolicySource:
    """The agent's policy as a recipe, sent once, and snapshots of its arrays.

    Args:
        agent: whose policy it is.
        make_policy: how the agent acts.
        constructor: with `spaces` and `kwargs`, makes the agent's networks.
    """
    acting = _acting_module(agent.ac, agent.policy)
    make = MakeSnapshotPolicy(make_policy, constructor, spaces, kwargs)
    return PolicySource(make, lambda: arrays(acting))


@dataclass(frozen=True)
class MakeSnapshotPolicy:
    """Makes a `SnapshotPolicy`; picklable if the constructor and its arguments are."""

    make_policy: MakePolicy
    constructor: Callable[..., Any]
    spaces: tuple[Any, Any]
    kwargs: dict[str, Any]

    def __call__(self) -> SnapshotPolicy:
        torch.set_num_threads(1)
        return SnapshotPolicy(self.constructor(*self.spaces, **self.kwargs), self.make_policy)


class SnapshotPolicy:
    """Acts on the CPU as an agent did when a snapshot was taken.

    Args:
        ac: an actor-critic like the agent's.
        make_policy: how it acts, from `ac` and a random generator.
    """

    def __init__(self, ac: Any, make_policy: MakePolicy) -> None:
        self.rng = np.random.default_rng(0)
        self.policy = make_policy(ac, self.rng)
        self.acting = _acting_module(ac, self.policy)

    def load(self, arrays: dict[str, Any]) -> None:
        """Act as the snapshot does from now on."""
        load_arrays(self.acting, arrays)

    def seed(self, entropy: list[int]) -> None:
        """Seed the noise of the next actions, also that of modules that draw from torch's generator."""
        sequence = np.random.SeedSequence(entropy)
        self.rng.bit_generator.state = np.random.default_rng(sequence).bit_generator.state
        torch.manual_seed(int(sequence.generate_state(1)[0]))

    def act(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sampled actions (N, act_dim) for observations (N, obs_dim)."""
        return self.policy.act(obs, False)


def _acting_module(ac: Any, policy: Policy) -> nn.Module:
    """The part of an actor-critic that acts; all of it where a user's `act` decides."""
    part: nn.Module = ac if calls_act(policy) else ac.pi
    return part
