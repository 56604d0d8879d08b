"""sac_tf1: the signature, whole runs, the command line, and the behavior without TensorFlow."""

from __future__ import annotations

import importlib.util
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from helpers import SMALL, Point, read_rows, without_timing

import spinup
from spinup.cli.main import main
from spinup.config import field_defaults
from spinup.errors import EnvError, MissingExtraError
from spinup.loggers.epoch_logger import restore_tf_graph
from spinup.playback.episodes import load_policy_and_env

needs_tf = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)


def train(folder: Path, env_fn: Any = Point, **changes: Any) -> tuple[str | None, list[dict[str, str]]]:
    """A short run; returns what sac_tf1 returned and the rows of progress.txt."""
    logger_kwargs = {"output_dir": str(folder), "quiet": True, "tensorboard": False}
    settings = {**SMALL, "logger_kwargs": logger_kwargs, "threads": 1, **changes}
    return spinup.sac_tf1(env_fn, **settings), read_rows(folder)


def test_the_signature_is_that_of_sac_pytorch() -> None:
    ours = list(inspect.signature(spinup.sac_tf1).parameters.values())
    theirs = list(inspect.signature(spinup.sac_pytorch).parameters.values())
    for one, other in zip(ours[:19], theirs[:19], strict=True):
        assert (one.name, one.kind) == (other.name, other.kind)
        assert one.default == other.default or one.name == "actor_critic"
    extra = {p.name: (p.default, p.kind) for p in ours[19:]}
    also = {p.name: (p.default, p.kind) for p in theirs[19:]}
    only_torch = """
        engine device variant critics target_critics callback_every test_every keep_checkpoints
        video_every critic atoms value_bound quantiles drop_quantiles target_networks reward_scale
        policy_delay actor_first betas weight_decay lr_schedule lr_end normalize_weights hold_noise
        recipe critic_keys normalize_observations normalize_rewards sampler priority_exponent
        priority_beta priority_beta_updates her_k prior_data prior_fraction offline collectors
        collect max_staleness ray transport random_shift policy_q alpha_loss
    """
    assert set(also) - set(extra) == set(only_torch.split())
    assert all(also[name] == value for name, value in extra.items())
    with pytest.raises(TypeError, match="engine"):
        spinup.sac_tf1(Point, engine="native")


@needs_tf
def test_one_seed_twice_is_the_same_run_and_another_is_not(tmp_path: Path) -> None:
    runs = [train(tmp_path / str(i), seed=seed, alpha="auto") for i, seed in enumerate((7, 7, 8))]
    rows = [without_timing(rows) for _, rows in runs]
    assert len(rows[0]) == 2
    assert rows[0] == rows[1]
    assert rows[0] != rows[2]
    saved = [(tmp_path / str(i) / "tf1_save/variables/variables.data-00000-of-00001") for i in range(3)]
    assert saved[0].read_bytes() == saved[1].read_bytes() != saved[2].read_bytes()
    assert runs[0][0] == str(tmp_path / "0/tf1_save")


@needs_tf
def test_a_run_leaves_its_arguments_and_the_process_alone(tmp_path: Path) -> None:
    import tensorflow as tf

    kwargs = {"hidden_sizes": [8]}
    graph, rows = tf.compat.v1.get_default_graph(), []
    seen: list[Any] = []

    def stop(row: dict[str, Any], learner: Any) -> bool:
        seen.append(learner.act(np.zeros((1, 2), np.float32), True).shape)
        return False

    path, rows = train(tmp_path, num_envs=2, ac_kwargs=kwargs, callback=stop, threads=1)
    assert kwargs == {"hidden_sizes": [8]}
    assert seen == [(1, 1)]
    assert len(rows) == 1
    assert path == str(tmp_path / "tf1_save")
    assert tf.compat.v1.get_default_graph() is graph
    assert not graph.get_operations()
    assert tf.executing_eagerly()
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["algorithm"], config["threads"], config["device"]) == ("sac_tf1", 1, "cpu")
    assert set(field_defaults()) <= set(config)


def outcome(folder: Path) -> tuple[Any, bytes]:
    """What a run left: its rows, and the weights it saved last."""
    data = folder / "tf1_save/variables/variables.data-00000-of-00001"
    return without_timing(read_rows(folder)), data.read_bytes()


@needs_tf
@pytest.mark.parametrize("given", [{}, {"alpha": "auto"}, {"n_step": 3, "num_envs": 2}])
def test_a_run_stopped_and_resumed_is_the_run_that_never_stopped(tmp_path: Path, given: Any) -> None:
    train(tmp_path / "whole", epochs=3, **given)
    train(tmp_path / "first", epochs=1, **given)
    path, rows = train(tmp_path / "first", epochs=3, **given, resume=True)
    assert path == str(tmp_path / "first/tf1_save")
    assert outcome(tmp_path / "first") == outcome(tmp_path / "whole")
    path, rows = train(tmp_path / "first", epochs=3, **given, resume=True)
    assert (path, len(rows)) == (str(tmp_path / "first/tf1_save"), 3)


@needs_tf
def test_the_command_line_resumes(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"seed": 3, "max_ep_len": 20, "alpha": "auto_0.3"}
    train(tmp_path / "whole", "Pendulum-v1", epochs=2, **settings)
    train(tmp_path / "first", "Pendulum-v1", epochs=1, **settings)
    assert main(["resume", str(tmp_path / "first"), "--epochs", "2"]) == 0
    assert outcome(tmp_path / "first") == outcome(tmp_path / "whole")


@needs_tf
def test_discrete_actions_are_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(EnvError, match="is discrete, and sac_tf1 acts on a Box: sac_pytorch takes both"):
        train(tmp_path, lambda: gym.make("CartPole-v1"))


@needs_tf
def test_the_command_line_trains_and_tests_by_mu(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tf = pytest.importorskip("tensorflow").compat.v1
    monkeypatch.chdir(tmp_path)
    words = "--env Pendulum-v1 --exp_name tf --hid [8] --act tf.nn.elu --epochs 1 --steps_per_epoch 60"
    rest = "--start_steps 20 --update_after 20 --update_every 20 --num_test_episodes 1 --threads 1"
    assert main(["sac_tf1", *words.split(), *rest.split()]) == 0
    folder = tmp_path / "data/tf/tf_s0"
    assert (folder / "tf1_save").is_dir()
    capfd.readouterr()
    assert main(["test_policy", str(folder), "-nr", "-n", "2"]) == 0
    shown = capfd.readouterr()
    assert "Episode 1" in shown.out
    assert shown.err == ""
    _, act = load_policy_and_env(folder)
    with tf.Graph().as_default(), tf.Session() as session:
        tensors = restore_tf_graph(session, folder / "tf1_save")
        mu = session.run(tensors["mu"], {tensors["x"]: np.ones((1, 3))})
    np.testing.assert_array_equal(act(np.ones(3, np.float32)), mu[0])
    assert main(["sac_tf1", "--env", "Pendulum-v1", "--act", "torch.nn.ELU"]) == 2
    assert "did you mean 'elu'" in capfd.readouterr().err
    assert main(["sac_tf1", "--env", "Pendulum-v1", "--engine", "native"]) == 2
    assert "unknown flag --engine" in capfd.readouterr().err


WITHOUT = """
import inspect, sys
sys.modules["tensorflow"] = None
import spinup
from spinup.errors import MissingExtraError
assert list(inspect.signature(spinup.sac_tf1).parameters)[0] == "env_fn"
try:
    spinup.sac_tf1(lambda: 1 / 0)
except MissingExtraError as error:
    print(error)
"""


def test_without_tensorflow_one_line_names_the_extra() -> None:
    out = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True)
    assert out.stdout.count("\n") == 1
    assert "spinup[tf]" in out.stdout
    assert issubclass(MissingExtraError, ImportError)


def test_naming_it_does_not_import_tensorflow() -> None:
    code = "import sys, spinup; spinup.sac_tf1; print('tensorflow' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"


@needs_tf
def test_a_quiet_run_prints_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, spinup; spinup.sac_tf1('Pendulum-v1', ac_kwargs={'hidden_sizes': (8,)}, epochs=1, "
        "steps_per_epoch=20, start_steps=5, update_after=5, update_every=5, num_test_episodes=0, "
        "logger_kwargs={'output_dir': sys.argv[1], 'quiet': True})"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert out.stdout + out.stderr == ""
