"""Policies of remote collectors, which are made of a constructor and a snapshot of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.spaces import Box
from helpers import FourCalls, make_agent, small_ac

from spinup import MLPActorCritic
from spinup.config import SACConfig
from spinup.pytorch.remote_policy import policy_source
from spinup.pytorch.variants.registry import choose_variant

SPACES = Box(-np.inf, np.inf, (3,)), Box(-1.0, 1.0, (2,), np.float32)


@pytest.mark.parametrize(("kind", "networks"), [(MLPActorCritic, {"hidden_sizes": (8, 8)}), (FourCalls, {})])
def test_a_collectors_policy_acts_as_the_agent(kind: Any, networks: dict[str, Any]) -> None:
    config = SACConfig()
    ac = small_ac() if kind is MLPActorCritic else kind(*SPACES)
    agent, _, _ = make_agent(ac, config, SPACES[1])
    source = policy_source(agent, choose_variant(config, SPACES[1]).make_policy, kind, SPACES, networks)
    remote: Any = source.make()
    obs = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    assert not np.allclose(remote.policy.act(obs, True), agent.act(obs, True))
    remote.load(source.arrays())
    assert np.array_equal(remote.policy.act(obs, True), agent.act(obs, True))
    remote.seed([1, 2])
    first = remote.act(obs)
    assert not np.array_equal(first, remote.act(obs))
    remote.seed([1, 2])
    assert np.array_equal(first, remote.act(obs))
