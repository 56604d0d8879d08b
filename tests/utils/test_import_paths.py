"""The import paths of Spinning Up offer its names, and its scripts run."""

import os
import runpy
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from helpers import SMALL
from torch import nn

import spinup
from spinup import sac_pytorch
from spinup.algos.pytorch.sac import core
from spinup.utils import mpi_tools
from spinup.utils.logx import EpochLogger, Logger, colorize
from spinup.utils.serialization_utils import convert_json, is_json_serializable

DOCUMENTED = {
    "utils.logx": ["EpochLogger", "Logger", "colorize", "restore_tf_graph"],
    "utils.run_utils": ["ExperimentGrid", "call_experiment", "setup_logger_kwargs"],
    "utils.test_policy": ["load_policy_and_env", "run_policy"],
    "utils.plot": ["make_plots"],
    "utils.serialization_utils": ["convert_json", "is_json_serializable"],
    "utils.mpi_tools": [
        "allreduce", "broadcast", "mpi_avg", "mpi_fork", "mpi_op", "mpi_statistics_scalar", "mpi_sum", "msg",
        "num_procs", "proc_id",
    ],
    "algos.pytorch.sac.sac": ["MLPActorCritic", "sac"],
    "algos.pytorch.sac.core": [
        "MLPActorCritic", "MLPQFunction", "SquashedGaussianMLPActor", "combined_shape", "count_vars", "mlp",
    ],
}  # fmt: skip
ROOT = Path(spinup.__file__).parent


@pytest.mark.parametrize("module", DOCUMENTED)
def test_documented_names(module):
    found = import_module(f"spinup.{module}")
    assert sorted(found.__all__) == sorted(DOCUMENTED[module])
    assert all(callable(getattr(found, name)) for name in DOCUMENTED[module])


def test_user_config_and_version():
    config = import_module("spinup.user_config")
    assert config.DEFAULT_BACKEND == {"sac": "pytorch"}
    assert config.DEFAULT_DATA_DIR == "data"
    assert (config.FORCE_DATESTAMP, config.DEFAULT_SHORTHAND) == (False, True)
    assert import_module("spinup.version").__version__ == spinup.__version__
    assert import_module("spinup.algos.pytorch.sac.sac").sac is sac_pytorch


def test_logger_names(tmp_path):
    assert issubclass(EpochLogger, Logger)
    logger = Logger(tmp_path, exp_name="x", quiet=True, tensorboard=False)
    logger.log_tabular("Epoch", 1)
    logger.dump_tabular()
    assert colorize("text", "green") == "\x1b[32mtext\x1b[0m"
    assert colorize("text", "crimson", bold=True, highlight=True) == "\x1b[48;1mtext\x1b[0m"
    with pytest.raises(ValueError, match="did you mean 'green'"):
        colorize("text", "gren")


def test_serialization():
    assert convert_json({"lr": np.float32(0.5), "act": nn.ReLU}) == {
        "lr": 0.5, "act": "torch.nn.modules.activation.ReLU",
    }  # fmt: skip
    assert is_json_serializable([1, "a"])
    assert not is_json_serializable(nn.ReLU)


def test_mpi_tools_answer_for_one_process(capsys):
    mpi_tools.mpi_fork(1)
    with pytest.raises(ValueError, match="num_envs"):
        mpi_tools.mpi_fork(4)
    assert (mpi_tools.proc_id(), mpi_tools.num_procs()) == (0, 1)
    x = np.array([1.0, 3.0])
    for function in (mpi_tools.mpi_sum, mpi_tools.mpi_avg):
        np.testing.assert_array_equal(function(x), x)
    assert mpi_tools.mpi_sum(3) == 3
    assert mpi_tools.mpi_op(3, None) == 3
    out = np.zeros(2)
    mpi_tools.allreduce(x, out)
    np.testing.assert_array_equal(out, x)
    assert mpi_tools.broadcast(x) is None
    assert mpi_tools.mpi_statistics_scalar(x) == (2.0, 1.0)
    assert mpi_tools.mpi_statistics_scalar(x, with_min_and_max=True) == (2.0, 1.0, 1.0, 3.0)
    mpi_tools.msg("hello", "there ")
    assert capsys.readouterr().out == "Message from 0: there hello\n"


class OwnActorCritic(nn.Module):
    """An actor-critic made of Spinning Up's parts, as its users wrote them."""

    def __init__(self, observation_space, action_space, hidden_sizes=(8, 8), activation=nn.ReLU):
        super().__init__()
        obs_dim, act_dim = observation_space.shape[0], action_space.shape[0]
        act_limit = action_space.high[0]
        self.pi = core.SquashedGaussianMLPActor(obs_dim, act_dim, hidden_sizes, activation, act_limit)
        self.q1 = core.MLPQFunction(obs_dim, act_dim, hidden_sizes, activation)
        self.q2 = core.MLPQFunction(obs_dim, act_dim, hidden_sizes, activation)

    def act(self, obs, deterministic=False):
        with torch.no_grad():
            a, _ = self.pi(obs, deterministic, False)
            return a.numpy()


def test_parts_of_an_actor_critic():
    assert core.combined_shape(5) == (5,)
    assert core.combined_shape(5, 3) == (5, 3)
    assert core.combined_shape(5, (3, 2)) == (5, 3, 2)
    net = core.mlp([3, 4, 2], nn.Tanh, nn.Sigmoid)
    assert [type(layer) for layer in net] == [nn.Linear, nn.Tanh, nn.Linear, nn.Sigmoid]
    assert core.count_vars(net) == 3 * 4 + 4 + 4 * 2 + 2
    pi = core.SquashedGaussianMLPActor(3, 2, (8,), nn.ReLU, 2.0)
    a, logp = pi(torch.zeros(4, 3))
    assert (a.shape, logp.shape) == ((4, 2), (4,))
    mean, none = pi(torch.zeros(4, 3), deterministic=True, with_logprob=False)
    assert none is None
    torch.testing.assert_close(mean, pi.mean_action(torch.zeros(4, 3)))
    assert pi(torch.zeros(4, 3), deterministic=True)[1].shape == (4,)


def test_own_actor_critic_of_these_parts_trains(tmp_path):
    logger_kwargs = {"output_dir": str(tmp_path), "quiet": True, "tensorboard": False}
    settings = {**SMALL, "epochs": 1, "logger_kwargs": logger_kwargs}
    ac = sac_pytorch(lambda: gym.make("Pendulum-v1"), actor_critic=OwnActorCritic, **settings)
    assert ac.act(torch.zeros(1, 3), True).shape == (1, 1)


@pytest.mark.parametrize(
    ("script", "words", "message"),
    [
        ("utils/plot.py", ["nowhere", "--save", "x.png"], "nowhere does not exist"),
        ("utils/test_policy.py", ["nowhere"], "nowhere does not exist"),
        ("algos/pytorch/sac/sac.py", ["--env", "Pendulum-v9"], "did you mean 'Pendulum-v1'"),
        ("run.py", ["sac", "--env", "Pendulum-v9"], "did you mean 'Pendulum-v1'"),
    ],
)
def test_scripts_run_their_command(script, words, message, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", [script, *words])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / script), run_name="__main__")
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_script_runs_from_its_file(tmp_path):
    """Its own folder is then first on the path, and holds modules named like others."""
    done = subprocess.run(
        [sys.executable, ROOT / "utils" / "plot.py", "nowhere"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT.parent)},
    )  # fmt: skip
    assert done.stderr == "spinup: nowhere does not exist: give the folder of a run\n"
