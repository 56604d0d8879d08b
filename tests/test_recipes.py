"""Recipes: their settings, how single ones are replaced, what config.json keeps, and that each one trains."""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SMALL, Point, parameters, read_rows, train, without_timing
from rooms import Rooms

from spinup import sac_pytorch
from spinup.cli.main import main
from spinup.cli.recipes import relative_cost
from spinup.config import SACConfig, field_defaults
from spinup.errors import ArgumentError, ConfigError
from spinup.pytorch.networks.actor_critic import DiscreteMLPActorCritic, MLPActorCritic
from spinup.pytorch.networks.layers import BatchRenorm
from spinup.recipes import RECIPES, recipe_warnings, with_recipe
from spinup.tf1.sac import sac_tf1

# Small enough for a test, and few enough steps between updates that schedules and delays show.
TINY: dict[str, Any] = {
    key: SMALL[key]
    for key in ("steps_per_epoch", "start_steps", "num_test_episodes", "max_ep_len", "threads")
} | {"update_after": 40, "batch_size": 8}
LESS: dict[str, dict[str, Any]] = {
    "laptop": {"ac_kwargs": {"hidden_sizes": (8, 8)}},
    "redq": {"updates_per_step": 2, "policy_delay": 2, "ac_kwargs": {"hidden_sizes": (8, 8)}},
    "droq": {"updates_per_step": 2, "policy_delay": 2, "ac_kwargs": {"hidden_sizes": (8, 8)}},
    "crossq": {"ac_kwargs": {"hidden_sizes": (8, 8), "critic_hidden_sizes": (16, 16)}},
    "simba": {"ac_kwargs": {"hidden_sizes": (8,), "critic_hidden_sizes": (8, 8)}},
    "tqc": {"ac_kwargs": {"hidden_sizes": (8, 8)}},
    "flash": {"ac_kwargs": {"hidden_sizes": (8, 8), "critic_hidden_sizes": (8, 8)}, "num_envs": 2},
    "rlpd": {"updates_per_step": 2, "policy_delay": 2, "ac_kwargs": {"hidden_sizes": (8, 8)}},
}


def test_every_recipe_has_a_small_version_here() -> None:
    assert list(LESS) == list(RECIPES)


def test_settings_that_published_ones_share() -> None:
    for name, recipe in RECIPES.items():
        if name == "laptop":
            continue
        config = SACConfig(**{k: v for k, v in recipe.settings.items() if k in field_defaults()})
        assert config.learns_alpha, name
        assert (config.gamma, config.replay_size, config.n_step, config.num_envs) == (0.99, 1_000_000, 1, 1)
        assert config.polyak == (0.99 if name == "flash" else 0.995)
        assert config.batch_size == (512 if name == "flash" else 256)
        assert config.update_every == 1


# Settings by which a recipe differs from SAC with batches of 256, lr 3e-4 and one update after each step.
BATCH_RENORM = {"actor_norm": "batch_renorm", "critic_norm": "batch_renorm"}
XAVIER, LOG_ALPHA = {"init": "xavier_uniform"}, {"alpha_loss": "log_alpha"}
UTD_20 = {"updates_per_step": 20, "policy_delay": 20, "start_steps": 5000, "update_after": 5000}
PUBLISHED: dict[str, dict[str, Any]] = {
    "redq": {**UTD_20, **LOG_ALPHA, "critics": 10, "target_critics": 2, "ac_kwargs": XAVIER},
    "droq": {
        **UTD_20, **LOG_ALPHA, "policy_q": "mean",
        "ac_kwargs": {**XAVIER, "critic_norm": "layer", "critic_dropout": 0.01},
    },
    "crossq": {
        "lr": 1e-3, "betas": (0.5, 0.999), "policy_delay": 3, "target_networks": False,
        "start_steps": 5000, "update_after": 5000,
        "ac_kwargs": {**BATCH_RENORM, "hidden_sizes": (256, 256), "critic_hidden_sizes": (2048, 2048)},
    },
    "simba": {
        "lr": 1e-4, "weight_decay": 1e-2, "updates_per_step": 2, "actor_first": True, "alpha": "auto_0.01",
        "target_entropy": "auto_0.5", "normalize_observations": True, "start_steps": 5000,
        "update_after": 5000,
        "ac_kwargs": {
            "hidden_sizes": (128,), "critic_hidden_sizes": (512, 512), "residual": True,
            "actor_norm": "layer", "critic_norm": "layer", "init": "simba", "log_std_range": (-10, 2),
        },
    },
    "tqc": {**LOG_ALPHA, "critic": "quantile", "quantiles": 25, "drop_quantiles": 2},
    "flash": {
        "batch_size": 512, "polyak": 0.99, "lr_schedule": "cosine", "lr_end": 1.5e-4, "policy_delay": 2,
        "actor_first": True, "alpha": "auto_0.01", "critic": "categorical", "atoms": 101,
        "value_bound": 5, "normalize_weights": True, "hold_noise": 16, "normalize_rewards": True,
        "start_steps": 10_000, "update_after": 10_000,
        # 0.5 log(2 pi e 0.15^2) per action dimension, as a multiple of -1
        "target_entropy": f"auto_{-0.5 * math.log(2 * math.pi * math.e * 0.15**2):.3f}",
        "ac_kwargs": {
            "hidden_sizes": (128, 128), "critic_hidden_sizes": (256, 256), "residual": True,
            "actor_norm": "batch", "critic_norm": "batch", "init": "orthogonal", "log_std_range": (-10, 2),
        },
    },
    "rlpd": {
        **UTD_20, "critics": 10, "target_critics": 2, "prior_fraction": 0.5, "target_entropy": "auto_0.5",
        "ac_kwargs": {**XAVIER, "critic_norm": "layer"},
    },
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_settings(name: str) -> None:
    common = {"alpha": "auto", "lr": 3e-4, "batch_size": 256, "update_every": 1}
    assert RECIPES[name].settings == {**common, **PUBLISHED[name]}


def test_batch_renormalization_begins_as_in_the_code_of_crossq() -> None:
    norm = BatchRenorm(3)
    assert (norm.warm_up, norm.momentum, norm.R_MAX, norm.D_MAX) == (100_000, 0.01, 3.0, 5.0)


def test_every_other_recipe_is_published() -> None:
    assert {"laptop", *PUBLISHED} == set(RECIPES)


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"recipe": "simba", "alpha": 0.2}, {"target_entropy": "auto"}),
        ({"recipe": "flash", "alpha": 0.2}, {"target_entropy": "auto"}),
        ({"recipe": "redq", "alpha": 0.2}, {"alpha_loss": "alpha"}),
        ({"recipe": "flash", "lr_schedule": "constant"}, {"lr_end": 0.0}),
        ({"recipe": "flash", "critic": "scalar"}, {"atoms": 101, "value_bound": 5.0}),
        ({"recipe": "flash", "target_networks": False}, {"polyak": 0.995}),
        ({"recipe": "tqc", "critic": "scalar"}, {"quantiles": 25, "drop_quantiles": 2}),
        ({"recipe": "redq", "critics": 1}, {"target_critics": 1}),
        ({"recipe": "redq", "critics": 5}, {"target_critics": 2}),
        ({"recipe": "droq", "updates_per_step": 1.0}, {"policy_delay": 1}),
        ({"recipe": "droq", "updates_per_step": 0.5}, {"policy_delay": 1}),
        ({"recipe": "rlpd", "updates_per_step": 4, "policy_delay": 2}, {"policy_delay": 2}),
        ({"recipe": "crossq", "updates_per_step": 2}, {"policy_delay": 3}),
    ],
)
def test_settings_of_a_recipe_follow_those_that_are_given(given: Any, changed: Any) -> None:
    settings = {key: value for key, value in with_recipe(given).items() if key in field_defaults()}
    config = SACConfig(**settings)  # raises for a setting without an effect
    assert {key: getattr(config, key) for key in changed} == changed


def test_what_is_given_beside_a_recipe_is_not_changed() -> None:
    with pytest.raises(ConfigError, match=r"^target_entropy=-3.0 has no effect with a fixed alpha"):
        SACConfig(**{k: v for k, v in simba(alpha=0.2, target_entropy=-3.0) if k in field_defaults()})
    for value in (math.nan, math.inf, "much"):
        assert with_recipe({"recipe": "droq", "updates_per_step": value})["policy_delay"] == 20
    assert with_recipe({"recipe": "redq", "critics": "all"})["target_critics"] == 2


def simba(**given: Any) -> Any:
    """Names and values of the settings of a call with this recipe."""
    return with_recipe({"recipe": "simba", **given}).items()


def test_networks_that_a_recipe_does_not_fit_are_refused(tmp_path: Path) -> None:
    class Mine(MLPActorCritic):
        def __init__(self, obs_space: Any, action_space: Any, hidden_sizes: Any = (8,)) -> None:
            super().__init__(obs_space, action_space, hidden_sizes)

    line = r"^recipe='droq' has 'critic_norm' in ac_kwargs, which Mine does not take: [^\n]*$"
    with pytest.raises(ConfigError, match=line):
        train(tmp_path, recipe="droq", actor_critic=Mine)


def test_the_initialization_of_a_recipe_is_left_out_for_networks_that_do_not_take_it(tmp_path: Path) -> None:
    class Mine(MLPActorCritic):
        def __init__(self, obs_space: Any, action_space: Any, critics: int = 2) -> None:
            super().__init__(obs_space, action_space, (8,), critics=critics)

    settings = {"updates_per_step": 2, "epochs": 1, "actor_critic": Mine}
    ac = train(tmp_path / "recipes", recipe="redq", ac_kwargs={}, **settings)[0]
    assert isinstance(ac, Mine)
    with pytest.raises(ConfigError, match=r"^ac_kwargs: Mine takes no 'init'; it takes critics$"):
        train(tmp_path / "own", ac_kwargs={"init": "orthogonal"}, **settings)


@pytest.mark.parametrize(
    ("given", "name", "override"),
    [
        ({"recipe": "flash", "env_fn": Rooms, "critic": "scalar"}, "hold_noise", "hold_noise=1"),
        ({"recipe": "laptop", "variant": "sac_v1"}, "target_networks", "target_networks=True"),
        ({"recipe": "flash", "collectors": 1}, "hold_noise", "hold_noise=1"),
    ],
)
def test_an_error_about_a_setting_of_a_recipe_says_so(
    given: Any, name: str, override: str, tmp_path: Path
) -> None:
    settings = {"env_fn": Point, **given}
    source = rf"\({name} is a setting of recipe='{given['recipe']}', which {override} overrides\)"
    with pytest.raises(ConfigError, match=rf"^{name}=[^\n]* {source}$"):
        train(tmp_path, settings.pop("env_fn"), ac_kwargs={}, **settings)


def test_an_error_about_a_setting_that_was_given_names_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^hold_noise=0: give a whole number >= 1$"):
        train(tmp_path, recipe="flash", hold_noise=0)


def test_a_recipe_of_gaussian_policies_trains_with_discrete_actions_too(tmp_path: Path) -> None:
    model = train(tmp_path, Rooms, epochs=1, recipe="simba", **LESS["simba"])[0]
    assert isinstance(model.ac, DiscreteMLPActorCritic)


def test_a_given_setting_replaces_that_of_the_recipe_also_within_ac_kwargs(tmp_path: Path) -> None:
    given = {"recipe": "droq", "critics": 3, "ac_kwargs": {"critic_dropout": 0.5}}
    filled = with_recipe(given)
    assert filled["critics"] == 3
    assert filled["updates_per_step"] == 20
    assert filled["ac_kwargs"] == {**XAVIER, "critic_norm": "layer", "critic_dropout": 0.5}
    assert given["ac_kwargs"] == {"critic_dropout": 0.5}  # the caller's dict is as it was
    # A value that is the documented default counts as given.
    train(tmp_path, epochs=1, recipe="droq", updates_per_step=1.0, policy_delay=1)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["recipe"] == "droq"
    assert (config["updates_per_step"], config["policy_delay"]) == (1.0, 1)
    assert config["batch_size"] == SMALL["batch_size"]
    assert (config["alpha"], config["lr"]) == ("auto", 3e-4)
    layers = {"critic_norm": "layer", "critic_dropout": 0.01, "hidden_sizes": [8, 8]}
    assert config["ac_kwargs"] == {**XAVIER, **layers}


def test_arguments_by_position_count_as_given(tmp_path: Path) -> None:
    networks = {"hidden_sizes": (8, 8)}
    log = {"output_dir": str(tmp_path), "quiet": True, "tensorboard": False}
    ac = sac_pytorch(
        Point, ac_kwargs=networks, seed=3, recipe="tqc", logger_kwargs=log, epochs=1, **TINY, quantiles=7
    )
    assert ac.q1.q[-1].out_features == 7
    assert networks == {"hidden_sizes": (8, 8)}


def test_without_a_recipe_nothing_changes() -> None:
    assert with_recipe({"critics": 3}) == {"critics": 3}
    assert with_recipe({"recipe": None}) == {"recipe": None}


def test_what_a_recipe_needs_is_said() -> None:
    assert recipe_warnings({"recipe": "rlpd"}) == (
        "recipe 'rlpd' is meant to be used with prior_data, which was not given",
    )
    assert recipe_warnings({"recipe": "rlpd", "prior_data": "x"}) == ()
    assert recipe_warnings({"recipe": "redq"}) == recipe_warnings({"recipe": None}) == ()
    for recipe in RECIPES.values():  # every setting is one that the call takes
        assert set(recipe.settings) <= set(inspect.signature(sac_pytorch).parameters)


def test_an_unknown_recipe_is_refused() -> None:
    line = r"^recipe='droqq': give one of laptop, redq, [^\n]*did you mean 'droq'\?$"
    with pytest.raises(ConfigError, match=line):
        sac_pytorch("Pendulum-v1", recipe="droqq")
    with pytest.raises(ConfigError, match=r"^recipe=3: give"):
        sac_pytorch("Pendulum-v1", recipe=3)


def test_sac_tf1_does_not_take_recipes_nor_their_keywords() -> None:
    for keyword in ("recipe", "policy_delay", "critic", "target_networks", "betas", "hold_noise"):
        with pytest.raises(ArgumentError, match=rf"^sac_tf1\(\) has no parameter '{keyword}'[^\n]*$"):
            sac_tf1("Pendulum-v1", **{keyword: 1})


@pytest.mark.parametrize("name", RECIPES)
def test_each_recipe_trains_is_saved_loaded_and_resumed_exactly(name: str, tmp_path: Path) -> None:
    settings = {**TINY, **LESS[name], "recipe": name, "checkpoint_every": 25}

    def run(folder: Path, epochs: int, **changes: Any) -> Any:
        log = {"output_dir": str(folder), "quiet": True, "tensorboard": False}
        return sac_pytorch(Point, logger_kwargs=log, epochs=epochs, **{**settings, **changes})

    whole = run(tmp_path / "whole", 2)
    with pytest.raises(KeyboardInterrupt):  # in the second epoch, whose middle has a checkpoint
        run(tmp_path / "half", 2, callback=interrupt)
    manifest = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert manifest["recipe"] == name
    for key, value in with_recipe({"recipe": name}).items():
        if key not in ("ac_kwargs", *settings):
            assert manifest[key] == (list(value) if isinstance(value, tuple) else value), key
    rows = read_rows(tmp_path / "whole")
    assert all(np.isfinite(float(row[key])) for row in rows for key in ("LossQ", "LossPi", "Alpha"))
    loaded: Any = torch.load(tmp_path / "whole" / "pyt_save" / "model.pt", weights_only=True)
    obs = np.ones((3, 2), np.float32)
    assert np.array_equal(loaded.act(obs, True), whole.act(obs, True))
    assert torch.equal(parameters(whole), parameters(loaded))
    for mine, theirs in zip(whole.buffers(), loaded.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    resumed = run(tmp_path / "half", 2, resume=True)
    assert torch.equal(parameters(whole), parameters(resumed))
    for mine, theirs in zip(whole.buffers(), resumed.buffers(), strict=True):
        assert torch.equal(mine, theirs)
    assert without_timing(rows) == without_timing(read_rows(tmp_path / "half"))


def interrupt(row: dict[str, Any], ac: Any) -> None:
    """A callback that ends the second epoch as a crash would."""
    if row["Epoch"] == 2:
        raise KeyboardInterrupt


def test_the_command_line_lists_recipes_and_refuses_unknown_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    text = capsys.readouterr().out
    for name, recipe in RECIPES.items():
        assert f"\n{name}\n" in text
        assert recipe.source.split(":")[0] in text
    assert main(["recipes", "redq", "tqc"]) == 0
    text = capsys.readouterr().out
    assert "critics=10" in text
    assert "quantiles=25" in text
    assert "crossq" not in text
    assert main(["recipes", "redk"]) == 2
    assert "did you mean 'redq'?" in capsys.readouterr().err


def test_a_recipe_as_a_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "sac",
        "--env",
        "Pendulum-v1",
        "--recipe",
        "redq",
        "--exp_name",
        "x",
        "--data_dir",
        str(tmp_path),
    ]
    words += ["--steps_per_epoch", "60", "--epochs", "1", "--update_after", "50", "--start_steps", "20"]
    words += ["--hid", "[8,8]", "--critics", "4", "--updates_per_step", "2", "--num_test_episodes", "1"]
    words += ["--max_ep_len", "20", "--threads", "1"]
    assert main(words) == 0
    config = json.loads((tmp_path / "x" / "x_s0" / "config.json").read_text())
    assert (config["critics"], config["policy_delay"], config["alpha"]) == (4, 2, "auto")
    assert main(["sac", "--env", "Pendulum-v1", "--recipe", "red"]) == 2
    assert "recipe='red'" in capsys.readouterr().err
    assert main(["sac_tf1", "--env", "Pendulum-v1", "--recipe", "redq"]) == 2
    assert "unknown flag --recipe" in capsys.readouterr().err


def test_relative_cost() -> None:
    assert relative_cost({"batch_size": 256}) == pytest.approx(1.0)
    assert relative_cost({"batch_size": 256, "updates_per_step": 2}) == pytest.approx(2.0)
    assert relative_cost({"batch_size": 512}) == pytest.approx(2.0)
    batch, renorm = ({"ac_kwargs": {"critic_norm": norm}} for norm in ("batch", "batch_renorm"))
    assert relative_cost(batch) == relative_cost(renorm) > relative_cost({})
    assert 10 < relative_cost(RECIPES["droq"].settings) < 20
    # Eight target networks that form no target are 8 of about 16 passes of SAC.
    ten = [relative_cost({"batch_size": 256, "critics": 10, "target_critics": n}) for n in (10, 2)]
    assert ten[0] - ten[1] == pytest.approx(0.5, abs=0.02)
