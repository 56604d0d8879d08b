"""Recipes: their settings, how single ones are replaced, what config.json keeps, and that each one trains."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import SMALL, Point, parameters, read_rows, train, without_timing

from spinup import sac_pytorch
from spinup.cli.main import main
from spinup.cli.recipes import relative_cost
from spinup.config import SACConfig, field_defaults
from spinup.errors import ArgumentError, ConfigError
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


# Of the settings: critics, updates per step, policy delay, lr, start_steps.
PUBLISHED = {
    "laptop": (2, 2, 1, 1e-3, 5000),
    "redq": (10, 20, 20, 3e-4, 5000), "droq": (2, 20, 20, 3e-4, 5000), "crossq": (2, 1, 3, 1e-3, 5000),
    "simba": (2, 2, 1, 1e-4, 5000), "tqc": (2, 1, 1, 3e-4, 10_000), "flash": (2, 1, 2, 3e-4, 10_000),
    "rlpd": (10, 20, 20, 3e-4, 5000),
}  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_published_numbers(name: str) -> None:
    settings = {**field_defaults(), **RECIPES[name].settings}
    numbers = ("critics", "updates_per_step", "policy_delay", "lr", "start_steps")
    assert tuple(settings[key] for key in numbers) == PUBLISHED[name]
    assert settings["target_critics"] == 2


def test_a_given_setting_replaces_that_of_the_recipe_also_within_ac_kwargs(tmp_path: Path) -> None:
    given = {"recipe": "droq", "critics": 3, "ac_kwargs": {"critic_dropout": 0.5}}
    filled = with_recipe(given)
    assert filled["critics"] == 3
    assert filled["updates_per_step"] == 20
    assert filled["ac_kwargs"] == {"critic_norm": "layer", "critic_dropout": 0.5}
    assert given["ac_kwargs"] == {"critic_dropout": 0.5}  # the caller's dict is as it was
    # A value that is the documented default counts as given.
    train(tmp_path, epochs=1, recipe="droq", updates_per_step=1.0, policy_delay=1)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["recipe"] == "droq"
    assert (config["updates_per_step"], config["policy_delay"]) == (1.0, 1)
    assert config["batch_size"] == SMALL["batch_size"]
    assert (config["alpha"], config["lr"]) == ("auto", 3e-4)
    assert config["ac_kwargs"] == {"critic_norm": "layer", "critic_dropout": 0.01, "hidden_sizes": [8, 8]}


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
    for field in dataclasses.fields(SACConfig):
        assert field.name not in ("critic", "policy_delay", "betas") or field.default in (
            "scalar", 1, (0.9, 0.999),
        )  # fmt: skip


def test_what_a_recipe_needs_is_said() -> None:
    assert recipe_warnings({"recipe": "rlpd"}) == (
        "recipe 'rlpd' is meant with prior_data, which was not given",
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
    assert (config["critics"], config["policy_delay"], config["alpha"]) == (4, 20, "auto")
    assert main(["sac", "--env", "Pendulum-v1", "--recipe", "red"]) == 2
    assert "recipe='red'" in capsys.readouterr().err
    assert main(["sac_tf1", "--env", "Pendulum-v1", "--recipe", "redq"]) == 2
    assert "unknown flag --recipe" in capsys.readouterr().err


def test_relative_cost() -> None:
    assert relative_cost({"batch_size": 256}) == pytest.approx(1.0)
    assert relative_cost({"batch_size": 256, "updates_per_step": 2}) == pytest.approx(2.0)
    assert relative_cost({"batch_size": 512}) == pytest.approx(2.0)
    assert 10 < relative_cost(RECIPES["droq"].settings) < 20
