"""`spinup push` and `spinup pull` against a stand-in for the Hub. Needs the extras `hub` and `video`."""

import json
import os
import re
import subprocess
import sys

import gymnasium as gym
import numpy as np
import pytest
from helpers import train
from hub_server import TOKEN, hub_server

from spinup.deploy.hub import evaluate, pull
from spinup.deploy.model_card import Evaluation, mean_interval, model_card, training_command
from spinup.errors import ConfigError, EnvError, RunError
from spinup.playback.episodes import load_policy_and_env

ENV = {"id": "Pendulum-v1", "kwargs": {}, "max_episode_steps": 200, "wrappers": []}


def run(hub, folder, *words, token=TOKEN, endpoint=None):
    """The command in a process of its own, since the Hub's client reads its address when it is imported."""
    environment = {
        **os.environ, "HF_ENDPOINT": endpoint or hub.url, "HF_HOME": str(folder / "hf"), "HF_TOKEN": token,
        "HF_HUB_DOWNLOAD_TIMEOUT": "2", "SDL_VIDEODRIVER": "dummy",
    }  # fmt: skip
    command = [sys.executable, "-m", "spinup", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    """The folder of a short run."""
    folder = tmp_path_factory.mktemp("runs") / "pendulum"
    logger_kwargs = {"output_dir": str(folder), "quiet": True, "tensorboard": False, "exp_name": "pend"}
    train(folder, "Pendulum-v1", epochs=2, logger_kwargs=logger_kwargs)
    return folder


def test_a_run_is_pushed_with_its_card_and_pulled_again(pendulum, tmp_path):
    with hub_server() as hub:
        done = run(hub, tmp_path, "push", str(pendulum), "--id", "me/pend", "-n", "3")
        assert done.returncode == 0, done.stderr
        assert f"uploaded to {hub.url}/me/pend" in done.stdout
        files = hub.repos["me/pend"]
        assert set(files) == {
            "README.md", "config.json", "vars.json", "progress.txt", "curve.png", "replay.mp4",
            "pyt_save/model.pt", "pyt_save/model_best.pt",
        }  # fmt: skip
        card = files["README.md"].decode()
        (mean,) = re.findall(r"policy: \*\*(-[\d.]+)\*\*", card)
        assert hub.messages == [f"Mean return {mean} over 3 episodes"]
        assert f'"value": "{mean} +/- ' in card
        assert "after 200 env steps" in card
        assert "spinup sac --env Pendulum-v1 --exp_name pend --steps_per_epoch 100" in card

        done = run(hub, tmp_path, "pull", "me/pend")
        assert done.returncode == 0, done.stderr
        assert "spinup test_policy data/pend" in done.stdout
    copy = tmp_path / "data" / "pend"
    with pytest.raises(RunError, match="exists and is not empty"):
        pull("me/pend", copy)
    assert {p.name for p in copy.iterdir()} >= {"config.json", "pyt_save", "README.md"}
    assert not (copy / ".cache").exists()
    obs = np.array([1.0, 0.0, 0.5], np.float32)
    (_, ours), (_, theirs) = load_policy_and_env(pendulum), load_policy_and_env(copy)
    np.testing.assert_array_equal(ours(obs), theirs(obs))


def test_an_evaluation_runs_episodes_of_the_trained_length_and_names_errors_of_the_environment(pendulum):
    found = evaluate(pendulum, "last", 2, None, 5)
    env, get_action = load_policy_and_env(pendulum)
    observation, _ = env.reset(seed=10_001)
    total = 0.0
    for _ in range(5):
        observation, reward, *_ = env.step(get_action(observation))
        total += reward
    assert found.returns[1] == pytest.approx(total)
    with pytest.raises(EnvError, match="raised ZeroDivisionError"):
        evaluate(pendulum, "last", 1, Failing(env), 5)


class Failing(gym.Wrapper):
    """An environment whose steps fail."""

    def step(self, action):
        return 1 / 0


@pytest.mark.parametrize("name", ["../etc", "a/b/c", "", "-x", "a b"])
def test_ids_that_no_model_has(name):
    with pytest.raises(ConfigError, match="is not a model id"):
        pull(name)


@pytest.mark.slow
def test_what_is_not_a_run_or_not_allowed_gets_one_line(pendulum, tmp_path):
    with hub_server() as hub:
        hub.repos["me/other"] = {"README.md": b"hello", "run.sh": b"rm -rf /", "../../up.txt": b"x"}
        for words, token, said in (
            (["pull", "me/other"], TOKEN, "holds no model of spinup"),
            (["pull", "me/none"], TOKEN, "refused"),
            (["push", str(pendulum), "-n", "1", "--no-video"], "wrong", "hf auth login"),
        ):
            done = run(hub, tmp_path, *words, token=token)
            assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
            assert said in done.stderr
        assert not (tmp_path / "data" / "other").exists()
        assert not [path for path in hub.requests if "run.sh" in path]
        done = run(hub, tmp_path, "pull", "me/other", endpoint="http://127.0.0.1:9")
        assert "cannot be reached" in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    trials = [mean_interval(rng.normal(3.0, 2.0, 40), seed=i) for i in range(200)]
    covered = sum(low <= 3.0 <= high for low, high in trials)
    assert 176 <= covered <= 199  # 190 expected of 200; the bootstrap is a little narrow at 40 samples
    assert mean_interval(np.full(5, 7.0)) == (7.0, 7.0)


def test_the_command_has_what_differs_from_the_defaults():
    config = {
        "algorithm": "sac_pytorch", "exp_name": "a b", "seed": 3, "lr": 1e-3, "alpha": "auto",
        "engine": "native", "threads": 1, "actor_critic": "MLPActorCritic",
        "ac_kwargs": {"hidden_sizes": [64, 64], "activation": "torch.nn.modules.activation.ELU"},
    }  # fmt: skip
    assert training_command(config, {**ENV, "kwargs": {"g": 9.0}}) == (
        "spinup sac --env Pendulum-v1 --env_kwargs '{'\"'\"'g'\"'\"': 9.0}' --exp_name 'a b' --seed 3 "
        "--alpha auto --ac_kwargs:hidden_sizes '[64, 64]' --ac_kwargs:activation torch.nn.ELU"
    )
    recipe = {**config, "recipe": "droq", "lr": 1e-3, "updates_per_step": 1.0, "betas": [0.9, 0.999]}
    words = training_command(recipe, ENV).split()
    for flag, value in (("--recipe", "droq"), ("--lr", "0.001"), ("--updates_per_step", "1.0")):
        assert words[words.index(flag) + 1] == value
    assert "--betas" not in words
    assert "--env mine:Pendulum-v1" in training_command(config, ENV, "mine:Pendulum-v1")
    limited = training_command(config, {**ENV, "max_episode_steps": 50})
    assert "--env_kwargs '{'\"'\"'max_episode_steps'\"'\"': 50}'" in limited
    assert training_command(config, {**ENV, "vector": True}) == ""
    assert training_command({**config, "actor_critic": "mine.Net"}, ENV) == ""
    assert training_command(config, {**ENV, "wrappers": ["Mine"]}) == ""


def test_the_card_without_files_or_command():
    evaluation = Evaluation(np.array([1.0, 3.0]), 1.0, 3.0)
    card = model_card({"seed": 0, "actor_critic": "mine"}, None, evaluation, "me/x", trained="10 env steps")
    front = json.loads(card.split("---")[1])
    assert front["model-index"][0]["results"][0]["metrics"][0]["value"] == "2.00 +/- 1.00"
    assert "a custom environment" in card
    assert "author's own code" in card
    assert "video" not in card.replace("spinup[video]", "")
    assert "after 10 env steps with seed 0" in card
    best = model_card(
        {"seed": 0}, ENV, evaluation, "me/x", trained="10 env steps", itr="best", given_env="mine:Pendulum-v1"
    )
    assert "by the model saved as best in 10 env steps with seed 0" in best
    assert "spinup test_policy data/x -i best --env mine:Pendulum-v1\n" in best
