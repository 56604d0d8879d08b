"""How an agent acts: the fast policies compute what the module computes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from helpers import FourCalls, small_ac
from torch import nn

from spinup import MLPActorCritic
from spinup.pytorch.networks.actor_critic import DiscreteMLPActorCritic, MLPValueActorCritic
from spinup.pytorch.policy import (
    CategoricalPolicy,
    GaussianPolicy,
    ModulePolicy,
    NumpyPolicy,
    categorical_policy,
    gaussian_policy,
)

KINDS: list[dict[str, Any]] = [
    {}, {"activation": nn.Tanh}, {"activation": nn.Identity}, {"hidden_sizes": ()}, {"hidden_sizes": (8,)},
    {"state_dependent_std": False}, {"low": np.array([-3, 0.5]), "high": np.array([-1, 8.5])},
]  # fmt: skip


def rng() -> np.random.Generator:
    """A generator in the same state each time."""
    return np.random.default_rng(4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 5, 16, 17])
@pytest.mark.parametrize("single_thread", [2**18, 130])
def test_numpy_policy_computes_what_the_module_computes(
    kind: dict[str, Any], rows: int, single_thread: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NumpyPolicy, "SINGLE_THREAD", single_thread)  # 130: pieces of two rows or more
    ac = small_ac(**kind)
    with torch.no_grad():  # large enough to reach the bounds and both clamps
        ac.pi.mu_layer.weight.mul_(20)
    policy = gaussian_policy(ac, rng())
    assert isinstance(policy, NumpyPolicy)
    obs = np.random.default_rng(0).standard_normal((rows, 3)).astype(np.float32)
    before = obs.copy()
    noise = torch.from_numpy(rng().standard_normal((rows, 2), dtype=np.float32))
    with torch.no_grad():
        wanted = ac.pi(torch.from_numpy(obs), noise=noise)[0].numpy()
    assert np.allclose(policy.act(obs, False), wanted, rtol=1e-5, atol=1e-5)
    assert np.allclose(policy.act(obs, True), ac.act(obs, deterministic=True), rtol=1e-5, atol=1e-5)
    assert np.array_equal(obs, before)


def test_numpy_policy_follows_updates_in_place() -> None:
    ac = small_ac()
    policy, obs = gaussian_policy(ac, rng()), np.ones((1, 3), np.float32)
    before = policy.act(obs, True)
    with torch.no_grad():
        for p in ac.pi.parameters():
            p.add_(0.1)
    assert not np.array_equal(policy.act(obs, True), before)
    assert np.allclose(policy.act(obs, True), ac.act(obs, deterministic=True), atol=1e-6)


def test_mapped_log_stds_are_left_to_torch() -> None:
    ac = small_ac(log_std_range=(-3.0, 0.0))
    policy, obs = gaussian_policy(ac, rng()), np.ones((1, 3), np.float32)
    assert isinstance(policy, GaussianPolicy)
    noise = torch.from_numpy(rng().standard_normal((1, 2), dtype=np.float32))
    assert np.array_equal(policy.act(obs, False), ac.pi(torch.from_numpy(obs), noise)[0].detach().numpy())


def test_log_std_is_clamped_in_numpy_too() -> None:
    ac = small_ac(low=-1.0, high=1.0)
    with torch.no_grad():
        ac.pi.log_std_layer.bias.copy_(torch.tensor([-100.0, -100.0]))
    obs = np.ones((1, 3), np.float32)
    policy = gaussian_policy(ac, rng())
    assert np.allclose(policy.act(obs, False), policy.act(obs, True), atol=1e-6)


def test_other_activations_and_precisions_are_computed_by_torch() -> None:
    ac = small_ac(activation=nn.ELU)
    policy, obs = gaussian_policy(ac, rng()), np.ones((2, 3), np.float32)
    assert isinstance(policy, GaussianPolicy)
    noise = torch.from_numpy(rng().standard_normal((2, 2), dtype=np.float32))
    assert np.allclose(policy.act(obs, False), ac.pi(torch.from_numpy(obs), noise=noise)[0].detach().numpy())
    assert isinstance(gaussian_policy(small_ac().double(), rng()), GaussianPolicy)


def test_rows_are_processed_in_pieces_that_blas_keeps_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    ac = small_ac(hidden_sizes=(16, 16))
    monkeypatch.setattr(NumpyPolicy, "SINGLE_THREAD", 4 * 256)
    policy, obs, sizes = gaussian_policy(ac, rng()), np.ones((10, 3), np.float32), []
    assert isinstance(policy, NumpyPolicy)
    one = policy._act
    monkeypatch.setattr(policy, "_act", lambda obs, noise: sizes.append(len(obs)) or one(obs, noise))
    policy.act(obs, True)
    assert sizes == [4, 4, 2]
    monkeypatch.setattr(NumpyPolicy, "SINGLE_THREAD", 255)  # not even one row
    assert isinstance(gaussian_policy(ac, rng()), GaussianPolicy)


def test_a_subclass_and_a_users_module_use_their_own_act() -> None:
    class Subclass(MLPActorCritic):
        """Acts in its own way."""

        def act(self, obs: Any, deterministic: bool = False) -> Any:
            return np.full((len(obs), 2), 0.25 if deterministic else 0.5)

    spaces = Box(-1, 1, (3,)), Box(-1, 1, (2,))
    policy = gaussian_policy(Subclass(*spaces), rng())
    assert isinstance(policy, ModulePolicy)
    assert policy.act(np.zeros((4, 3), np.float32), True).tolist() == [[0.25, 0.25]] * 4
    assert policy.act(np.zeros((4, 3), np.float32), False).dtype == np.float32
    assert isinstance(gaussian_policy(FourCalls(*spaces), rng()), ModulePolicy)
    assert isinstance(gaussian_policy(MLPValueActorCritic(*spaces), rng()), NumpyPolicy)


def test_a_discrete_subclass_uses_its_own_act() -> None:
    class Subclass(DiscreteMLPActorCritic):
        """Acts in its own way."""

        def act(self, obs: Any, deterministic: bool = False) -> Any:
            return np.full(len(obs), 1 if deterministic else 2)

    spaces = Box(-1, 1, (3,)), Discrete(3)
    policy = categorical_policy(Subclass(*spaces), rng())
    assert isinstance(policy, ModulePolicy)
    assert policy.act(np.zeros((2, 3), np.float32), True).tolist() == [[1.0], [1.0]]
    assert isinstance(categorical_policy(DiscreteMLPActorCritic(*spaces), rng()), CategoricalPolicy)
