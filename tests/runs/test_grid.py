"""Folders of runs, and grids."""

import copy
import json
import pickle
import re
from pathlib import Path

import pytest
from helpers import SMALL

from spinup import sac_pytorch, user_config
from spinup.envs.saved_spec import MakeEnv
from spinup.errors import ConfigError, RunError
from spinup.runs.grid import ExperimentGrid, call_experiment, default_shorthand, setup_logger_kwargs


def test_folder_of_a_run():
    assert setup_logger_kwargs("hc", 3) == {"output_dir": "data/hc/hc_s3", "exp_name": "hc"}
    assert setup_logger_kwargs("hc", data_dir="/d")["output_dir"] == "/d/hc"
    dated = setup_logger_kwargs("hc", 0, "d", datestamp=True)["output_dir"]
    assert re.fullmatch(r"d/(\d{4}-\d\d-\d\d)_hc/\1_\d\d-\d\d-\d\d_hc_s0", dated)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/tmp/x", "a\\b", None, "\0"])
def test_invalid_experiment_names(name):
    with pytest.raises(ConfigError, match=r"^exp_name=.* is not a valid folder name"):
        setup_logger_kwargs(name)


def test_shorthand():
    assert default_shorthand("ac_kwargs:hidden_sizes") == "ac-hid"
    assert default_shorthand("lr") == "lr"


def test_variants_are_every_combination_first_key_slowest():
    grid = ExperimentGrid("x")
    grid.add("lr", [1, 2])
    grid.add("ac_kwargs:hidden_sizes", [(8,), (8, 8)])
    grid.add("ac_kwargs:activation", "relu")
    assert grid.variants() == [
        {"lr": lr, "ac_kwargs": {"hidden_sizes": hid, "activation": "relu"}}
        for lr in (1, 2)
        for hid in ((8,), (8, 8))
    ]
    assert [grid.variant_name(v) for v in grid.variants()] == [
        "x_lr1_ac-hid8", "x_lr1_ac-hid8-8", "x_lr2_ac-hid8", "x_lr2_ac-hid8-8",
    ]  # fmt: skip


def test_names_leave_out_seeds_and_single_values_unless_asked():
    grid = ExperimentGrid("x")
    grid.add("seed", [0, 1])
    grid.add("gamma", 0.9)
    grid.add("alpha", "auto_0.1", "temp", in_name=True)
    grid.add("wide", [True, False])
    assert [grid.variant_name(v) for v in grid.variants()][:2] == ["x_tempauto_0.1_wid", "x_tempauto_0.1"]


def test_names_are_safe_for_folders():
    grid = ExperimentGrid("x")
    grid.add("env_name", ["ALE/Pong-v5", "mod:Env-v0"], "env")
    assert [grid.variant_name(v) for v in grid.variants()] == ["x_envale-pong-v5", "x_envmod-env-v0"]


def run(grid, tmp_path, **kwargs):
    calls = []

    def thunk(env_fn, ac_kwargs=None, **kw):
        calls.append({"env_fn": env_fn, "ac_kwargs": copy.deepcopy(ac_kwargs), **kw})
        if ac_kwargs:
            ac_kwargs["spoiled"] = True

    folders = grid.run(thunk, data_dir=tmp_path, **kwargs)
    return calls, folders


def test_run_calls_each_variant_with_its_logger_kwargs(tmp_path):
    hid = [64, 64]
    grid = ExperimentGrid("x")
    grid.add("env_name", "Pendulum-v1")
    grid.add("seed", [0, 7])
    grid.add("ac_kwargs:hidden_sizes", [hid])
    ended = []
    calls, folders = run(grid, tmp_path, after=lambda folder, variant: ended.append((folder, variant)))
    assert folders == [str(tmp_path / "x" / f"x_s{seed}") for seed in (0, 7)]
    assert ended == list(zip(folders, grid.variants(), strict=True))
    for call, seed, folder in zip(calls, (0, 7), folders, strict=True):
        logger_kwargs = {"output_dir": folder, "exp_name": "x"}
        kwargs = {"ac_kwargs": {"hidden_sizes": [64, 64]}, "seed": seed, "logger_kwargs": logger_kwargs}
        assert call == {"env_fn": MakeEnv("Pendulum-v1"), **kwargs}
    assert hid == [64, 64]
    assert grid.variants()[0]["ac_kwargs"] == {"hidden_sizes": [64, 64]}


def test_env_name_becomes_env_fn(tmp_path):
    grid = ExperimentGrid("x")
    grid.add("env_name", "Pendulum-v1")
    (call,), _ = run(grid, tmp_path)
    for env_fn in (call["env_fn"], pickle.loads(pickle.dumps(call["env_fn"]))):
        assert env_fn().spec.id == "Pendulum-v1"
        assert repr(env_fn) == "MakeEnv('Pendulum-v1')"


def test_env_name_trains(tmp_path):
    grid = ExperimentGrid("x")
    grid.add("env_name", "Pendulum-v1")
    for key, value in {**SMALL, "epochs": 1}.items():
        grid.add(key, value)
    (folder,) = grid.run(sac_pytorch, data_dir=tmp_path)
    assert json.loads(Path(folder, "vars.json").read_text())["env"]["id"] == "Pendulum-v1"


def test_a_run_is_not_both_replaced_and_resumed(tmp_path):
    grid = ExperimentGrid("x")
    grid.add("env_fn", "Pendulum-v1")
    grid.add("resume", [False, True])
    with pytest.raises(ConfigError, match="leave one of them out"):
        run(grid, tmp_path, overwrite=True)
    assert not list(tmp_path.iterdir())


def test_a_folder_in_use_stops_the_grid_before_its_first_run(tmp_path):
    (tmp_path / "x" / "x_s1").mkdir(parents=True)
    (tmp_path / "x" / "x_s1" / "config.json").touch()
    grid = ExperimentGrid("x")
    grid.add("env_fn", "Pendulum-v1")
    grid.add("seed", [0, 1])
    with pytest.raises(RunError, match=r"x_s1.*overwrite=True"):
        run(grid, tmp_path)
    calls, _ = run(grid, tmp_path, overwrite=True)
    assert [call["logger_kwargs"]["overwrite"] for call in calls] == [True, True]


@pytest.mark.parametrize(("key", "values"), [("seed", [0, 0]), ("lr", ["a b", "a-b"])])
def test_variants_never_share_a_folder(tmp_path, key, values):
    grid = ExperimentGrid("x")
    grid.add(key, values)
    with pytest.raises(ConfigError, match="share the folder"):
        run(grid, tmp_path)


def test_mistakes_in_a_grid(tmp_path):
    grid = ExperimentGrid("x")
    grid.add("lr", 1)
    with pytest.raises(ConfigError, match="lr is given twice"):
        grid.add("lr", 2)
    grid.add("ac_kwargs:hidden_sizes", [(8,)])
    with pytest.raises(ConfigError, match=r"^ac_kwargs:hidden_sizes and ac_kwargs are both given: give one"):
        grid.add("ac_kwargs", {"activation": "relu"})
    with pytest.raises(ConfigError, match="gamma has no value"):
        grid.add("gamma", [])
    with pytest.raises(ConfigError, match="num_cpu=0: give 'auto' or a whole number >= 1"):
        grid.run(lambda **_: None, num_cpu=0)


def test_an_empty_shorthand_leaves_the_key_out():
    grid = ExperimentGrid("bench")
    grid.add("env_name", "CartPole-v0", "", True)
    grid.add("ac_kwargs:hidden_sizes", [(32,), (64, 64)], "hid")
    grid.add("ac_kwargs:activation", ["tanh", "relu"], "")
    grid.add("wide", [True, False], "")
    assert [grid.variant_name(v) for v in grid.variants()][:3] == [
        "bench_cartpole-v0_hid32_tanh_true", "bench_cartpole-v0_hid32_tanh_false",
        "bench_cartpole-v0_hid32_relu_true",
    ]  # fmt: skip


def test_parameters_can_be_added_after_names_were_made():
    grid = ExperimentGrid("x")
    grid.add("lr", [1, 2])
    assert [grid.variant_name(v) for v in grid.variants()] == ["x_lr1", "x_lr2"]
    grid.name = "y"
    grid.add("seed", [0, 1])
    grid.add("gamma", 0.9, in_name=True)
    assert [grid.variant_name(v) for v in grid.variants()] == ["y_lr1_gam0.9"] * 2 + ["y_lr2_gam0.9"] * 2


def test_a_string_thunk_names_the_parameter_that_is_called(tmp_path):
    calls = []
    grid = ExperimentGrid("x")
    grid.add("algo", [lambda **kw: calls.append(("a", kw)), lambda **kw: calls.append(("b", kw))], "", True)
    grid.add("lr", 1)
    with pytest.raises(ConfigError, match="share the folder"):  # both are called <lambda>
        grid.run("algo", data_dir=tmp_path)

    def first(**kwargs):
        calls.append(("first", kwargs))

    def second(**kwargs):
        calls.append(("second", kwargs))

    grid = ExperimentGrid("x")
    grid.add("algo", [first, second], "", True)
    grid.add("lr", 1)
    grid.run("algo", data_dir=tmp_path)
    assert [(name, kw["lr"], kw["logger_kwargs"]["exp_name"]) for name, kw in calls] == [
        ("first", 1, "x_first"), ("second", 1, "x_second"),
    ]  # fmt: skip
    assert all("algo" not in kw for _, kw in calls)
    with pytest.raises(ConfigError, match="'sac' is not a parameter of the grid"):
        grid.run("sac", data_dir=tmp_path)
    with pytest.raises(ConfigError, match="lr=1 is not a function"):
        grid.run("lr", data_dir=tmp_path)


def test_call_experiment(tmp_path):
    calls = []

    def thunk(**kwargs):
        calls.append(kwargs)

    call_experiment("x", thunk, 3, data_dir=tmp_path, env_name="Pendulum-v1", sizes=[1])
    call_experiment("x", thunk, data_dir=tmp_path, env_kwargs={"g": 9.0}, env_fn="Pendulum-v1")
    folder = str(tmp_path / "x" / "x_s3")
    logger_kwargs = {"output_dir": folder, "exp_name": "x"}
    assert calls[0] == {
        "env_fn": MakeEnv("Pendulum-v1"), "sizes": [1], "seed": 3, "logger_kwargs": logger_kwargs,
    }  # fmt: skip
    assert calls[1]["env_fn"]().unwrapped.g == 9.0
    assert calls[1]["seed"] == 0


def test_user_config_sets_defaults(tmp_path, monkeypatch):
    monkeypatch.setattr(user_config, "DEFAULT_DATA_DIR", str(tmp_path))
    assert setup_logger_kwargs("x", 0)["output_dir"] == str(tmp_path / "x" / "x_s0")
    monkeypatch.setattr(user_config, "FORCE_DATESTAMP", True)
    assert re.search(r"\d{4}-\d\d-\d\d_x/", setup_logger_kwargs("x", 0)["output_dir"])
    monkeypatch.setattr(user_config, "DEFAULT_SHORTHAND", False)
    grid = ExperimentGrid("x")
    grid.add("ac_kwargs:hidden_sizes", [(8,)], in_name=True)
    assert grid.variant_name(grid.variants()[0]) == "x_ac_kwargs-hidden_sizes8"
