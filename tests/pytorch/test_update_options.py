"""Options of an update, each against the update written out: delay, order, optimizers, schedule, targets."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from helpers import Point, make, parameters, random_batches, small_ac, train
from torch import Tensor, nn

from spinup.pytorch import losses
from spinup.pytorch.agent import UpdateOptions
from spinup.pytorch.networks.layers import BatchNorm, Dropout
from spinup.pytorch.networks.modes import switched_layers

F64 = {"dtype": np.float64}


def learner(changes: dict[str, Any] | None = None, **networks: Any) -> Any:
    """A learner on small networks in float64."""
    return make(small_ac(**networks).double(), **(changes or {}))


def test_the_policy_and_alpha_move_in_every_policy_delayth_step_counted_over_blocks() -> None:
    one, steps = learner({"policy_delay": 3, "alpha": "auto"}), []
    for block in (2, 1, 4, 1):  # steps 0 and 1; 2; 3 to 6; 7
        before = parameters(one.ac.pi), one.agent.temperature.value().item()
        metrics = one.update(random_batches(count=block, **F64))
        moved = not torch.equal(before[0], parameters(one.ac.pi))
        assert moved == (before[1] != one.agent.temperature.value().item())
        steps.append((moved, len(metrics.get("LossPi", ()))))
        assert len(metrics["LossQ"]) == len(metrics["Alpha"]) == block
        assert metrics.get("LogPi", np.zeros((0, 5))).shape == (steps[-1][1], 5)
    assert steps == [(False, 0), (True, 1), (True, 1), (False, 0)]
    assert one.agent.gradient_steps == 8


def test_a_delayed_policy_equals_critic_steps_and_a_whole_step() -> None:
    delayed, plain = learner({"policy_delay": 2}), learner()
    batches = random_batches(count=2, **F64)
    delayed.update(batches)
    agent, objective = plain.agent, plain.engine.objective
    first, second = ({k: torch.as_tensor(v[i]) for k, v in batches.items()} for i in range(2))
    loss, _ = objective.critic_loss(agent.networks, first, agent.temperature.value())
    for p, gradient in zip(agent.critic_params, torch.autograd.grad(loss, agent.critic_params), strict=True):
        p.grad = gradient
    agent.optimizers.critic.step()
    losses.polyak_update(agent.target_params, agent.online_params, 0.995)
    plain.update({k: v[None].numpy() for k, v in second.items()})
    assert torch.allclose(parameters(delayed.ac), parameters(plain.ac), atol=1e-12)


def test_actor_first_improves_the_policy_by_the_critics_from_before_the_step() -> None:
    after, first = learner({"alpha": "auto_0.5"}), learner({"alpha": "auto_0.5", "actor_first": True})
    (batch,) = ({k: torch.as_tensor(v[0]) for k, v in random_batches(**F64).items()},)
    agent, objective = after.agent, after.engine.objective
    policy_loss, _ = objective.actor_loss(agent.networks, batch, agent.temperature.value())
    metrics = first.update({k: v[None].numpy() for k, v in batch.items()})
    assert metrics["LossPi"][0] == pytest.approx(policy_loss.item())
    # The critics' loss is computed with the policy and alpha that have moved.
    agent.ac.pi.load_state_dict(first.ac.pi.state_dict())
    alpha = first.agent.temperature.value()
    assert alpha.item() != 0.5
    critic_loss, _ = objective.critic_loss(agent.networks, batch, alpha)
    assert metrics["LossQ"][0] == pytest.approx(critic_loss.item())
    assert metrics["Alpha"][0] == pytest.approx(alpha.item())


def test_betas_and_weight_decay_are_those_of_adamw() -> None:
    # Loshchilov & Hutter 2019, algorithm 2: p <- p (1 - lr decay) - lr m / (sqrt(v) + eps), both corrected.
    lr, decay, b1, b2 = 0.01, 0.1, 0.5, 0.9
    one = learner({"lr": lr, "betas": (b1, b2), "weight_decay": decay, "alpha": "auto"})
    p = one.agent.critic_params[0]
    value, m, v = p.detach().clone(), torch.zeros_like(p), torch.zeros_like(p)
    for t in range(1, 4):
        one.update(random_batches(seed=t, **F64))
        g = p.grad
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        step = (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + 1e-8)
        value = value * (1 - lr * decay) - lr * step
        assert torch.allclose(p, value, atol=1e-12)
    assert one.agent.optimizers.alpha.param_groups[0]["weight_decay"] == 0  # as in the authors' code
    assert one.agent.optimizers.actor.param_groups[0]["weight_decay"] == decay


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.8, 0.6, 0.2]),
        ("cosine", [1.0, 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6, 0.2]),
    ],
)
def test_learning_rates_of_a_schedule(schedule: str, wanted: list[float]) -> None:
    options = UpdateOptions(lr=1.0, lr_schedule=schedule, lr_end=0.2, total_updates=100)
    rates = [options.lr_at(step) for step in (0, 25, 50, 100)]
    assert rates == pytest.approx(wanted)
    assert options.lr_at(300) == pytest.approx(wanted[-1])  # a run with more epochs stays at the end


@pytest.mark.parametrize("engine", ["eager", "native"])
def test_policy_delay_and_schedules_continue_after_2_to_the_24_steps(engine: str) -> None:
    settings = {"epochs": 10_000, "steps_per_epoch": 4000, "lr_schedule": "linear", "policy_delay": 3}
    one = make(small_ac(), engine=engine, **settings)
    one.agent.gradient_steps = first = 2**24
    for optimizer in (one.agent.optimizers.actor, one.agent.optimizers.critic):
        for state in optimizer.state.values():
            state["step"].fill_(first)
    improved = [len(one.update(random_batches()).get("LossPi", ())) for _ in range(9)]
    assert improved == [0, 1, 0, 0, 1, 0, 0, 1, 0]  # (2^24 + 2) is a multiple of 3
    assert one.agent.gradient_steps == first + 9
    lr = one.agent.optimizers.critic.param_groups[0]["lr"]
    assert lr == pytest.approx(1e-3 * (1 - (first + 8) / one.agent.options.total_updates), rel=1e-12)


def test_a_schedule_is_followed_and_continues_where_it_was() -> None:
    # Adam's first step is lr in size, whatever the gradient.
    settings = {"epochs": 1, "steps_per_epoch": 100, "update_after": 0, "update_every": 1, "lr": 1e-2}
    one = learner({**settings, "lr_schedule": "linear"})
    assert one.agent.options.total_updates == 100
    rates = []
    for _ in range(3):
        one.update(random_batches(**F64))
        rates.append([o.param_groups[0]["lr"] for o in one.agent.optimizers if o])
    assert rates == [pytest.approx([rate] * 2) for rate in (1e-2, 0.99e-2, 0.98e-2)]
    other = learner({**settings, "lr_schedule": "linear"})
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    for run in (one, other):
        run.update(random_batches(seed=5, count=2, **F64))
    assert other.agent.optimizers.critic.param_groups[0]["lr"] == pytest.approx(0.96e-2)
    assert torch.equal(parameters(one.ac), parameters(other.ac))


def test_without_target_networks_the_critics_give_their_own_targets_in_one_pass() -> None:
    one = learner({"target_networks": False}, critic_norm="batch", actor_norm="batch")
    assert one.state_dict()["target"] == {}
    assert one.agent.target_params == []
    batches = random_batches(batch=8, **F64)
    twin = copy.deepcopy(one.ac)
    o, a, r, discount, o2, noise = (
        torch.from_numpy(batches[name][0])
        for name in ("obs", "action", "reward", "discount", "next_obs", "noise")
    )
    # CrossQ, Bhatt et al. 2024, figure 2: actions at o2 by running statistics, then one batch of both.
    with torch.no_grad():
        a2, logp2 = twin.pi(o2, noise[0])
    wanted = torch.zeros((), dtype=torch.float64)
    both, next_values = [], []
    for critic in (twin.q1, twin.q2):
        for layer in switched_layers(critic):
            layer.active = True
        q = critic(torch.cat([o, o2]), torch.cat([a, a2]))
        both.append(q[:8])
        next_values.append(q[8:].detach())
    y = r + discount * (torch.minimum(*next_values) - 0.2 * logp2)
    for q in both:
        wanted = wanted + (q - y).square().mean()
    gradients = torch.autograd.grad(wanted, list(twin.q1.parameters()))
    metrics = one.update(batches)
    assert metrics["LossQ"][0] == pytest.approx(wanted.item())
    for p, gradient in zip(one.ac.q1.parameters(), gradients, strict=True):
        assert torch.allclose(p.grad, gradient, atol=1e-12)
    for mine, theirs in zip(one.ac.q1.buffers(), twin.q1.buffers(), strict=True):
        assert torch.allclose(mine, theirs)  # moved once, by the joint batch, not by the policy's loss


def test_target_networks_keep_statistics_of_their_own() -> None:
    one = learner({"polyak": 0.5}, critic_norm="batch")
    target = one.agent.networks.target
    one.update(random_batches(batch=8, **F64))
    norms = [m for m in target.modules() if isinstance(m, BatchNorm)]
    online = [m for m in one.agent.networks.critics.modules() if isinstance(m, BatchNorm)]
    assert all(m.running_mean.abs().max() > 0 for m in norms)
    # The first norm sees the same inputs in both networks; parameters are averaged, statistics are not.
    assert torch.allclose(norms[0].running_mean, online[0].running_mean)
    assert not torch.equal(norms[0].weight, online[0].weight)
    assert {name for name in one.state_dict()["target"] if "running" in name}


class Counting(nn.Module):
    """Counts in which state a layer was called."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer, self.calls = layer, []

    def forward(self, x: Tensor) -> Tensor:
        """The layer's output."""
        self.calls.append((self.layer.active, len(x)))
        return self.layer(x)  # type: ignore[no-any-return]


def test_dropout_is_active_in_all_losses_and_statistics_in_their_own_alone() -> None:
    networks = {"critic_norm": "batch", "critic_dropout": 0.1, "actor_norm": "batch"}
    ac: Any = small_ac(**networks).double()
    parts = {"actor norm": ac.pi.net, "critic norm": ac.q1.q}
    for net in parts.values():
        net[0] = Counting(net[0])
    ac.q1.q[2] = Counting(ac.q1.q[2])
    assert isinstance(ac.q1.q[2].layer, Dropout)
    one = make(ac)
    one.update(random_batches(**F64))
    assert ac.pi.net[0].calls == [(False, 5), (True, 5)]  # at the next observations, in the policy's loss
    assert ac.q1.q[0].calls == [(True, 10), (False, 5)]  # in the critics' loss, in the policy's
    assert ac.q1.q[2].calls == [(True, 10), (True, 5)]
    one.act(np.zeros((1, 3), np.float32), True)
    assert ac.pi.net[0].calls[-1] == (False, 1)


def test_the_target_entropy_may_be_a_multiple_of_the_automatic_one() -> None:
    assert learner({"alpha": "auto"}).agent.options.target_entropy == -2
    assert learner({"alpha": "auto", "target_entropy": "auto_0.5"}).agent.options.target_entropy == -1


@pytest.mark.parametrize("settings", [{}, {"n_step": 3}, {"sampler": "per"}])
def test_reward_scale_multiplies_the_rewards_of_batches(settings: dict[str, Any], tmp_path: Path) -> None:
    def halved() -> gym.Env[Any, Any]:
        return gym.wrappers.TransformReward(Point(), lambda reward: 0.5 * float(reward))

    scaled, rows = train(tmp_path / "scaled", Point, epochs=2, reward_scale=0.5, **settings)
    plain, wanted = train(tmp_path / "plain", halved, epochs=2, **settings)
    assert torch.equal(parameters(scaled), parameters(plain))
    assert rows[1]["LossQ"] == wanted[1]["LossQ"]
    assert rows[1]["TestQBias"] == wanted[1]["TestQBias"]
    assert float(rows[1]["AverageEpRet"]) == pytest.approx(
        2 * float(wanted[1]["AverageEpRet"])
    )  # returns are raw


def test_weights_are_normalized_at_the_start_and_after_each_step() -> None:
    one = learner({"normalize_weights": True}, residual=True, actor_norm="batch", critic_norm="batch")

    def norms() -> list[float]:
        linear = [m for m in one.ac.modules() if isinstance(m, nn.Linear)]
        return [n for m in linear for n in m.weight.norm(dim=1).tolist()]

    assert norms() == pytest.approx([1.0] * len(norms()))
    before = parameters(one.ac)
    one.update(random_batches(count=3, **F64))
    assert norms() == pytest.approx([1.0] * len(norms()))
    assert not torch.equal(before, parameters(one.ac))


@pytest.mark.parametrize("critic", ["categorical", "quantile"])
def test_gradients_of_distributional_updates_are_those_of_finite_differences(critic: str) -> None:
    kinds = {"categorical": {"atoms": 5, "value_bound": 3.0}, "quantile": {"quantiles": 3}}
    networks = {"critic": critic, "hidden_sizes": (4,), "activation": nn.Tanh, **kinds[critic]}
    dropped = {"drop_quantiles": 1} if critic == "quantile" else {}
    one = make(small_ac(**networks).double(), critic=critic, **kinds[critic], **dropped)
    agent, objective, alpha = one.agent, one.engine.objective, torch.tensor(0.2, dtype=torch.float64)
    batch = {k: torch.as_tensor(v[0]) for k, v in random_batches(**F64).items()}
    for value, params in (
        (objective.critic_loss, agent.critic_params),
        (objective.actor_loss, agent.actor_params),
    ):
        gradient = torch.autograd.grad(value(agent.networks, batch, alpha)[0], params)
        for p, g in zip(params, gradient, strict=True):
            flat, h = p.data.view(-1), 1e-6
            for i in range(0, flat.numel(), 3):
                kept = flat[i].item()
                flat[i] = kept + h
                up = value(agent.networks, batch, alpha)[0].item()
                flat[i] = kept - h
                down = value(agent.networks, batch, alpha)[0].item()
                flat[i] = kept
                assert (up - down) / (2 * h) == pytest.approx(g.view(-1)[i].item(), abs=1e-6, rel=1e-4)


def test_a_categorical_update_written_out() -> None:
    kind = {"critic": "categorical", "atoms": 7, "value_bound": 2.0}
    one = make(small_ac(**kind).double(), **kind)
    twin, targets = copy.deepcopy(one.ac), copy.deepcopy(one.ac)
    batches = random_batches(**F64)
    o, a, r, discount, o2, noise = (
        torch.from_numpy(batches[name][0])
        for name in ("obs", "action", "reward", "discount", "next_obs", "noise")
    )
    atoms = one.ac.q1.atoms
    assert torch.allclose(atoms, torch.linspace(-2, 2, 7, dtype=torch.float64), atol=1e-6)
    a2, logp2 = twin.pi(o2, noise[0])
    nexts = [torch.softmax(q.distribution(o2, a2), -1) for q in (targets.q1, targets.q2)]
    means = torch.stack([p @ atoms for p in nexts])
    wanted = 0.0
    for b in range(5):
        p = nexts[int(means[:, b].argmin())][b]
        y = torch.zeros(7, dtype=torch.float64)
        for j in range(7):
            z = (r[b] + discount[b] * (atoms[j] - 0.2 * logp2[b])).clamp(-2, 2)
            for i in range(7):
                y[i] += p[j] * (1 - (z - atoms[i]).abs() / (4 / 6)).clamp(0, 1)
        for q in (twin.q1, twin.q2):
            log_p = torch.log_softmax(q.distribution(o[b : b + 1], a[b : b + 1])[0], -1)
            wanted += -(y * log_p).sum().item() / 5
    metrics = one.update(batches)
    assert metrics["LossQ"][0] == pytest.approx(wanted)
    assert metrics["Q1Vals"][0] == pytest.approx(twin.q1(o, a).detach().numpy())
    assert np.abs(metrics["Q1Vals"]).max() < 2.0


def test_a_quantile_update_written_out() -> None:
    kind = {"critic": "quantile", "quantiles": 4}
    one = make(small_ac(critics=3, **kind).double(), critics=3, target_critics=3, **kind)
    twin, targets = copy.deepcopy(one.ac), copy.deepcopy(one.ac)
    batches = random_batches(**F64)
    o, a, r, discount, o2, noise = (
        torch.from_numpy(batches[name][0])
        for name in ("obs", "action", "reward", "discount", "next_obs", "noise")
    )
    a2, logp2 = twin.pi(o2, noise[0])
    pooled = torch.cat([q.distribution(o2, a2) for q in (targets.q1, targets.q2, targets.q3)], -1)
    wanted = 0.0
    for b in range(5):
        kept = sorted(pooled[b].tolist())[: 12 - 6]  # 2 of each critic are dropped
        samples = [r[b].item() + discount[b].item() * (z - 0.2 * logp2[b].item()) for z in kept]
        for q in (twin.q1, twin.q2, twin.q3):
            for i, theta in enumerate(q.distribution(o[b : b + 1], a[b : b + 1])[0].tolist()):
                for y in samples:
                    u = y - theta
                    huber = 0.5 * u * u if abs(u) <= 1 else abs(u) - 0.5
                    wanted += abs((i + 0.5) / 4 - (u < 0)) * huber / (5 * 4 * 6)
    metrics = one.update(batches)
    assert metrics["LossQ"][0] == pytest.approx(wanted)
    # The policy's loss is that of the critics after their step.
    a1, logp = twin.pi(o, noise[1])
    q = torch.cat([critic.distribution(o, a1) for critic in (one.ac.q1, one.ac.q2, one.ac.q3)], -1).mean(-1)
    assert metrics["LossPi"][0] == pytest.approx((0.2 * logp - q).mean().item())


def test_the_policy_of_quantile_critics_maximizes_the_mean_of_all() -> None:
    kind = {"critic": "quantile", "quantiles": 4}
    one = make(small_ac(**kind).double(), alpha=0.0, **kind)
    with torch.no_grad():
        for value, critic in ((1.0, one.ac.q1), (5.0, one.ac.q2)):
            for p in critic.parameters():
                p.zero_()
            critic.q[-1].bias.fill_(value)
    metrics = one.update(random_batches(**F64))
    assert metrics["LossPi"][0] == pytest.approx(-3.0, abs=0.01)
