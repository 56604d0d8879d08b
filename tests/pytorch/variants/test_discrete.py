"""Discrete SAC: its losses through the networks, its policy, its protocol and its runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from helpers import make, parameters
from rooms import LinearActorCritic, Rooms, linear_module
from torch import Tensor, nn

from spinup.errors import ConfigError
from spinup.pytorch.networks.actor_critic import DiscreteMLPActorCritic
from spinup.pytorch.policy import inverse_cdf
from spinup.pytorch.validation import check_actor_critic
from spinup.pytorch.variants.objective import Batch

DOUBLE = torch.float64
SPACES = Box(-1.0, 1.0, (2,)), Discrete(3)
Q1 = [[1.0, 2.0, 4.0], [0.0, -1.0, 3.0]]
Q2 = [[3.0, 1.0, 4.0], [1.0, -2.0, 2.0]]
LOGITS = [[0.0, 0.0, 0.0], [math.log(1), math.log(2), math.log(5)]]
STATES = torch.eye(2, dtype=DOUBLE)


class Table(nn.Module):
    """A value per state and action; states are one-hot rows."""

    def __init__(self, values: list[list[float]]) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.tensor(values, dtype=DOUBLE))

    def forward(self, obs: Tensor) -> Tensor:
        """(B, n)."""
        return obs @ self.values


class TablePolicy(Table):
    """A softmax over a table of logits."""

    def forward(self, obs: Tensor) -> Any:
        """Probabilities and log probabilities."""
        logp = torch.log_softmax(obs @ self.values, -1)
        return logp.exp(), logp


class Tables(nn.Module):
    """A user's discrete actor-critic on two states that offers only the calls of the protocol."""

    def __init__(self, q1: Any = Q1, q2: Any = Q2, logits: Any = LOGITS) -> None:
        super().__init__()
        self.pi, self.q1, self.q2 = TablePolicy(logits), Table(q1), Table(q2)

    def act(self, obs: Any, deterministic: bool = False) -> Any:
        """The protocol's act."""
        with torch.no_grad():
            probs = self.pi(obs)[0]
            return (probs.argmax(-1) if deterministic else torch.multinomial(probs, 1)[:, 0]).numpy()


def batch(o: list[int], a: list[int], r: list[float], discount: list[float], o2: list[int]) -> Batch:
    """Transitions between the two states, without noise, which is not to be used."""
    return {
        "obs": STATES[o], "action": torch.tensor(a, dtype=DOUBLE)[:, None],
        "reward": torch.tensor(r, dtype=DOUBLE), "discount": torch.tensor(discount, dtype=DOUBLE),
        "next_obs": STATES[o2],
    }  # fmt: skip


def table_learner(ac: nn.Module, **changes: Any) -> Any:
    """The eager engine's learner over two one-hot states and three actions."""
    return make(ac, action_space=Discrete(3), **changes)


def losses_of(learner: Any, name: str, b: Batch, alpha: float) -> Any:
    """What one method of the learner's objective returns."""
    method = getattr(learner.engine.objective, name)
    return method(learner.agent.networks, b, torch.tensor(alpha, dtype=DOUBLE))


def test_critic_loss_by_hand() -> None:
    b = batch(o=[0, 1], a=[1, 2], r=[1.0, -1.0], discount=[0.9, 0.0], o2=[1, 0])
    loss, metrics = losses_of(table_learner(Tables()), "critic_loss", b, 0.5)
    p = [1 / 8, 2 / 8, 5 / 8]
    q_min = [0.0, -2.0, 2.0]
    v = sum(pi * (q - 0.5 * math.log(pi)) for pi, q in zip(p, q_min, strict=True))
    y = [1.0 + 0.9 * v, -1.0]
    by_hand = ((2 - y[0]) ** 2 + (3 - y[1]) ** 2 + (1 - y[0]) ** 2 + (2 - y[1]) ** 2) / 2
    assert loss.item() == pytest.approx(by_hand)
    assert metrics["Q1Vals"].tolist() == [2.0, 3.0]
    assert metrics["Q2Vals"].tolist() == [1.0, 2.0]


def test_the_target_uses_the_target_networks_and_has_no_gradient() -> None:
    ac = Tables()
    learner = table_learner(ac)
    b = batch(o=[0], a=[0], r=[0.0], discount=[1.0], o2=[1])
    with torch.no_grad():
        learner.agent.networks.target[0].values.fill_(7.0)
        learner.agent.networks.target[1].values.fill_(8.0)
    loss, _ = losses_of(learner, "critic_loss", b, 0.0)
    assert loss.item() == pytest.approx((1 - 7) ** 2 + (3 - 7) ** 2)
    loss.backward()
    assert ac.pi.values.grad is None
    assert ac.q1.values.grad[1].tolist() == [0.0, 0.0, 0.0]
    assert ac.q1.values.grad[0].tolist() == [2 * (1 - 7), 0.0, 0.0]


def test_actor_loss_by_hand_and_without_gradient_to_the_critics() -> None:
    ac = Tables()
    b = batch(o=[0, 1], a=[0, 0], r=[0.0, 0.0], discount=[0.9, 0.9], o2=[0, 0])
    loss, logp = losses_of(table_learner(ac), "actor_loss", b, 0.5)
    entropies = [math.log(3), -sum(p * math.log(p) for p in (1 / 8, 2 / 8, 5 / 8))]
    values = [(1 + 1 + 4) / 3, -2 * 2 / 8 + 2 * 5 / 8]
    by_hand = -sum(v + 0.5 * h for v, h in zip(values, entropies, strict=True)) / 2
    assert loss.item() == pytest.approx(by_hand)
    assert logp.tolist() == pytest.approx([-h for h in entropies])
    loss.backward()
    assert ac.q1.values.grad is None
    assert ac.q2.values.grad is None
    assert ac.pi.values.grad.abs().sum() > 0


def test_it_converges_to_the_fixed_point_of_soft_value_iteration() -> None:
    """On two states whose values can be computed, Q and pi converge to the soft optimum at that alpha."""
    gamma, alpha = 0.5, 0.3
    o, a = np.repeat([0, 1], 3), np.tile([0, 1, 2], 2)
    o2 = np.where(a == 1, 1 - o, o)
    r = np.where(a == 2, 0.2, 0.0) + o2
    exact = np.zeros((2, 3))
    for _ in range(200):
        v = alpha * np.log(np.exp(exact / alpha).sum(1))
        exact[o, a] = r + gamma * v[o2]
    learner = table_learner(Tables(), alpha=alpha, lr=0.02, polyak=0.8)
    b = batch(list(o), list(a), list(r), [gamma] * 6, list(o2))
    learner.update({name: values.expand(1200, *values.shape) for name, values in b.items()})
    np.testing.assert_allclose(learner.ac.q1.values.detach(), exact, atol=0.02)
    best = np.exp(exact / alpha) / np.exp(exact / alpha).sum(1, keepdims=True)
    np.testing.assert_allclose(learner.ac.pi(STATES)[0].detach(), best, atol=0.02)


def test_an_update_logs_the_values_of_taken_actions_and_the_exact_entropy() -> None:
    torch.manual_seed(0)
    learner = table_learner(DiscreteMLPActorCritic(*SPACES, (8,)), alpha="auto_0.3", batch_size=4)
    batches = {name: np.zeros((2, 4), np.float32) for name in ("reward", "discount")}
    batches["obs"], batches["next_obs"] = np.random.default_rng(0).standard_normal((2, 2, 4, 2), np.float32)
    batches["action"] = np.tile(np.array([[0], [1], [2], [0]], np.float32), (2, 1, 1))
    o = torch.from_numpy(batches["obs"][0])
    probs, logp = learner.ac.pi(o)
    taken = learner.ac.q1(o)[range(4), [0, 1, 2, 0]].detach()
    before = parameters(learner.agent.networks.target)
    metrics = learner.update(batches)
    np.testing.assert_allclose(metrics["Q1Vals"][0], taken, rtol=1e-6)
    np.testing.assert_allclose(metrics["LogPi"][0], (probs * logp).sum(-1).detach(), rtol=1e-5)
    assert metrics["Alpha"][0] == pytest.approx(0.3)
    assert metrics["Alpha"][1] != metrics["Alpha"][0]
    assert metrics["TargetEntropy"][0] == pytest.approx(0.3 * math.log(3))
    assert not torch.equal(before, parameters(learner.agent.networks.target))


def test_inverse_cdf_draws_with_the_probabilities() -> None:
    probs = np.array([[0.0, 0.25, 0.0, 0.75, 0.0]])
    uniform = (np.arange(1000) + 0.5) / 1000
    drawn = inverse_cdf(np.repeat(probs, 1000, 0), uniform)
    np.testing.assert_array_equal(np.bincount(drawn, minlength=5), [0, 250, 0, 750, 0])


@pytest.mark.parametrize("u", [0.0, np.nextafter(1.0, 0.0)])
def test_inverse_cdf_never_draws_an_action_of_probability_zero(u: float) -> None:
    rng = np.random.default_rng(0)
    probs = rng.random((1000, 4))
    probs[:, [0, 3]] = 0.0
    probs /= probs.sum(1, keepdims=True) * rng.uniform(0.999, 1.001, (1000, 1))
    assert set(inverse_cdf(probs, np.full(1000, u))) <= {1, 2}


def test_acting_draws_from_the_agents_generator_and_not_from_torch() -> None:
    torch.manual_seed(0)
    learner = table_learner(DiscreteMLPActorCritic(*SPACES, (8,)))
    before, obs = torch.get_rng_state(), np.zeros((500, 2), np.float32)
    actions = learner.act(obs, False)
    assert torch.equal(before, torch.get_rng_state())
    assert actions.shape == (500, 1)
    assert actions.dtype == np.float32
    shares = np.bincount(actions[:, 0].astype(int), minlength=3) / 500
    np.testing.assert_allclose(shares, learner.ac.pi(torch.zeros(2))[0].detach(), atol=0.08)
    best = learner.act(obs, True)
    assert (best == int(learner.ac.pi(torch.zeros(2))[0].argmax())).all()


def test_act_of_the_default_module() -> None:
    ac = DiscreteMLPActorCritic(*SPACES, (8,))
    assert ac.act(np.zeros((4, 2), np.float32)).shape == (4,)
    assert ac.act(np.zeros((4, 2))).dtype == np.int64
    assert ac.act(np.zeros(2)).shape == ()
    probs = ac.pi(torch.ones(2))[0]
    assert int(ac.act(np.ones(2), deterministic=True)) == int(probs.argmax())
    torch.manual_seed(0)
    drawn = np.bincount(ac.act(np.ones((2000, 2))), minlength=3) / 2000
    np.testing.assert_allclose(drawn, probs.detach(), atol=0.04)


class Faulty(Tables):
    """A discrete module with one fault, by name."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault
        self.pi = FaultyPolicy(fault)
        if fault == "one value":
            self.q2 = Table([[1.0], [1.0]])
        if fault == "q missing":
            del self.q1

    def act(self, obs: Any, deterministic: bool = False) -> Any:
        action = TablePolicy.forward(self.pi, obs)[0].argmax(-1).numpy()
        faults = {"act floats": action * 1.0, "act column": action[:, None], "act range": action + 3}
        return faults.get(self.fault, action)


class FaultyPolicy(TablePolicy):
    """The policy of `Faulty`."""

    def __init__(self, fault: str) -> None:
        super().__init__(LOGITS)
        self.fault = fault

    def forward(self, obs: Tensor) -> Any:
        probs, logp = super().forward(obs)
        faults = {
            "logits": (obs @ self.values, logp), "logp is logits": (probs, obs @ self.values),
            "summed": (probs, logp.sum(-1)), "detached": (probs.detach(), logp), "probs alone": probs,
        }  # fmt: skip
        return faults.get(self.fault, (probs, logp))


VIOLATIONS = {
    "one value": r"Faulty\.q2\(obs\) has shape \(1, 1\) .* must have \(1, 3\), one value per action",
    "q missing": r"Faulty\.q1 is missing or not a torch\.nn\.Module",
    "act floats": r"Faulty\.act returned .* it must return integers from 0 to 2",
    "act column": r"Faulty\.act\(obs\) has shape \(1, 1\) .* must have \(1,\)",
    "act range": r"Faulty\.act returned .* integers from 0 to 2",
    "logits": r"pi\(obs\)\[0\] must be probabilities that sum to 1: apply softmax to logits",
    "logp is logits": r"pi\(obs\)\[1\] must be the logarithms of pi\(obs\)\[0\]: use log_softmax",
    "summed": r"the log probabilities, has shape \(1,\) .* must have \(1, 3\); do not sum over actions",
    "detached": r"returned the probabilities without a gradient",
    "probs alone": r"returned Tensor: it must return the pair probabilities and log probabilities",
}


@pytest.mark.parametrize("fault", VIOLATIONS)
def test_violations_of_a_discrete_module_are_named(fault: str) -> None:
    with pytest.raises(ConfigError, match=VIOLATIONS[fault]) as caught:
        check_actor_critic(Faulty(fault), *SPACES)
    assert "\n" not in str(caught.value)


def test_valid_discrete_modules_pass() -> None:
    check_actor_critic(Faulty("none"), *SPACES)
    check_actor_critic(DiscreteMLPActorCritic(*SPACES), *SPACES)


def test_a_run_saves_a_model_that_loads(run: Any, tmp_path: Path) -> None:
    ac, rows = run(Rooms)
    assert type(ac) is DiscreteMLPActorCritic
    loaded = torch.load(tmp_path / "run0" / "pyt_save" / "model.pt")
    assert type(loaded) is DiscreteMLPActorCritic
    obs = np.eye(2, dtype=np.float32)
    np.testing.assert_array_equal(loaded.act(obs, deterministic=True), ac.act(obs, deterministic=True))
    assert torch.equal(parameters(loaded), parameters(ac))
    assert all(math.isfinite(float(rows[-1][key])) for key in ("LossQ", "LossPi", "Entropy"))


def test_two_runs_with_one_seed_are_equal(run: Any) -> None:
    first, second = run(Rooms, seed=3)[0], run(Rooms, seed=3)[0]
    assert torch.equal(parameters(first), parameters(second))
    assert not torch.equal(parameters(first), parameters(run(Rooms, seed=4)[0]))


def test_an_action_space_that_does_not_start_at_0_and_several_environments(run: Any) -> None:
    """`Rooms` asserts that each action is in its space; the networks count from 0."""
    ac, _ = run(lambda: Rooms(start=7), num_envs=2)
    assert set(ac.act(np.eye(2, dtype=np.float32).repeat(50, 0))) <= {0, 1, 2}


def test_a_users_own_module_trains(run: Any) -> None:
    ac, rows = run(Rooms, actor_critic=linear_module, alpha="auto")
    torch.manual_seed(0)
    assert type(ac) is LinearActorCritic
    assert not torch.equal(parameters(ac), parameters(LinearActorCritic(2, 3)))
    assert 0.0 < float(rows[-1]["Entropy"]) <= math.log(3)


class Doors(Rooms):
    """Rooms with two actions at once; the state changes if the second is 1, and only [1, 1] is paid for."""

    def __init__(self, space: Any) -> None:
        super().__init__()
        self.action_space = space

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.t += 1
        self.room = 1 - self.room if action[1] == 1 else self.room
        return self.room, float(action[0] == action[1] == 1), False, self.t >= 10, {}


@pytest.mark.parametrize("space", [gym.spaces.MultiDiscrete([3, 2]), gym.spaces.MultiBinary(2)])
def test_several_discrete_actions_at_once(run: Any, engine: str, space: Any) -> None:
    settings: dict[str, Any] = {
        "alpha": 0.05, "steps_per_epoch": 400, "lr": 1e-2, "engine": engine, "batch_size": 32, "gamma": 0.5,
    }  # fmt: skip
    ac, rows = run(lambda: Doors(space), **settings)
    assert ac.act(np.eye(2, dtype=np.float32), deterministic=True).tolist() == [3, 3]  # of [1, 1]
    assert float(rows[-1]["AverageTestEpRet"]) == 10.0
