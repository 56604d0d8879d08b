"""Saved policies: loading, running, rendering, and damaged files."""

import errno
import json
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete

import spinup
from spinup.cli.main import main as spinup_main
from spinup.cli.test_policy import main
from spinup.errors import ConfigError, EnvError, RunError
from spinup.loggers.epoch_logger import EpochLogger
from spinup.playback import viewer
from spinup.playback.episodes import load_policy_and_env, run_policy


class Room(gym.Env):
    """Nested observations, actions of shape (2, 1), episodes of five steps, and frames."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012 (as in gymnasium)
    observation_space = Dict({"place": Box(-1, 1, (2, 2)), "door": Discrete(3)})
    action_space = Box(np.array([[0.0], [-3.0]]), np.array([[1.0], [-1.0]]), dtype=np.float64)

    def __init__(self, render_mode=None, size=1.0):
        self.render_mode = render_mode
        self.size = size

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self._look(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        return self._look(), self.size * float(action.sum()), self.t == 5, False, {}

    def render(self):
        return np.full((32, 32, 3), 40 * self.t, dtype=np.uint8)

    def _look(self):
        return {"place": self.np_random.uniform(-1, 1, (2, 2)).astype(np.float32), "door": 1}


@pytest.fixture(autouse=True)
def room():
    gym.register("Room-v0", Room)
    yield
    del gym.registry["Room-v0"]


@pytest.fixture
def run_dir(tmp_path, room):
    """The folder of a finished run."""
    from spinup.pytorch.model_file import save_model

    low, high = np.array([[0, -3], [1, -1]], dtype=np.float32)
    spaces = Box(-np.inf, np.inf, (7,)), Box(low, high)
    torch.manual_seed(0)
    ac = spinup.MLPActorCritic(*spaces, hidden_sizes=(8,))
    logger = EpochLogger(tmp_path / "room_s0", quiet=True, tensorboard=False)
    logger.save_config({"max_ep_len": 3})
    logger.save_state({"env": {"id": "Room-v0", "kwargs": {"size": 2.0}}})
    for name in ("model.pt", "model_best.pt"):
        save_model(
            ac,
            tmp_path / "room_s0" / "pyt_save" / name,
            spinup.MLPActorCritic,
            spaces,
            {"hidden_sizes": (8,)},
        )
    return tmp_path / "room_s0"


def test_default_is_the_mean_action_in_the_saved_environment(run_dir):
    env, get_action = load_policy_and_env(run_dir)
    assert env.unwrapped.size == 2.0
    observation, _ = env.reset(seed=0)
    action = get_action(observation)
    assert env.action_space.contains(action)
    ac = torch.load(run_dir / "pyt_save" / "model.pt", weights_only=True)
    flat = gym.spaces.utils.flatten(env.observation_space, observation).astype(np.float32)
    np.testing.assert_allclose(action.ravel(), ac.act(torch.as_tensor(flat), True), rtol=1e-6)
    np.testing.assert_array_equal(action, get_action(observation))

    _, sample = load_policy_and_env(run_dir, deterministic=False)
    assert not np.array_equal(sample(observation), sample(observation))


def test_run_policy_returns_returns_and_lengths(run_dir, capsys):
    env, get_action = load_policy_and_env(run_dir)
    returns, lengths = run_policy(env, get_action, num_episodes=3, render=False, seed=1)
    assert lengths.tolist() == [5, 5, 5]
    again, _ = run_policy(env, get_action, num_episodes=1, render=False, seed=1)
    assert again[0] == returns[0]
    _, lengths = run_policy(env, get_action, max_ep_len=2, num_episodes=1, render=False)
    assert lengths.tolist() == [2]
    assert "AverageEpRet" in capsys.readouterr().out


def unavailable(run_dir, message):
    """The environment is None after a warning, and the command line ends with the same reason."""
    with pytest.warns(UserWarning, match=message):
        env, get_action = load_policy_and_env(run_dir)
    assert env is None
    assert get_action(np.zeros(7)).shape == (2,)
    with pytest.raises(EnvError, match=message):
        main([str(run_dir), "-nr"])
    with pytest.raises(EnvError, match=r"load_policy_and_env\(path, env=\.\.\.\)"):
        run_policy(env, get_action)


def test_damaged_description_of_the_environment(run_dir):
    (run_dir / "vars.json").write_text("{")
    with pytest.warns(UserWarning, match="cannot be read as JSON"):
        assert load_policy_and_env(run_dir)[0] is None


def test_discrete_actions_without_an_environment_are_integers(tmp_path, run):
    run("CartPole-v1", epochs=1)
    (tmp_path / "run0" / "vars.json").unlink()
    with pytest.warns(UserWarning, match="does not name the environment"):
        _, get_action = load_policy_and_env(tmp_path / "run0")
    assert Discrete(2).contains(get_action(np.zeros(4)))


def test_messages_name_flags_on_the_command_line(run_dir, capsys):
    (run_dir / "vars.json").write_text(json.dumps({"env": {"id": "Gone-v0", "kwargs": {}}}))
    assert spinup_main(["test_policy", str(run_dir)]) == 2
    assert "--env module:Gone-v0" in capsys.readouterr().err
    assert spinup_main(["test_policy", str(run_dir), "--env", "Room-v0", "-i", "7"]) == 2
    assert "with -i\n" in capsys.readouterr().err


def test_module_named_in_a_file_is_not_imported(run_dir, tmp_path, monkeypatch):
    (tmp_path / "trap_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    (run_dir / "vars.json").write_text(json.dumps({"env": {"id": "trap_module:Room-v0", "kwargs": {}}}))
    unavailable(run_dir, r"env='trap_module:Room-v0'")
    assert "trap_module" not in sys.modules


@pytest.mark.parametrize("name", [None, "Room-v0", "room_module:Room-v0"])
@pytest.mark.parametrize(
    ("limit", "steps"), [({"max_episode_steps": 3}, 3), ({"max_episode_steps": None}, 5), ({}, 4)]
)
def test_saved_kwargs_and_step_limit_are_kept(run_dir, tmp_path, monkeypatch, name, limit, steps):
    (tmp_path / "room_module.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    gym.registry["Room-v0"].max_episode_steps = 4
    saved = {"id": "Room-v0", "kwargs": {"size": 2.0}, **limit}
    (run_dir / "vars.json").write_text(json.dumps({"env": saved}))
    env, get_action = load_policy_and_env(run_dir, env=name)
    assert env.unwrapped.size == 2.0
    assert run_policy(env, get_action, num_episodes=1, render=False)[1].tolist() == [steps]


def test_unregistered_id_names_the_remedy(run_dir):
    (run_dir / "vars.json").write_text(json.dumps({"env": {"id": "Gone-v0", "kwargs": {}}}))
    unavailable(run_dir, r"^[^\n]*'Gone-v0' of .* is not registered here.*env='module:Gone-v0'")


@pytest.mark.parametrize("content", ["{}", '{"env": null}', '{"env": {"id": 3}}', '{"env": "Room-v0"}'])
def test_run_without_a_saved_environment(run_dir, content):
    (run_dir / "vars.json").write_text(content)
    unavailable(run_dir, r"give your environment as env=|give it with --env|give the environment with --env")
    for given in ("Room-v0", Room, Room()):
        env, get_action = load_policy_and_env(run_dir, env=given)
        assert env.action_space.contains(get_action(env.reset(seed=0)[0]))


def test_wrapped_environment_is_refused(run_dir):
    saved = {"id": "Room-v0", "kwargs": {"size": 2.0}, "wrappers": ["RescaleAction"]}
    (run_dir / "vars.json").write_text(json.dumps({"env": saved}))
    unavailable(run_dir, "wrapped in RescaleAction")
    env, _ = load_policy_and_env(run_dir, env="Room-v0")
    assert env.unwrapped.size == 2.0


def test_environment_of_other_sizes_is_refused(run_dir):
    with pytest.raises(EnvError, match=r"Pendulum-v1, with observations of 3 numbers and .* Box\(-2"):
        load_policy_and_env(run_dir, env="Pendulum-v1")
    with pytest.raises(EnvError, match="did you mean 'Pendulum-v1'"):
        load_policy_and_env(run_dir, env="Pendulun-v1")


def test_itr_selects_a_save(run_dir):
    load_policy_and_env(run_dir, "best")
    (run_dir / "pyt_save" / "model.pt").rename(run_dir / "pyt_save" / "model9.pt")
    (run_dir / "pyt_save" / "model_best.pt").rename(run_dir / "pyt_save" / "model10.pt")
    load_policy_and_env(run_dir, 9)
    (run_dir / "pyt_save" / "model9.pt").write_bytes(b"not the latest")
    load_policy_and_env(run_dir, "last")
    with pytest.raises(RunError, match=r"saved models are model10\.pt, model9\.pt"):
        load_policy_and_env(run_dir, "best")


def test_wrong_path_names_the_closest(run_dir, tmp_path):
    with pytest.raises(RunError, match=r"did you mean '.*room_s0'"):
        load_policy_and_env(tmp_path / "room_s1")
    for path in (tmp_path, run_dir / "pyt_save", run_dir / "config.json", run_dir / "pyt_save" / "model.pt"):
        with pytest.raises(RunError, match=r"did you mean [^ ]*room_s0'?\?"):
            load_policy_and_env(path)


class Bomb:
    def __reduce__(self):
        return print, ("the file ran code",)


@pytest.mark.parametrize("damage", ["empty", "cut", "bomb", "tensor"])
def test_damaged_and_malicious_models(run_dir, damage, capsys):
    path = run_dir / "pyt_save" / "model.pt"
    if damage == "bomb":
        torch.save(Bomb(), path)
    elif damage == "tensor":
        torch.save(torch.zeros(1), path)
    else:
        path.write_bytes(path.read_bytes()[: 0 if damage == "empty" else 300])
    with pytest.raises(RunError, match=r"model\.pt") as caught:
        load_policy_and_env(run_dir)
    assert "\n" not in str(caught.value)
    assert "ran code" not in capsys.readouterr().out


# imageio's .mp4 reader leaves its pipes to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_video(run_dir, tmp_path, suffix):
    imageio = pytest.importorskip("imageio.v3")
    video = tmp_path / f"video{suffix}"
    assert main([str(run_dir), "--video", str(video), "-n", "2"]) == 0
    frames = imageio.imread(video, index=None) if suffix == ".gif" else imageio.imread(video)
    assert frames.shape[:3] == (8, 32, 32)  # two episodes of max_ep_len = 3 steps, from config.json
    means = frames.reshape(8, -1).mean(axis=1)
    np.testing.assert_allclose(means, [0, 40, 80, 120] * 2, atol=6)


@pytest.mark.parametrize("suffix", [".gif", ".mp4"])
def test_a_video_on_a_full_disk_is_refused_and_leaves_no_file(run_dir, tmp_path, monkeypatch, suffix):
    def fail(self):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(viewer.Viewer, "_write_frame", fail)
    with pytest.raises(RunError, match=r"^cannot write .* \(No space left on device\): give another file$"):
        main([str(run_dir), "--video", str(tmp_path / f"video{suffix}")])
    assert not [path for path in tmp_path.iterdir() if "video" in path.name]


def test_invalid_video_path(run_dir, tmp_path):
    with pytest.raises(ConfigError, match=r"\.mp4 or \.gif"):
        main([str(run_dir), "--video", str(tmp_path / "video.avi")])
    with pytest.raises(ConfigError, match="does not exist"):
        main([str(run_dir), "--video", str(tmp_path / "no" / "video.gif")])


def test_rendering_error_is_one_line(run_dir, tmp_path, monkeypatch):
    def fail(self):
        raise AttributeError("no\nGL")

    monkeypatch.setattr(Room, "render", fail)
    with pytest.raises(EnvError, match=r"rendering fails here \(no GL\).*MUJOCO_GL"):
        main([str(run_dir), "--video", str(tmp_path / "video.gif")])


def test_without_display_it_runs_after_one_message(run_dir, monkeypatch, capsys):
    monkeypatch.setattr(viewer, "has_display", lambda: False)
    assert main([str(run_dir), "-n", "1"]) == 0
    assert capsys.readouterr().out.count("no display") == 1
    assert main([str(run_dir), "-n", "1", "-nr"]) == 0
    assert "no display" not in capsys.readouterr().out


def test_invalid_flags(run_dir):
    for words, message in (
        (["-d", "--stochastic"], "--stochastic"),
        (["-n", "0"], "-n must be at least 1"),
        (["-l", "-1"], "-l at least 0"),
        (["-n", "x"], "'x'"),
        (["--vidoe", "v.gif"], "--vidoe"),
    ):
        with pytest.raises(ConfigError, match=message):
            main([str(run_dir), *words])
