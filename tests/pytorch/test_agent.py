"""One update: against an independent implementation, by finite differences, and piece by piece."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers import (
    Batches,
    FourCalls,
    SharedByAll,
    SharedCritics,
    make,
    parameters,
    random_batches,
    small_ac,
)
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from spinup.pytorch.agent import unique_parameters
from spinup.pytorch.engines.eager import split_batches

SPACES = Box(-np.inf, np.inf, (3,)), Box(-1.0, 1.0, (2,))


def reference(ac: Any, batches: Batches, alpha: float, learn: bool, steps: int) -> dict[str, Any]:
    """SAC written out again, with nothing from the package but the networks."""
    targets = copy.deepcopy(ac)
    log_alpha = torch.tensor(math.log(alpha), requires_grad=True)
    q_optimizer = torch.optim.Adam([*ac.q1.parameters(), *ac.q2.parameters()], lr=1e-3)
    pi_optimizer = torch.optim.Adam(ac.pi.parameters(), lr=1e-3)
    alpha_optimizer = torch.optim.Adam([log_alpha], lr=1e-3)
    out: dict[str, Any] = {"LossQ": [], "LossPi": [], "Alpha": [], "Entropy": []}
    for k in range(steps):
        names = ("obs", "action", "reward", "discount", "next_obs", "noise")
        o, a, r, discount, o2, noise = (torch.from_numpy(batches[name][k]) for name in names)
        out["Alpha"].append(log_alpha.exp().item())
        with torch.no_grad():
            a2, logp2 = draw(ac.pi, o2, noise[0])
            q_next = torch.min(targets.q1(o2, a2), targets.q2(o2, a2))
            y = r + discount * (q_next - log_alpha.exp() * logp2)
        q_loss = mse_loss(ac.q1(o, a), y) + mse_loss(ac.q2(o, a), y)
        q_optimizer.zero_grad()
        q_loss.backward()
        q_optimizer.step()
        a_new, logp = draw(ac.pi, o, noise[1])
        q_new = torch.min(ac.q1(o, a_new), ac.q2(o, a_new))
        pi_loss = (log_alpha.exp().detach() * logp - q_new).mean()
        pi_optimizer.zero_grad()
        pi_loss.backward()
        pi_optimizer.step()
        if learn:
            alpha_optimizer.zero_grad()
            (-log_alpha.exp() * (logp.detach() - 2.0)).mean().backward()  # target entropy -2
            alpha_optimizer.step()
        with torch.no_grad():
            for p, q in zip(targets.parameters(), ac.parameters(), strict=True):
                p.copy_(0.995 * p + 0.005 * q)
        for key, value in (("LossQ", q_loss), ("LossPi", pi_loss), ("Entropy", -logp.mean())):
            out[key].append(value.item())
    return {
        **out,
        "ac": parameters(ac),
        "target": torch.cat([parameters(targets.q1), parameters(targets.q2)]),
    }


def draw(pi: Any, o: Tensor, xi: Tensor) -> tuple[Tensor, Tensor]:
    """The squashed sample by torch.distributions, without the stable form of its density."""
    h = pi.net(o)
    mu, std = pi.mu_layer(h), pi.log_std_layer(h).clamp(-20, 2).exp()
    u = mu + std * xi
    logp = torch.distributions.Normal(mu, std).log_prob(u) - torch.log(1 - torch.tanh(u) ** 2)
    return torch.tanh(u), logp.sum(-1)


def targets_of(learner: Any) -> Tensor:
    """The target critics' parameters, from the agent's state."""
    values = learner.state_dict()["target"]
    return torch.cat([torch.as_tensor(np.array(v)).flatten() for v in values.values()])


@pytest.mark.parametrize("alpha", [0.2, "auto_0.5"])
def test_updates_equal_an_independent_implementation(engine: str, alpha: Any) -> None:
    ac, batches, steps = small_ac(seed=1), random_batches(count=8, batch=16), 8
    start = 0.5 if isinstance(alpha, str) else alpha
    wanted = reference(copy.deepcopy(ac), batches, start, isinstance(alpha, str), steps)
    learner = make(ac, engine, alpha=alpha, batch_size=16)
    metrics = learner.update(batches)
    for key in ("LossQ", "LossPi", "Alpha", "Entropy"):
        assert metrics[key] == pytest.approx(wanted[key], rel=1e-4, abs=1e-5), key
    assert metrics["Q1Vals"].shape == metrics["Q2Vals"].shape == metrics["LogPi"].shape == (8, 16)
    assert torch.allclose(parameters(ac), wanted["ac"], atol=2e-5)
    assert torch.allclose(targets_of(learner), wanted["target"], atol=2e-5)


def test_an_update_on_several_batches_equals_one_update_each(engine: str) -> None:
    whole, single = small_ac(), small_ac()
    batches = random_batches(count=4)
    make(whole, engine).update(batches)
    learner = make(single, engine)
    for k in range(4):
        learner.update({name: values[k : k + 1] for name, values in batches.items()})
    assert torch.equal(parameters(whole), parameters(single))


def test_targets_move_by_polyak_from_a_copy_of_the_critics(engine: str) -> None:
    ac = small_ac()
    before = torch.cat([parameters(ac.q1), parameters(ac.q2)])
    learner = make(ac, engine, polyak=0.9)
    assert torch.equal(targets_of(learner), before)
    learner.update(random_batches())
    after = torch.cat([parameters(ac.q1), parameters(ac.q2)])
    assert not torch.equal(after, before)
    assert torch.allclose(targets_of(learner), 0.9 * before + 0.1 * after, atol=1e-7)


def test_state_continues_exactly(engine: str) -> None:
    first, second = small_ac(seed=0), small_ac(seed=9)
    learner, other = make(first, engine, alpha="auto"), make(second, engine, alpha="auto")
    learner.update(random_batches(count=3))
    obs = np.ones((2, 3), np.float32)
    learner.act(obs, False)
    other.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert np.array_equal(learner.act(obs, False), other.act(obs, False))
    metrics = [one.update(random_batches(count=3, seed=5)) for one in (learner, other)]
    for key in metrics[0]:
        assert np.array_equal(metrics[0][key], metrics[1][key], equal_nan=True), key
    assert torch.equal(parameters(first), parameters(second))
    assert torch.equal(targets_of(learner), targets_of(other))


def test_metrics_name_alpha_entropy_and_target(engine: str) -> None:
    metrics = make(small_ac(), engine, alpha="auto", target_entropy=-1.5).update(random_batches(count=2))
    assert metrics["TargetEntropy"].tolist() == [-1.5, -1.5]
    assert metrics["Entropy"] == pytest.approx(-metrics["LogPi"].mean(-1), abs=1e-6)
    fixed = make(small_ac(), engine).update(random_batches(count=2))
    assert fixed["Alpha"] == pytest.approx([0.2, 0.2])
    assert np.isnan(fixed["TargetEntropy"]).all()


def finite_differences(loss: Any, params: list[nn.Parameter], h: float = 1e-6) -> Tensor:
    """Central differences of a scalar function by every parameter."""
    found = []
    for p in params:
        flat = p.data.view(-1)
        for i in range(flat.numel()):
            kept = flat[i].item()
            flat[i] = kept + h
            up = loss()
            flat[i] = kept - h
            found.append((up - loss()) / (2 * h))
            flat[i] = kept
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("step", ["critic", "actor"])
def test_whole_update_gradients_are_those_of_finite_differences(step: str) -> None:
    learner = make(small_ac(activation=nn.Tanh, hidden_sizes=(4, 4)).double())
    agent, objective, alpha = learner.agent, learner.engine.objective, torch.tensor(0.2, dtype=torch.float64)
    (batch,) = split_batches(agent.to_tensors(random_batches(dtype=np.float64)))
    value = objective.critic_loss if step == "critic" else objective.actor_loss
    params = agent.critic_params if step == "critic" else agent.actor_params
    gradient = torch.autograd.grad(value(agent.networks, batch, alpha)[0], params)
    numeric = finite_differences(lambda: value(agent.networks, batch, alpha)[0].item(), params)
    assert torch.allclose(torch.cat([g.flatten() for g in gradient]), numeric, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("kind", [FourCalls, SharedCritics, SharedByAll])
def test_each_parameter_has_one_optimizer(kind: Any) -> None:
    ac = kind(*SPACES)
    critic, actor, alpha = make(ac).agent.optimizers
    assert alpha is None
    critic_params, actor_params = ({id(p) for p in o.param_groups[0]["params"]} for o in (critic, actor))
    assert not critic_params & actor_params
    assert critic_params | actor_params == {id(p) for p in ac.parameters()}
    assert critic_params == {id(p) for p in unique_parameters(ac.q1, ac.q2)}


@pytest.mark.parametrize("kind", [FourCalls, SharedCritics, SharedByAll])
def test_users_modules_are_updated_once_per_step(kind: Any) -> None:
    torch.manual_seed(0)
    ac = kind(*SPACES)
    before = [p.detach().clone() for p in ac.parameters()]
    learner = make(ac)
    learner.update(random_batches())
    for old, new in zip(before, ac.parameters(), strict=True):
        moved = (new.detach() - old).abs().max().item()
        assert 0.0005 < moved < 0.00101  # Adam's first step is lr; a second step would pass it
    assert len(targets_of(learner)) > 0


def test_targets_of_shared_critics_stay_shared_and_move_once() -> None:
    torch.manual_seed(0)
    ac = SharedCritics(*SPACES)
    before = ac.q1.encoder.weight.detach().clone()
    learner = make(ac, polyak=0.5)
    learner.update(random_batches())
    q1, q2 = learner.agent.networks.target
    assert q1.encoder.weight is q2.encoder.weight
    assert torch.allclose(q1.encoder.weight, (before + ac.q1.encoder.weight.detach()) / 2, atol=1e-7)


def test_frozen_parameters_of_a_user_stay_frozen() -> None:
    ac = FourCalls(*SPACES)
    ac.pi.encoder.requires_grad_(False)
    ac.q1.encoder.requires_grad_(False)
    before = parameters(ac.pi.encoder), parameters(ac.q1.encoder)
    make(ac).update(random_batches(count=3))
    assert torch.equal(parameters(ac.pi.encoder), before[0])
    assert torch.equal(parameters(ac.q1.encoder), before[1])


def test_a_policy_receives_noise_only_if_it_takes_it() -> None:
    obs, noise = torch.zeros(4, 3), torch.zeros(4, 2)
    ac, user = small_ac(), FourCalls(*SPACES)
    actor = make(ac).agent.networks.actor
    assert torch.equal(actor(obs, noise)[0], ac.pi.mean_action(obs))
    actor = make(user).agent.networks.actor
    assert not torch.equal(actor(obs, noise)[0], torch.tanh(user.pi.mean(obs)))


def test_unique_parameters() -> None:
    ac = SharedByAll(*SPACES)
    critics = unique_parameters(ac.q1, ac.q2)
    assert len(critics) == 2 + 2 + 2  # the encoder once, two heads
    assert len(unique_parameters(ac.pi, but_not=critics)) == 2
    ac.q1.head.requires_grad_(False)
    assert len(unique_parameters(ac.q1, ac.q2)) == 4
