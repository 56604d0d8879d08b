"""`--config FILE`: what becomes of a file's settings, and wrong files. Needs the extra `yaml`."""

import inspect
import json
from pathlib import Path

import gymnasium as gym
import pytest
import yaml
from torch import nn

import spinup
from spinup.cli.config_file import with_config
from spinup.cli.flags import SHORTCUTS, parse_flags
from spinup.cli.main import main
from spinup.config import SACConfig, field_defaults
from spinup.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "configs" / "sac.yaml"


def params(words, function=spinup.sac_pytorch):
    """The parameters that a command sets."""
    return parse_flags(with_config(words, SHORTCUTS), function).params


def write(folder, text, name="c.yaml"):
    """The path of a new file."""
    path = folder / name
    path.write_text(text)
    return str(path)


def test_settings_of_a_file_are_flags(tmp_path):
    text = """
lr: 3e-4
batch_size: 256
alpha: auto
seed: [0, 1]
ac_kwargs: {hidden_sizes: [64, 64], activation: torch.nn.ELU}
env_kwargs:
  g: 9.0
"""
    found = params(["--env", "Pendulum-v1", "--config", write(tmp_path, text)])
    assert found == {
        "lr": [3e-4], "batch_size": [256], "alpha": ["auto"], "seed": [0, 1],
        "ac_kwargs:hidden_sizes": [[64, 64]], "ac_kwargs:activation": [nn.ELU], "env_kwargs:g": [9.0],
    }  # fmt: skip
    data = json.dumps(yaml.safe_load(text))
    path = write(tmp_path, data, "c.json")
    assert params([f"--config={path}", "--env", "Pendulum-v1"]) == found


@pytest.mark.parametrize(
    "words", [["--hid", "[8]"], ["--ac_kwargs", "{'hidden_sizes': [8]}"], ["--ac_kwargs:hidden_sizes", "[8]"]]
)
def test_flags_of_the_command_come_first(words, tmp_path):
    path = write(tmp_path, "lr: 0.1\nhid: [64, 64]\n")
    found = params(["--config", path, *words])
    assert found.pop("lr") == [0.1]
    assert list(found.values()) in ([[[8]]], [[{"hidden_sizes": [8]}]])


def test_lists_of_parameters_that_take_lists_and_arguments_of_the_environment(tmp_path):
    text = "betas: [0.5, 0.999]\ncritic_keys: [state, goal]\nlr: [1e-3, 1e-4]\nenv: {g: 9.8, m: 1.0}\n"
    found = params(["--env", "Pendulum-v1", "--env:m", "2.0", "--config", write(tmp_path, text)])
    assert found["betas"] == [[0.5, 0.999]]
    assert found["critic_keys"] == [["state", "goal"]]
    assert found["lr"] == [1e-3, 1e-4]
    assert found["env_kwargs:g"] == [9.8]
    assert found["env_kwargs:m"] == [2.0]
    grid = write(tmp_path, "betas: [[0.5, 0.999], [0.9, 0.999]]\n")
    assert len(params(["--env", "Pendulum-v1", "--config", grid])["betas"]) == 2


def test_settings_by_environment(tmp_path):
    path = write(tmp_path, "Pendulum-v1: {lr: 0.1}\nmine:Env-v0: {lr: 0.2}\n")
    assert params(["--env", "mine:Env-v0", "--config", path])["lr"] == [0.2]
    assert params(["--config", path, "--env=Pendulum-v1"])["lr"] == [0.1]
    for words, said in (
        (["--env", "Pendulumm-v1"], "did you mean 'Pendulum-v1'"),
        (["--env", "Pendulum-v1", "CartPole-v1"], "give one environment"),
        ([], "give one environment"),
    ):
        with pytest.raises(ConfigError, match=said):
            params([*words, "--config", path])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2]", "is not a mapping of flags to values"),
        ("a: b: c", "cannot be read"),
        ("lr: !!python/object/apply:os.system ['true']", "cannot be read"),
        ("a: &a [1]\nb: *a", "aliases are not supported"),
        ("[" * 5000, "more than 500 lists"),
        ("[" * 400, "cannot be read"),
        ("tau: 0.005", "polyak=0.995"),
        ("lr: [", "cannot be read"),
        ("gamma: 2", "gamma=2"),
        ("ac_kwargs: {hiden: 3}", "hiden"),
        ("Hopper-v5: 3", "gives Hopper-v5 no mapping"),
    ],
)
def test_wrong_files_get_one_line(text, said, tmp_path, capsys):
    env = "Hopper-v5" if "Hopper" in text else "Pendulum-v1"
    assert main(["sac", "--env", env, "--config", write(tmp_path, text)]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_missing_file_and_a_wrong_number_of_them(tmp_path, capsys):
    path = write(tmp_path, "lr: 1")
    for words, said in (
        (["--config", str(tmp_path / "none.yaml")], "is missing"),
        (["--config", str(tmp_path)], "is not a regular file"),
        (["--config"], "takes one file, not 0"),
        (["--config", path, path], "takes one file, not 2"),
        (["--config", path, "--config", path], "given twice"),
    ):
        assert main(["sac", "--env", "Pendulum-v1", *words]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("env", yaml.safe_load(SHIPPED.read_text()))
def test_every_shipped_setting_is_valid(env):
    assert env in gym.registry
    words = ["--env", env, "--config", str(SHIPPED)]
    found = {name: values[0] for name, values in params(words).items()}
    assert all(len(values) == 1 for values in params(words).values())
    config = SACConfig(**{name: value for name, value in found.items() if name in field_defaults()})
    assert set(found) - set(field_defaults()) <= {"ac_kwargs:hidden_sizes"}
    assert not config.warnings()


def test_a_run_with_a_shipped_file(tmp_path, monkeypatch):
    calls = []

    def recorder(**kwargs):
        calls.append(kwargs)

    recorder.__signature__ = inspect.signature(spinup.sac_pytorch)
    monkeypatch.setattr(spinup, "sac_pytorch", recorder, raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["sac", "--env", "Pendulum-v1", "--config", str(SHIPPED), "--epochs", "3"]) == 0
    (call,) = calls
    assert (call["lr"], call["batch_size"], call["alpha"], call["epochs"]) == (1e-3, 256, "auto", 3)
