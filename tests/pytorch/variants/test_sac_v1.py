"""The older SAC: V and its target through the networks, the protocol with `v`, and its runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers import FourCalls, make, parameters, random_batches
from torch import Tensor, nn

from spinup.errors import ConfigError
from spinup.pytorch.networks.actor_critic import MLPActorCritic, MLPValueActorCritic
from spinup.pytorch.validation import check_actor_critic
from spinup.pytorch.variants.objective import Batch

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


def batch_by_hand() -> Batch:
    """Two transitions, the second terminal; the noise for next_obs is nan, so that using it would show."""
    nan = [[math.nan], [math.nan]]
    values = {
        "obs": [[1.0], [-2.0]], "action": [[0.2], [0.4]], "reward": [1.0, -1.0], "discount": [0.9, 0.0],
        "next_obs": [[3.0], [5.0]], "noise": [nan, [[0.1], [-0.3]]],
    }  # fmt: skip
    return {name: torch.tensor(value, dtype=DOUBLE) for name, value in values.items()}


def learner_by_hand() -> Any:
    """A learner over `ByHand`; nothing acts."""
    return make(ByHand(), variant="sac_v1", act_dim=1)


def losses_of(learner: Any, name: str) -> Any:
    """What one method of the learner's objective returns for `batch_by_hand` and alpha = 0.5."""
    method = getattr(learner.engine.objective, name)
    return method(learner.agent.networks, batch_by_hand(), torch.tensor(0.5, dtype=DOUBLE))


def test_critic_loss_by_hand() -> None:
    learner = learner_by_hand()
    with torch.no_grad():
        learner.agent.networks.target.w.fill_(10.0)
    loss, metrics = losses_of(learner, "critic_loss")
    y = [1.0 + 0.9 * 10 * 3, -1.0]
    q1, q2 = [2 * 1.2, 2 * -1.6], [3 * 1.2, 3 * -1.6]
    loss_q = sum((q - b) ** 2 for q, b in zip(q1 + q2, y + y, strict=True)) / 2
    v_target = [2 * (1 + 0.6) + 0.5 * 0.01, 3 * (-2 + 0.2) + 0.5 * 0.09]
    loss_v = sum((v - t) ** 2 for v, t in zip([4.0, -8.0], v_target, strict=True)) / 2
    assert metrics["LossQ"].item() == pytest.approx(loss_q)
    assert loss.item() == pytest.approx(loss_q + loss_v)
    assert metrics["Q1Vals"].tolist() == pytest.approx(q1)


def test_each_regression_has_gradients_for_its_own_network_alone() -> None:
    """V's target holds Q and pi constant, Q's target holds V constant: gradients by hand."""
    learner = learner_by_hand()
    ac = learner.ac
    loss, _ = losses_of(learner, "critic_loss")
    loss.backward()
    y, v_target = [1.0 + 0.9 * 4 * 3, -1.0], [2 * 1.6 + 0.005, 3 * -1.8 + 0.045]
    inputs = [1.2, -1.6]
    by_hand = sum((2 * x - t) * x for x, t in zip(inputs, y, strict=True))
    assert ac.q1.w.grad is not None
    assert ac.q1.w.grad.item() == pytest.approx(by_hand)
    assert ac.v.w.grad is not None
    assert ac.v.w.grad.item() == pytest.approx((4 - v_target[0]) * 1 + (-8 - v_target[1]) * -2)
    assert ac.pi.shift.grad is None
    assert all(not p.requires_grad for p in learner.agent.networks.target.parameters())


def test_actor_loss_is_that_of_sac() -> None:
    loss, logp = losses_of(learner_by_hand(), "actor_loss")
    by_hand = -((2 * 1.6 + 0.5 * 0.01) + (3 * -1.8 + 0.5 * 0.09)) / 2
    assert loss.item() == pytest.approx(by_hand)
    assert logp.tolist() == pytest.approx([-0.01, -0.09])


def make_v(seed: int = 0, **changes: Any) -> Any:
    """A learner over small networks with a value network."""
    torch.manual_seed(seed)
    ac = MLPValueActorCritic(*SPACES, hidden_sizes=(8, 8))
    return make(ac, variant="sac_v1", **{"lr": 0.01, **changes})


def test_only_v_has_a_target_which_averages_v() -> None:
    learner = make_v(polyak=0.75)
    target = learner.agent.networks.target
    assert sum(p.numel() for p in target.parameters()) == sum(p.numel() for p in learner.ac.v.parameters())
    before = parameters(target)
    torch.testing.assert_close(before, parameters(learner.ac.v))
    learner.update(random_batches())
    after = parameters(learner.ac.v)
    assert not torch.equal(before, after)
    torch.testing.assert_close(parameters(target), 0.75 * before + 0.25 * after)


@pytest.mark.parametrize("alpha", [0.2, "auto"])
def test_state_dict_covers_v_its_target_and_its_moments(alpha: Any) -> None:
    first, other = make_v(alpha=alpha), make_v(seed=1, alpha=alpha)
    first.update(random_batches(count=3))
    other.load_state_dict(first.state_dict())
    for learner in (first, other):
        learner.update(random_batches(count=2, seed=1))
    for part in (lambda x: x.ac, lambda x: x.ac.v, lambda x: x.agent.networks.target):
        assert torch.equal(parameters(part(first)), parameters(part(other)))
    np.testing.assert_array_equal(first.act(np.ones((2, 3)), False), other.act(np.ones((2, 3)), False))


def test_the_agent_acts_as_that_of_sac_with_the_same_policy() -> None:
    """V changes nothing about acting: same policy parameters, same generator, same actions."""
    learner = make_v(seed=5)
    torch.manual_seed(5)
    other = make(MLPActorCritic(*SPACES, hidden_sizes=(8, 8)))
    assert torch.equal(parameters(other.ac.pi), parameters(learner.ac.pi))
    assert torch.equal(parameters(other.ac.q2), parameters(learner.ac.q2))
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


def test_a_missing_v_is_named() -> None:
    with pytest.raises(ConfigError, match=r"FourCalls\.v is missing or not a torch\.nn\.Module: this run"):
        check_actor_critic(FourCalls(*SPACES), *SPACES, has_value=True)
    check_actor_critic(FourCalls(*SPACES), *SPACES)
    check_actor_critic(FiveCalls(*SPACES), *SPACES, has_value=True)


def test_a_column_of_values_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"FiveCalls\.v\(obs\) has shape \(1, 1\) .* squeeze\(-1\)"):
        check_actor_critic(FiveCalls(*SPACES, column=True), *SPACES, has_value=True)
