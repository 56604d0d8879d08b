"""Ingredients combined: each trains, is saved and loaded; what does not fit is refused in one line."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers import (
    FourCalls,
    Point,
    make,
    make_agent,
    parameters,
    random_batches,
    read_rows,
    small_ac,
    train,
    without_timing,
)
from rooms import Rooms

from spinup.config import SACConfig
from spinup.errors import ConfigError
from spinup.pytorch.engines.registry import ENGINES

NETWORKS: list[dict[str, Any]] = [
    {},
    {"critic_norm": "layer", "critic_dropout": 0.1},
    {"critic_norm": "batch_renorm", "actor_norm": "batch"},
    {"residual": True, "critic_norm": "layer", "actor_norm": "layer", "actor_dropout": 0.1},
    {"residual": True, "critic_norm": "batch", "actor_norm": "batch"},
    {"residual": True, "critic_norm": "layer", "init": "simba", "log_std_range": (-10.0, 2.0)},
]
CRITICS: list[dict[str, Any]] = [
    {},
    {"critics": 4, "target_critics": 2},
    {"policy_q": "mean"},
    {"critic": "categorical", "atoms": 11},
    {"critic": "quantile", "quantiles": 5, "critics": 3},
]
UPDATES: list[dict[str, Any]] = [
    {},
    {"target_networks": False},
    {"policy_delay": 2, "actor_first": True, "alpha": "auto_0.1", "target_entropy": "auto_0.5"},
    {"alpha": "auto", "alpha_loss": "log_alpha"},
    {"weight_decay": 0.01, "betas": (0.5, 0.99), "lr_schedule": "cosine", "normalize_weights": True},
]


@pytest.mark.parametrize(
    ("networks", "critics", "update"), list(itertools.product(NETWORKS, CRITICS, UPDATES))
)
def test_every_combination_makes_finite_updates_and_continues_exactly(
    networks: dict[str, Any], critics: dict[str, Any], update: dict[str, Any]
) -> None:
    kinds = {k: v for k, v in critics.items() if k in ("critics", "critic", "atoms", "quantiles")}
    learners = [make(small_ac(seed=i, **networks, **kinds), **critics, **update) for i in range(2)]
    batches = random_batches(count=4)
    batches |= learners[0].engine.draw_noise(batches, np.random.default_rng(0))
    parts = [{k: v[i] for k, v in batches.items()} for i in (slice(0, 3), slice(3, 4))]
    metrics = learners[0].update(parts[0])
    assert all(np.isfinite(metrics[key]).all() for key in ("LossQ", "LossPi", "Q1Vals", "LogPi", "Alpha"))
    learners[1].load_state_dict(learners[0].state_dict())
    states = []
    for one in learners:
        one.agent.load_state_dict({**one.state_dict(), "torch_rng": learners[0].state_dict()["torch_rng"]})
        torch.manual_seed(7)
        one.update(parts[1])
        states.append(torch.cat([parameters(one.ac), *(b.flatten().float() for b in one.ac.buffers())]))
    assert torch.equal(*states)
    assert states[0].isfinite().all()


RESUMED: list[dict[str, Any]] = [
    {"ac_kwargs": {"critic_norm": "layer", "critic_dropout": 0.2, "actor_dropout": 0.1}},
    {"ac_kwargs": {"critic_norm": "batch_renorm", "actor_norm": "batch"}, "target_networks": False},
    {"hold_noise": 16, "num_envs": 2},
    {"policy_delay": 3, "updates_per_step": 2},
    {"lr_schedule": "linear", "lr_end": 1e-5, "betas": (0.5, 0.9), "weight_decay": 0.1},
    {"critic": "quantile", "critics": 3, "n_step": 3},
]


def interrupt(row: dict[str, Any], ac: Any) -> None:
    """A callback that ends the second epoch as a crash would."""
    if row["Epoch"] == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("settings", RESUMED)
def test_runs_resume_exactly(settings: dict[str, Any], tmp_path: Path) -> None:
    networks = {"hidden_sizes": (8, 8), **settings.get("ac_kwargs", {})}
    settings = {**settings, "ac_kwargs": networks, "steps_per_epoch": 50, "alpha": "auto"}
    whole, rows = train(tmp_path / "whole", Point, epochs=3, **settings)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "half", Point, epochs=3, callback=interrupt, **settings)
    resumed, _ = train(tmp_path / "half", Point, epochs=3, resume=True, **settings)
    assert torch.equal(parameters(whole), parameters(resumed))
    for mine, theirs in zip(whole.buffers(), resumed.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    assert without_timing(rows) == without_timing(read_rows(tmp_path / "half"))


@pytest.mark.parametrize("networks", NETWORKS)
@pytest.mark.parametrize(
    ("env", "settings"),
    [(Point, {}), (Rooms, {}), (Rooms, {"target_networks": False}), (Point, {"variant": "sac_v1"})],
)
def test_networks_of_every_variant_train_are_saved_loaded_and_act_by_running_statistics(
    networks: dict[str, Any], env: Any, settings: dict[str, Any], tmp_path: Path
) -> None:
    by_batch = str(networks.get("critic_norm")).startswith("batch")
    kwargs = {"hidden_sizes": (8, 8), **networks}
    if env is Rooms:
        kwargs.pop("log_std_range", None)
    if by_batch and settings.get("variant"):
        with pytest.raises(ConfigError, match=r"^critic_norm='batch\w*': variant='sac_v1' has no [^\n]*$"):
            train(tmp_path, env, epochs=1, ac_kwargs=kwargs, **settings)
        return
    ac, rows = train(tmp_path, env, epochs=1, ac_kwargs=kwargs, **settings)
    assert np.isfinite(float(rows[0]["LossQ"]))
    loaded: Any = torch.load(tmp_path / "pyt_save" / "model.pt", weights_only=True)
    obs = np.random.default_rng(0).standard_normal((6, 2)).astype(np.float32)
    for model in (ac, loaded, loaded.train(), loaded.eval()):
        alone = np.stack([model.act(row, True) for row in obs])
        assert np.allclose(model.act(obs, True), alone, atol=1e-6)  # no row depends on the others
        assert np.allclose(alone, np.stack([ac.act(row, True) for row in obs]))


def test_the_policy_acts_as_the_module_does() -> None:
    for networks in NETWORKS:
        learner = make(small_ac(**networks))
        learner.update(random_batches(count=3))
        obs = np.random.default_rng(1).standard_normal((3, 3)).astype(np.float32)
        assert np.allclose(learner.act(obs, True), learner.ac.act(obs, True), atol=1e-6)


def test_held_noise_repeats_in_the_policys_actions() -> None:
    learner = make(small_ac(), hold_noise=16)
    obs = np.zeros((1, 3), np.float32)
    actions = [tuple(learner.act(obs, False)[0]) for _ in range(200)]
    learner.act(obs, True)  # a test draws nothing
    repeats = sum(a == b for a, b in itertools.pairwise(actions))
    # Zeta(2) up to 16 has mean 3.38 / 1.584 = 2.13 steps.
    assert repeats / 199 == pytest.approx(1 - 1 / 2.13, abs=0.12)
    assert len({tuple(learner.act(obs, True)[0]) for _ in range(3)}) == 1


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"ac_kwargs": {"critic_norm": "layers"}}, r"critic_norm='layers': give one of layer, [^\n]*'layer'\?"),
    ({"ac_kwargs": {"actor_norm": True}}, r"actor_norm=True: give one of layer, batch, batch_renorm"),
    ({"ac_kwargs": {"critic_dropout": 1.0}}, r"critic_dropout=1.0: give a probability"),
    ({"ac_kwargs": {"residual": 1}}, r"residual=1: give True or False"),
    (
        {"ac_kwargs": {"init": "xavier"}},
        r"init='xavier': give one of xavier_uniform, [^\n]*'xavier_uniform'\?",
    ),
    ({"ac_kwargs": {"log_std_range": (2, -10)}}, r"log_std_range=\(2, -10\): give two increasing numbers"),
    ({"ac_kwargs": {"log_std_range": "wide"}}, r"log_std_range='wide': give two increasing numbers"),
    (
        {"ac_kwargs": {"log_std_range": (-5, 2)}, "env_fn": Rooms},
        r"log_std_range applies to Gaussian policies, and this environment's actions are Discrete",
    ),
    ({"alpha_loss": "log_alpha"}, r"alpha_loss=log_alpha has no effect with a fixed alpha=0.2"),
    ({"alpha": "auto", "alpha_loss": "log"}, r"alpha_loss='log': give one of alpha, log_alpha"),
    (
        {"ac_kwargs": {"residual": True, "hidden_sizes": (8, 4)}},
        r"hidden_sizes=\(8, 4\): residual blocks are",
    ),
    ({"ac_kwargs": {"residual": True, "hidden_sizes": ()}}, r"hidden_sizes=\(\): residual blocks are"),
    ({"ac_kwargs": {"critic_hidden_sizes": 8}}, r"critic_hidden_sizes=8: give a list of whole numbers"),
    ({"ac_kwargs": {"critic": "quantile"}}, r"ac_kwargs has 'critic': give critic as a keyword argument"),
    ({"critic": "quantiles"}, r"critic='quantiles': give one of scalar, [^\n]*'quantile'\?"),
    ({"critic": "quantile", "drop_quantiles": 25}, r"drop_quantiles=25 of quantiles=25"),
    ({"critic": "categorical", "atoms": 1}, r"atoms=1: give at least 2"),
    ({"critic": "categorical", "value_bound": 0}, r"value_bound=0: give a number > 0"),
    ({"quantiles": 10}, r"quantiles=10 has no effect with critic='scalar': give critic='quantile'"),
    ({"critic": "quantile", "variant": "sac_v1"}, r"critic='quantile' is defined for variant='sac'"),
    ({"critic": "categorical", "env_fn": Rooms}, r"critic='categorical' is defined for variant='sac'"),
    ({"critic": "quantile", "actor_critic": FourCalls}, r"critic='quantile': FourCalls takes no keyword"),
    ({"target_networks": False, "variant": "sac_v1"}, r"target_networks=False: variant='sac_v1' needs"),
    ({"target_networks": "no"}, r"target_networks='no': give True or False"),
    ({"hold_noise": 4, "env_fn": Rooms}, r"hold_noise=4: a policy of discrete actions"),
    ({"hold_noise": 4, "actor_critic": FourCalls}, r"hold_noise=4: FourCalls.act draws its own noise"),
    ({"betas": 0.9}, r"betas=0.9: give two numbers"),
    ({"betas": (0.9, 1.0)}, r"betas=\(0.9, 1.0\): give two numbers"),
    ({"weight_decay": -1}, r"weight_decay=-1: give a number >= 0"),
    ({"lr_schedule": "step"}, r"lr_schedule='step': give one of constant, linear, cosine"),
    ({"lr_end": 1e-4}, r"lr_end=0.0001 has no effect with lr_schedule='constant'"),
    ({"policy_delay": 0}, r"policy_delay=0: give a whole number >= 1"),
    ({"alpha": "auto", "target_entropy": "auto_x"}, r"target_entropy='auto_x': give 'auto'"),
    ({"target_entropy": "auto_0.5"}, r"target_entropy=auto_0.5 has no effect with a fixed alpha"),
]


@pytest.mark.parametrize(("settings", "message"), REFUSED)
def test_what_cannot_work_is_refused_in_one_line(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    settings = dict(settings)
    with pytest.raises(ConfigError, match=rf"^{message}[^\n]*$"):
        train(tmp_path, settings.pop("env_fn", Point), **settings)


SPACE = Box(-1.0, 1.0, (2,), np.float32)
# What engines beside eager do not run, with a part of their reasons; they run everything else.
SUPPORT: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({}, {}, {}),
    ({"critic_norm": "layer"}, {}, {}),
    ({"residual": True}, {}, {"native": "Residual"}),
    ({"init": "orthogonal"}, {}, {}),
    ({"log_std_range": (-5.0, 2.0)}, {}, {"native": "log_std_range"}),
    ({}, {"alpha": "auto", "alpha_loss": "log_alpha"}, {}),
    ({"critic_dropout": 0.1}, {}, {"cuda_graph": "dropout"}),
    ({"actor_dropout": 0.1}, {}, {"native": "dropout only in critics", "cuda_graph": "dropout"}),
    ({"actor_norm": "batch"}, {}, {}),
    ({"critic_norm": "batch_renorm"}, {"target_networks": False}, {}),
    ({"critic_norm": "batch_renorm"}, {}, {"native": "without target networks"}),
    ({}, {"target_networks": False}, {}),
    ({}, {"actor_first": True}, {"native": "actor_first"}),
    ({}, {"policy_delay": 2}, {}),
    ({}, {"hold_noise": 4}, {}),
    ({}, {"policy_q": "mean"}, {}),
    ({}, {"betas": (0.5, 0.999)}, {}),
    ({}, {"weight_decay": 0.1}, {}),
    ({}, {"lr_schedule": "linear"}, {}),
    ({}, {"normalize_weights": True}, {"native": "normalize_weights"}),
    ({"critic": "categorical"}, {"critic": "categorical"}, {"native": "CategoricalSACObjective"}),
    ({"critic": "quantile"}, {"critic": "quantile"}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("networks", "settings", "refused"), SUPPORT)
def test_which_engine_runs_what(
    networks: dict[str, Any],
    settings: dict[str, Any],
    refused: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("spinup.pytorch.engines.native.missing_compiler", lambda: None)
    update = make_agent(small_ac(**networks), SACConfig(batch_size=5, **settings), SPACE)
    assert ENGINES["eager"].unsupported_reason(*update) is None
    for name in ("native", "compile", "cuda_graph"):
        kind: Any = ENGINES[name]
        monkeypatch.setattr(kind, "supported", dataclasses.replace(kind.supported, devices=("cpu",)))
        found = kind.unsupported_reason(*update)
        assert refused[name] in str(found) if name in refused else found is None, name
