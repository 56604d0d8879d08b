"""Snapshots of an agent's policy for collectors in other processes."""

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
from spinup.pytorch.policy import MakePolicy, Policy, uses_module_act
from spinup.pytorch.state_arrays import arrays, load_arrays
from spinup.seeding import generator


def policy_source(
    agent: Agent,
    make_policy: MakePolicy,
    constructor: Callable[..., Any],
    spaces: tuple[Any, Any],
    kwargs: dict[str, Any],
) -> PolicySource:
    """The agent's policy for remote collectors: a function that rebuilds it, and snapshots of its arrays.

    Args:
        agent: the agent that acts.
        make_policy: makes the agent's policy from an actor-critic and a source of noise.
        constructor: makes networks like the agent's, as `constructor(*spaces, **kwargs)`.
        spaces: observation space and action space of the networks.
        kwargs: keyword arguments of the constructor.
    """
    policy_module = _policy_module(agent.ac, agent.policy)
    make = MakeSnapshotPolicy(make_policy, constructor, spaces, kwargs)
    return PolicySource(make, lambda: arrays(policy_module))


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
    """Acts on the CPU with the parameters of a snapshot.

    Args:
        ac: an actor-critic like the agent's.
        make_policy: makes the policy from `ac` and a random generator.
    """

    def __init__(self, ac: Any, make_policy: MakePolicy) -> None:
        self.rng = np.random.default_rng(0)
        self.policy = make_policy(ac, self.rng)
        self.policy_module = _policy_module(ac, self.policy)

    def load(self, arrays: dict[str, Any]) -> None:
        """Load a snapshot, to be used from the next action on."""
        load_arrays(self.policy_module, arrays)

    def seed(self, entropy: list[int]) -> None:
        """Seed the generator of noise, and torch's global generator, from which custom modules draw."""
        self.rng.bit_generator.state = generator(*entropy).bit_generator.state
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1)[0]))

    def act(self, obs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sampled actions (N, act_dim) for observations (N, obs_dim)."""
        return self.policy.act(obs, False)


def _policy_module(ac: Any, policy: Policy) -> nn.Module:
    """The module whose state a policy depends on: `ac.pi`, or all of `ac` if the policy calls `ac.act`."""
    part: nn.Module = ac if uses_module_act(policy) else ac.pi
    return part
