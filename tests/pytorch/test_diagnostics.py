"""Diagnostics: hand-computed values, no influence on a run, every kind of run has its columns."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from fake_transport import FakeTransport
from goals import PointReach
from gymnasium.spaces import Box, Dict, MultiDiscrete
from helpers import Point, SharedByAll, make_agent, parameters, replay_buffer, small_ac, train, without_timing
from images import Noise
from torch import nn

from spinup.config import SACConfig
from spinup.interfaces import Episode, Trace
from spinup.pytorch.diagnostics import (
    LEAST_ROWS,
    Estimates,
    NetworkDiagnostics,
    QBias,
    gradient_norm,
)
from spinup.seeding import OF_EPOCH_STREAM, generator

SPACE = Box(-1.0, 1.0, (2,), np.float32)
NARROW = {"hidden_sizes": (8, 8), "critic_hidden_sizes": (8, 8)}
BASE = (
    "SaturatedActions", "DeadUnitsPi", "DeadUnitsQ1", "DeadUnitsQ2", "TestQVals", "TestQBias", "CriticSpread",
    "GradNormPi", "GradNormQ",
)  # fmt: skip


def measured(ac: Any = None, epoch: int = 1, rows: int = 50, **settings: Any) -> tuple[Any, dict[str, float]]:
    """Diagnostics of an agent over random rows, and the columns of an epoch."""
    config = SACConfig(**{"batch_size": 5, **settings})
    ac = small_ac() if ac is None else ac
    agent, objective, _ = make_agent(ac, config, SPACE)
    replay = replay_buffer(rows or 1, 3, 2, **settings)
    rng = np.random.default_rng(0)
    columns = {
        "obs": rng.standard_normal((rows, 3)), "action": rng.uniform(-1, 1, (rows, 2)),
        "reward": rng.standard_normal(rows), "next_obs": rng.standard_normal((rows, 3)),
    }  # fmt: skip
    kept = {name: values.astype(np.float32) for name, values in columns.items()}
    if rows:
        replay.add({**kept, "terminated": np.zeros(rows, np.bool_)})
    found = NetworkDiagnostics(agent, objective, replay, config, SPACE)
    return found, found.of_epoch(epoch)


def test_saturated_actions_are_those_near_a_bound() -> None:
    ac = small_ac()
    with torch.no_grad():
        ac.pi.mu_layer.weight.zero_()
        ac.pi.mu_layer.bias.copy_(torch.tensor([10.0, 0.0]))
        ac.pi.log_std_layer.weight.zero_()
        ac.pi.log_std_layer.bias.fill_(-10.0)
    assert measured(ac)[1]["SaturatedActions"] == 0.5


def test_bounds_of_the_action_space_are_divided_out() -> None:
    ac, space = small_ac(low=-3.0, high=1.0), Box(-3.0, 1.0, (2,), np.float32)
    with torch.no_grad():
        ac.pi.mu_layer.weight.zero_()
        ac.pi.mu_layer.bias.zero_()  # the middle of the range, -1
    config = SACConfig(batch_size=5)
    agent, objective, _ = make_agent(ac, config, space)
    found, _ = measured()
    shifted = NetworkDiagnostics(agent, objective, found.replay, config, space)
    assert shifted.of_epoch(1)["SaturatedActions"] < 0.2  # about 0.5 if bounds of -1 and 1 are assumed


def test_dead_units_are_those_zero_for_every_row() -> None:
    ac = small_ac()
    with torch.no_grad():
        ac.q1.q[0].bias[:4] = -1e3  # 4 of the 16 hidden units
        ac.q1.q[2].bias[:4] = 1e3
        ac.q1.q[2].bias[4:] = -1e3
    found = measured(ac)[1]
    assert found["DeadUnitsQ1"] == pytest.approx((4 + 4) / 16)
    assert found["DeadUnitsQ2"] < 0.5


def test_dead_units_are_dormant_ones_for_tau_0() -> None:
    """By the score of Sokar et al. (2023): the mean of |h_i|, divided by its mean over the layer."""
    ac = small_ac(hidden_sizes=(64,))
    with torch.no_grad():
        ac.q1.q[0].bias -= 1.0
    found, values = measured(ac, rows=200)
    rng = generator(0, OF_EPOCH_STREAM, 1)
    batch = found.replay.sample_uniform(LEAST_ROWS, rng)
    h = ac.q1.q[:2](torch.from_numpy(np.concatenate([batch["obs"][0], batch["action"][0]], -1)))
    score = h.abs().mean(0) / h.abs().mean()
    share = (score <= 0.0).double().mean().item()
    assert 0.0 < share < 1.0
    assert values["DeadUnitsQ1"] == share


def test_dead_units_are_left_out_for_other_activations() -> None:
    found, values = measured(small_ac(activation=nn.Tanh))
    assert not [name for name in (*found.columns, *values) if name.startswith("DeadUnits")]


def test_spread_is_the_standard_deviation_over_critics() -> None:
    ac = small_ac()
    ac.q2.load_state_dict(ac.q1.state_dict())
    assert measured(ac)[1]["CriticSpread"] == 0.0
    with torch.no_grad():
        ac.q2.q[-1].bias += 3.0
    assert measured(ac)[1]["CriticSpread"] == pytest.approx(1.5, rel=1e-5)


def test_gradient_norm_by_hand_leaves_grad_alone() -> None:
    w = nn.Parameter(torch.tensor([3.0, 4.0]))
    unused = nn.Parameter(torch.ones(2))
    assert gradient_norm(0.5 * w.square().sum(), [w, unused]) == pytest.approx(5.0)
    assert w.grad is None


def test_no_rows_no_values() -> None:
    assert measured(rows=0)[1] == {}


def test_epochs_and_seeds_have_batches_of_their_own() -> None:
    assert measured(epoch=1)[1] == measured(epoch=1)[1]
    assert measured(epoch=1)[1] != measured(epoch=2)[1]
    assert measured(epoch=1)[1] != measured(epoch=1, seed=1)[1]


def test_measuring_changes_nothing() -> None:
    ac = small_ac(critic_norm="batch", critic_dropout=0.1)
    found, _ = measured(ac, sampler="per")
    agent = found.agent
    before = [t.clone() for t in agent.state_tensors()], torch.get_rng_state(), agent.rng.bit_generator.state
    sampler = found.replay.sampler.state_dict()
    found.of_epoch(2)
    assert all(map(torch.equal, before[0], agent.state_tensors()))
    assert torch.equal(before[1], torch.get_rng_state())
    assert before[2] == agent.rng.bit_generator.state
    assert str(found.replay.sampler.state_dict()) == str(sampler)
    assert all(p.grad is None for p in ac.parameters())
    assert not any(m._forward_hooks for m in ac.modules())


def bias_of(
    rewards: list[float], q: list[float], last_value: float, *, gamma: float = 0.5, **changes: Any
) -> float:
    """The bias over one episode, with all steps kept and no bonus unless changed."""
    stride, terminated, scale = (
        changes.get(k, d) for k, d in [("stride", 1), ("terminated", False), ("scale", 1.0)]
    )
    nothing = np.zeros((len(q), 1), np.float32)
    trace = Trace(np.array(rewards), nothing, nothing, stride, nothing[0], terminated)
    bias = QBias(gamma)
    bias.add(trace, scale, Estimates(np.array(q), np.array(changes.get("bonus", [0.0] * len(q))), last_value))
    return bias.bias()


def test_bias_by_hand() -> None:
    """Rewards 1, 2 at gamma 0.5 give the returns 2 and 2."""
    assert bias_of([1.0, 2.0], [5.0, 3.0], 99.0, terminated=True) == pytest.approx((3.0 + 1.0) / 2)
    # Cut: e_1 = 3 - (2 + 4/2), e_0 = 5 - (1 + (2 + 4/2) / 2); weights 1/2 and 3/4.
    assert bias_of([1.0, 2.0], [5.0, 3.0], 4.0) == pytest.approx((-1.0 + 2.0) / 1.25)


def test_soft_returns_contain_the_bonus_of_later_steps_by_hand() -> None:
    """W_2 = 3; W_1 = 2 + (30 + 3) / 2 = 18.5; W_0 = 1 + (20 + 18.5) / 2 = 20.25."""
    given = {"bonus": [10.0, 20.0, 30.0], "terminated": True}
    assert bias_of([1.0, 2.0, 3.0], [20.25, 18.5, 3.0], 0.0, **given) == pytest.approx(0.0)
    assert bias_of([0.1, 0.2, 0.3], [20.25, 18.5, 3.0], 0.0, scale=10.0, **given) == pytest.approx(0.0)


def test_steps_that_are_not_kept_have_the_bonus_of_the_last_kept_one_by_hand() -> None:
    """Steps 0 and 2 of 4 are kept: W_3 = 4, W_2 = 3 + (8 + 4) / 2 = 9, W_1 = 2 + (8 + 9) / 2 = 10.5,
    W_0 = 1 + (6 + 10.5) / 2 = 9.25."""
    given = {"bonus": [6.0, 8.0], "stride": 2, "terminated": True}
    assert bias_of([1.0, 2.0, 3.0, 4.0], [9.25, 9.0], 0.0, **given) == pytest.approx(0.0)
    assert bias_of([1.0, 2.0, 3.0, 4.0], [10.25, 12.0], 0.0, **given) == pytest.approx(2.0)


@pytest.mark.parametrize("terminated", [False, True])
@pytest.mark.parametrize("by", [-3.0, 0.0, 7.0])
def test_a_constant_error_is_found_with_and_without_an_end(terminated: bool, by: float) -> None:
    """Reward 1 and bonus 2 forever have the value (1 + 0.9 * 2) / (1 - 0.9) = 28 at gamma 0.9."""
    if terminated:
        left = [sum(0.9**i for i in range(20 - t)) for t in range(20)]
        assert bias_of([1.0] * 20, [v + by for v in left], 0.0, terminated=True, gamma=0.9) == pytest.approx(
            by
        )
    else:
        found = bias_of([1.0] * 20, [28.0 + by] * 20, 30.0 + by, bonus=[2.0] * 20, gamma=0.9)
        assert found == pytest.approx(by)


def test_bias_is_nan_without_discounting_and_without_an_end() -> None:
    assert math.isnan(bias_of([1.0] * 5, [1.0] * 5, 1.0, gamma=1.0))


def test_the_bias_of_a_test_by_the_networks() -> None:
    """Constant networks: Q = 5 for rewards of 1 and the entropy of a policy whose standard deviation is
    exp(-3); without tanh's correction at 0 it is 0.5 log(2 pi e) - 3 = -1.58 for each of the two actions."""
    ac = small_ac()
    with torch.no_grad():
        for layer, bias in (
            (ac.q1.q[-1], 4.0),
            (ac.q2.q[-1], 6.0),
            (ac.pi.mu_layer, 0.0),
            (ac.pi.log_std_layer, -3.0),
        ):
            layer.weight.zero_()
            layer.bias.fill_(bias)
    found, _ = measured(ac, alpha=0.5, gamma=0.5)
    steps = 40
    obs, actions = np.zeros((steps, 3), np.float32), np.zeros((steps, 2), np.float32)
    episode = Episode(0, 40.0, steps, Trace(np.ones(steps), obs, actions, 1, obs[0], True))
    columns = found.of_test([episode] * 50, 0)
    bonus = 0.5 * 2 * (0.5 * math.log(2 * math.pi * math.e) - 3.0)
    ends = [sum(0.5**i * (1.0 + (i > 0) * bonus) for i in range(steps - t)) for t in range(steps)]
    assert columns["TestQVals"] == pytest.approx(5.0)
    assert columns["TestQBias"] == pytest.approx(5.0 - np.mean(ends), abs=0.05)  # of 2,000 draws
    assert found.of_test([Episode(0, 1.0, 1)], 0) == {}


class Off:
    """No diagnostics."""

    def __init__(self, *args: Any) -> None:
        self.columns: tuple[str, ...] = ()

    def of_test(self, *args: Any) -> dict[str, float]:
        return {}

    def of_epoch(self, epoch: int) -> dict[str, float]:
        return {}


IMAGES = {"ac_kwargs": {"hidden_sizes": (8,), "encoder": {"filters": 4, "layers": 2, "features": 6}}}
SMALL_EPOCHS = {"steps_per_epoch": 60}
SAME: dict[str, tuple[Any, dict[str, Any]]] = {
    "eager": (Point, {"engine": "eager"}),
    "native": (Point, {"engine": "native", "test_every": 70}),
    "crossq": (Point, {"recipe": "crossq", "ac_kwargs": NARROW, "update_after": 40}),
    "droq": (Point, {"recipe": "droq", "ac_kwargs": NARROW, "update_after": 40, "updates_per_step": 1.0}),
    "per": (Point, {"sampler": "per", "normalize_observations": True, "normalize_rewards": True}),
    "her": (PointReach, {"sampler": "her"}),
    "global generator": (Point, {"actor_critic": SharedByAll}),
    "images": (Noise, {**IMAGES, **SMALL_EPOCHS}),
    "discrete": ("CartPole-v1", {"num_envs": 2}),
    "lockstep": (Point, {"collectors": 2, "collect": "lockstep", "transport": FakeTransport}),
}


@pytest.mark.parametrize("kind", SAME)
def test_a_run_has_the_same_numbers_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    env_fn, given = SAME[kind]

    def run(folder: Path) -> Any:
        settings = dict(given)
        if "transport" in settings:
            settings["transport"] = settings["transport"]()
        return train(folder, env_fn, **settings)

    ac, rows = run(tmp_path / "with")
    monkeypatch.setattr("spinup.pytorch.sac.NetworkDiagnostics", Off)
    other, plain = run(tmp_path / "without")
    assert len(rows[0]) > len(plain[0])
    assert torch.equal(parameters(ac), parameters(other))
    documented = list(plain[0])[: list(plain[0]).index("StepsPerSecond")]
    first, second = ([{name: row[name] for name in documented} for row in part] for part in (rows, plain))
    assert without_timing(first) == without_timing(second)


class Named(gym.Env[Any, Any]):
    """Point with a Dict observation."""

    def __init__(self) -> None:
        self.point = Point(ends=True)
        self.action_space = self.point.action_space
        self.observation_space = Dict({"seen": Box(-9, 9, (1,)), "hidden": Box(-9, 9, (1,))})

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        obs, info = self.point.reset(seed=seed)
        return {"seen": obs[:1], "hidden": obs[1:]}, info

    def step(self, action: Any) -> Any:
        obs, *rest = self.point.step(action)
        return {"seen": obs[:1], "hidden": obs[1:]}, *rest


class FlatActions(gym.ActionWrapper[Any, Any, Any]):
    """Point with two switches as action."""

    def __init__(self) -> None:
        super().__init__(Point(ends=True))
        self.action_space = MultiDiscrete([2, 3])

    def action(self, action: Any) -> Any:
        return np.array([action.sum() / 3], np.float32)


V1 = {"variant": "sac_v1"}
KINDS: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    "eager": (Point, {"engine": "eager"}, BASE),
    "native, learned alpha": (Point, {"engine": "native", "alpha": "auto"}, BASE),
    "sac_v1": (Point, V1, (*BASE[:4], "DeadUnitsV", *BASE[4:])),
    "normalized": (Point, {"normalize_observations": True, "normalize_rewards": True}, BASE),
    "critic_keys": (Named, {"critic_keys": ("hidden",)}, BASE),
    "discrete": ("CartPole-v1", {}, BASE[1:]),
    "tqc": (Point, {"recipe": "tqc"}, BASE),
    "no tests": (Point, {"num_test_episodes": 0}, (*BASE[:4], *BASE[6:])),
    "one critic": (Point, {"critics": 1, "target_critics": 1}, (*BASE[:3], *BASE[4:6], *BASE[7:])),
    "tests of their own": (Point, {"test_every": 70}, BASE),
    "vector": (Point, {"num_envs": 4}, BASE),
    "her": (PointReach, {"sampler": "her"}, BASE),
    "per, n-step": (Point, {"sampler": "per", "n_step": 3}, BASE),
    "images": (Noise, {**IMAGES, **SMALL_EPOCHS}, (*BASE[:1], "DeadUnitsEncoder", *BASE[1:])),
    "images of a discrete task": (
        lambda: Noise("dict", discrete=True),
        {**IMAGES, **SMALL_EPOCHS},
        ("DeadUnitsEncoder", *BASE[1:]),
    ),
    "MultiDiscrete": (lambda: FlatActions(), {}, BASE[1:]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_columns_follow_the_documented_ones(tmp_path: Path, kind: str) -> None:
    env_fn, settings, wanted = KINDS[kind]
    _, rows = train(tmp_path, env_fn, **settings)
    names = list(rows[0])
    assert tuple(names[names.index("StepsPerSecond") + 1 :]) == (*wanted, "UpdatesPerStep")
    assert all(math.isfinite(float(row[name])) for row in rows for name in (*wanted, "UpdatesPerStep"))
    assert float(rows[-1]["UpdatesPerStep"]) == 1.0


@pytest.mark.parametrize("recipe", ["redq", "simba", "flash"])
def test_recipes_have_their_columns(tmp_path: Path, recipe: str) -> None:
    changes: dict[str, Any] = {"steps_per_epoch": 60, "epochs": 1}
    if recipe == "redq":
        changes["critics"] = 3
    _, rows = train(tmp_path, recipe=recipe, ac_kwargs=NARROW, **changes)
    assert math.isfinite(float(rows[0]["TestQBias"]))
    assert math.isfinite(float(rows[0]["GradNormQ"]))


def test_an_offline_run_has_its_columns_from_the_prior_data(tmp_path: Path) -> None:
    train(tmp_path / "made", checkpoint_every="epoch")
    offline = {"prior_data": str(tmp_path / "made"), "offline": True}
    _, rows = train(tmp_path / "offline", **offline)
    assert all(math.isfinite(float(rows[0][name])) for name in BASE)
    _, mixed = train(tmp_path / "mixed", prior_data=str(tmp_path / "made"))
    assert all(math.isfinite(float(mixed[0][name])) for name in BASE)


def test_within_an_epoch_they_are_nan(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    train(tmp_path, callback=lambda row, ac: seen.append(row), callback_every=50, epochs=1)
    assert math.isnan(seen[0]["GradNormQ"])
    assert math.isfinite(seen[1]["GradNormQ"])
    assert list(seen[0]) == list(seen[1])


def test_a_resumed_run_keeps_the_columns_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that an earlier version began has none of the columns."""
    with monkeypatch.context() as patch:
        patch.setattr("spinup.pytorch.sac.NetworkDiagnostics", Off)
        patch.setattr("spinup.training.Trainer._set_diagnostics", lambda *args: None)
        train(tmp_path, callback=lambda row, ac: False)
    _, rows = train(tmp_path, resume="again")
    assert len(rows) == 2
    assert not {"TestQBias", "UpdatesPerStep"} & set(rows[1])


def test_a_resumed_run_has_the_same_diagnostics(tmp_path: Path) -> None:
    _, whole = train(tmp_path / "whole")
    train(tmp_path / "cut", callback=lambda row, ac: False)
    _, rows = train(tmp_path / "cut", resume="again")
    assert without_timing(rows) == without_timing(whole)
