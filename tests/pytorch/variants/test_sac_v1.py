"""The older SAC: V and its target through the networks, the protocol with `v`, and its runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers import FourCalls, parameters, random_block
from torch import Tensor, nn

from spinup.config import SACConfig
from spinup.envs.spaces import action_spec
from spinup.errors import ConfigError
from spinup.pytorch.agent import Batch
from spinup.pytorch.engines.registry import make_learner
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.validation import check_actor_critic
from spinup.pytorch.variants.registry import make_objective
from spinup.pytorch.variants.sac_v1 import MLPValueActorCritic, SoftV

DOUBLE = torch.float64
SPACES = Box(-np.inf, np.inf, (3,)), Box(-1.0, 1.0, (2,))


class ShiftPolicy(nn.Module):
    """a = shift + noise, logp = -(noise squared): simple enough to follow by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([0.5], dtype=DOUBLE))

    def forward(self, obs: Tensor, noise: Tensor) -> Any:
        """Actions (B, 1) and "log pi" (B,)."""
        return self.shift + noise, -noise.square().sum(-1) + 0.0 * self.shift


class Scale(nn.Module):
    """w * (the sum of its inputs), (B,)."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w, dtype=DOUBLE))

    def forward(self, *inputs: Tensor) -> Tensor:
        """(B,)."""
        return self.w * torch.cat(inputs, -1).sum(-1)


class ByHand(nn.Module):
    """Q1 = 2 (o + a), Q2 = 3 (o + a), V = 4 o."""

    def __init__(self) -> None:
        super().__init__()
        self.pi, self.q1, self.q2, self.v = ShiftPolicy(), Scale(2.0), Scale(3.0), Scale(4.0)


def hand_batch() -> Batch:
    """Two transitions, the second terminal; the noise at o2 is nan, so that using it would show."""

    def column(*x: float) -> Tensor:
        return torch.tensor(x, dtype=DOUBLE)[:, None]

    r, d = torch.tensor([1.0, -1.0], dtype=DOUBLE), torch.tensor([0.0, 1.0], dtype=DOUBLE)
    nan = column(math.nan, math.nan)
    return Batch(column(1.0, -2.0), column(0.2, 0.4), r, d, column(3.0, 5.0), nan, column(0.1, -0.3))


def test_critic_loss_by_hand() -> None:
    objective = SoftV(ByHand(), gamma=0.9)
    with torch.no_grad():
        objective.targets[0].w.fill_(10.0)
    loss, metrics = objective.critic_loss(hand_batch(), torch.tensor(0.5, dtype=DOUBLE))
    y = [1.0 + 0.9 * 10 * 3, -1.0]
    q1, q2 = [2 * 1.2, 2 * -1.6], [3 * 1.2, 3 * -1.6]
    loss_q = sum((q - b) ** 2 for q, b in zip(q1 + q2, y + y, strict=True)) / 2
    v_target = [2 * (1 + 0.6) + 0.5 * 0.01, 3 * (-2 + 0.2) + 0.5 * 0.09]
    loss_v = sum((v - t) ** 2 for v, t in zip([4.0, -8.0], v_target, strict=True)) / 2
    assert metrics["LossQ"].item() == pytest.approx(loss_q)
    assert loss.item() == pytest.approx(loss_q + loss_v)
    assert metrics["Q1Vals"].tolist() == pytest.approx(q1)


def test_each_regression_moves_its_own_network_alone() -> None:
    """V's target holds Q and pi constant, Q's backup holds V constant: gradients by hand."""
    ac = ByHand()
    objective = SoftV(ac, gamma=0.9)
    loss, _ = objective.critic_loss(hand_batch(), torch.tensor(0.5, dtype=DOUBLE))
    loss.backward()
    y, v_target = [1.0 + 0.9 * 4 * 3, -1.0], [2 * 1.6 + 0.005, 3 * -1.8 + 0.045]
    inputs = [1.2, -1.6]
    by_hand = sum((2 * x - t) * x for x, t in zip(inputs, y, strict=True))
    assert ac.q1.w.grad is not None
    assert ac.q1.w.grad.item() == pytest.approx(by_hand)
    assert ac.v.w.grad is not None
    assert ac.v.w.grad.item() == pytest.approx((4 - v_target[0]) * 1 + (-8 - v_target[1]) * -2)
    assert ac.pi.shift.grad is None
    assert all(not p.requires_grad for p in objective.targets.parameters())


def test_policy_loss_is_the_modern_one() -> None:
    objective = SoftV(ByHand(), gamma=0.9)
    loss, logp = objective.policy_loss(hand_batch(), torch.tensor(0.5, dtype=DOUBLE))
    by_hand = -((2 * 1.6 + 0.5 * 0.01) + (3 * -1.8 + 0.5 * 0.09)) / 2
    assert loss.item() == pytest.approx(by_hand)
    assert logp.tolist() == pytest.approx([-0.01, -0.09])


def make_v(seed: int = 0, **changes: Any) -> Any:
    """The learner of the older SAC over small networks."""
    torch.manual_seed(seed)
    config = SACConfig(variant="sac_v1", **{"batch_size": 5, "lr": 0.01, **changes})
    ac = MLPValueActorCritic(*SPACES, hidden_sizes=(8, 8))
    objective = make_objective(ac, config, SPACES[1])
    return make_learner(ac, objective, config, action_spec(SPACES[1]), lambda ac, path: None)[0]


def test_only_v_has_a_target_and_it_follows_v() -> None:
    learner = make_v(polyak=0.75)
    targets = learner.objective.targets
    assert sum(p.numel() for p in targets.parameters()) == sum(p.numel() for p in learner.ac.v.parameters())
    before = parameters(targets)
    torch.testing.assert_close(before, parameters(learner.ac.v))
    learner.update(random_block())
    after = parameters(learner.ac.v)
    assert not torch.equal(before, after)
    torch.testing.assert_close(parameters(targets), 0.75 * before + 0.25 * after)


@pytest.mark.parametrize("alpha", [0.2, "auto"])
def test_state_dict_covers_v_its_target_and_its_moments(alpha: Any) -> None:
    first, other = make_v(alpha=alpha), make_v(seed=1, alpha=alpha)
    first.update(random_block(count=3))
    other.load_state_dict(first.state_dict())
    for learner in (first, other):
        learner.update(random_block(count=2, seed=1))
    for part in (lambda x: x.ac, lambda x: x.ac.v, lambda x: x.objective.targets):
        assert torch.equal(parameters(part(first)), parameters(part(other)))
    np.testing.assert_array_equal(first.act(np.ones((2, 3)), False), other.act(np.ones((2, 3)), False))


def test_a_learner_acts_as_the_modern_one_with_the_same_policy() -> None:
    """V changes nothing about acting: same policy parameters, same generator, same actions."""
    learner = make_v(seed=5)
    torch.manual_seed(5)
    modern, config = MLPActorCritic(*SPACES, hidden_sizes=(8, 8)), SACConfig()
    objective = make_objective(modern, config, SPACES[1])
    other = make_learner(modern, objective, config, action_spec(SPACES[1]), lambda ac, path: None)[0]
    assert torch.equal(parameters(modern.pi), parameters(learner.ac.pi))
    assert torch.equal(parameters(modern.q2), parameters(learner.ac.q2))
    obs = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(learner.act(obs, False), other.act(obs, False))


def test_a_run_saves_v_in_a_model_that_loads(run: Any, tmp_path: Path) -> None:
    ac, rows = run(variant="sac_v1")
    loaded = torch.load(tmp_path / "run0" / "pyt_save" / "model.pt")
    assert type(loaded) is type(ac) is MLPValueActorCritic
    assert torch.equal(parameters(loaded.v), parameters(ac.v))
    obs = np.ones((3, 2), np.float32)
    np.testing.assert_array_equal(loaded.act(obs, deterministic=True), ac.act(obs, deterministic=True))
    assert loaded.act(obs[0]).shape == (1,)
    assert math.isfinite(float(rows[-1]["LossQ"]))


class FiveCalls(FourCalls):
    """A user's module with a value network."""

    def __init__(self, observation_space: Any, action_space: Any, column: bool = False) -> None:
        super().__init__(observation_space, action_space)
        self.v: nn.Module = nn.Linear(observation_space.shape[0], 1)
        if not column:
            self.v = nn.Sequential(self.v, nn.Flatten(0))


def test_a_users_own_module_trains(run: Any) -> None:
    ac, _ = run(actor_critic=FiveCalls, variant="sac_v1", alpha="auto")
    assert type(ac) is FiveCalls


def test_the_door_asks_for_v() -> None:
    with pytest.raises(ConfigError, match=r"FourCalls\.v is missing .*: variant='sac_v1' learns it"):
        check_actor_critic(FourCalls(*SPACES), *SPACES, variant="sac_v1")
    check_actor_critic(FourCalls(*SPACES), *SPACES)
    check_actor_critic(FiveCalls(*SPACES), *SPACES, variant="sac_v1")


def test_the_door_refuses_a_column_of_values() -> None:
    with pytest.raises(ConfigError, match=r"FiveCalls\.v\(obs\) has shape \(1, 1\) .* squeeze\(-1\)"):
        check_actor_critic(FiveCalls(*SPACES, column=True), *SPACES, variant="sac_v1")
