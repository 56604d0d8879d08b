"""The model object: learning in parts, prediction for every space, saving and loading, wrong input."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete
from helpers import SMALL, FourCalls, Point, parameters, read_rows, train, without_timing

import spinup
from spinup.errors import ArgumentError, ConfigError, EnvError, RunError

KWARGS = {name: value for name, value in SMALL.items() if name != "epochs"}


def make(folder, env=Point, **changes):
    """A small model with its folder."""
    logger_kwargs = {"output_dir": str(folder), "quiet": True, "tensorboard": False}
    return spinup.SAC(env, **{**KWARGS, "logger_kwargs": logger_kwargs, **changes})


def test_learning_in_parts_is_learning_at_once_and_a_plain_run(tmp_path):
    parts = make(tmp_path / "parts").learn(200)
    assert parts.steps == 200
    parts.learn(150)  # rounded up to whole epochs of 100
    assert parts.steps == 400
    whole = make(tmp_path / "whole").learn(400)
    ac, rows = train(tmp_path / "plain", epochs=4)
    for model in (parts, whole):
        assert (parameters(model.ac) == parameters(ac)).all()
        assert without_timing(read_rows(model.folder)) == without_timing(rows)


def test_a_saved_model_predicts_the_same_and_continues_exactly(tmp_path):
    model = make(tmp_path / "a", "Pendulum-v1").learn(100)
    model.save(tmp_path / "copy")
    loaded = spinup.SAC.load(tmp_path / "copy")
    obs = np.array([0.5, 0.5, 1.0], np.float32)
    np.testing.assert_array_equal(model.predict(obs)[0], loaded.predict(obs)[0])
    model.learn(100)
    loaded.learn(100)
    assert loaded.steps == 200
    assert (parameters(model.ac) == parameters(loaded.ac)).all()
    assert loaded.folder == tmp_path / "copy"


def test_a_run_of_ones_own_environment_and_networks_is_loaded_with_them(tmp_path):
    own = {"actor_critic": FourCalls, "ac_kwargs": {}}
    spinup.register_actor_critic(FourCalls)
    model = make(tmp_path / "a", **own).learn(100)
    with pytest.raises(
        RunError, match=r"cannot be resumed from its files, .*: give SAC\.load\(folder, env\)"
    ):
        spinup.SAC.load(tmp_path / "a")
    loaded = spinup.SAC.load(tmp_path / "a", env=Point, actor_critic=FourCalls)
    assert (parameters(model.ac) == parameters(loaded.ac)).all()
    loaded.learn(100)
    assert loaded.steps == 200


def test_an_environment_object_gives_its_spec(tmp_path):
    env = gym.make("Pendulum-v1", g=9.0)
    model = make(tmp_path, env).learn(100)
    obs, _ = env.reset(seed=0)
    action, state = model.predict(obs)
    env.step(action)
    assert state is None
    assert action.shape == (1,)
    with pytest.raises(ConfigError, match="Point has no spec"):
        spinup.SAC(Point())


class Nested(gym.Env):
    """Dict observations and actions numbered from 3."""

    observation_space = Dict({"door": Discrete(3), "place": Box(-1, 1, (2, 2))})
    action_space = Discrete(2, start=3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"door": 1, "place": np.zeros((2, 2), np.float32)}, {}

    def step(self, action):
        assert self.action_space.contains(action)
        return self.reset()[0], 0.0, False, True, {}


def test_predictions_for_single_observations_and_batches(tmp_path):
    model = make(tmp_path / "point").learn(100)
    one = np.array([0.1, -0.2], np.float32)
    action, _ = model.predict(one)
    batch, _ = model.predict(np.stack([one, -one, one]))
    assert (action.shape, batch.shape) == ((1,), (3, 1))
    np.testing.assert_allclose(batch[2], action, rtol=1e-5)
    assert model.predict([0.1, -0.2])[0].shape == (1,)
    samples = [model.predict(one, deterministic=False)[0].item() for _ in range(3)]
    assert len(set(samples)) == 3

    model = make(tmp_path / "nested", Nested).learn(100)
    single = {"door": 2, "place": np.ones((2, 2), np.float32)}
    action, _ = model.predict(single)
    assert Nested.action_space.contains(action)
    several = {"door": np.array([2, 0]), "place": np.ones((2, 2, 2), np.float32)}
    actions, _ = model.predict(several)
    assert actions.shape == (2,)
    assert actions[0] == action


def test_a_run_that_its_callback_ended_goes_on(tmp_path):
    model = make(tmp_path).learn(400, callback=lambda row, ac: row["Epoch"] < 1)
    assert model.steps == 100
    model.learn(200)
    assert model.steps == 300


def test_learning_goes_on_within_an_epoch_that_a_callback_ended(tmp_path):
    model = make(tmp_path / "a", callback_every=50)
    model.learn(200, callback=lambda row, ac: row["TotalEnvInteracts"] < 150)
    assert model.steps == 150
    assert model.learn(100, callback=lambda row, ac: None).steps == 300


def test_a_new_folder_is_made_where_none_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = spinup.SAC(Point, **KWARGS, logger_kwargs={"quiet": True, "tensorboard": False})
    assert model.folder is None
    assert model.steps == 0
    model.learn(100).learn(100)
    assert model.folder.parent == tmp_path / "data"
    assert len(read_rows(model.folder)) == 2


def test_a_new_run_that_fails_early_does_not_continue_the_one_it_would_have_replaced(tmp_path):
    make(tmp_path).learn(300)
    faults = [RuntimeError("simulator not started")]

    def env():
        if faults:
            raise faults.pop()
        return Point()

    log = {"output_dir": str(tmp_path), "quiet": True, "tensorboard": False, "overwrite": True}
    model = make(tmp_path, env, logger_kwargs=log)
    with pytest.raises(EnvError, match="simulator not started"):
        model.learn(100)
    assert model.steps == 0
    model.learn(100).learn(100)
    assert [row["TotalEnvInteracts"] for row in read_rows(tmp_path)] == ["100", "200"]


def test_wrong_input_gets_one_line(tmp_path):
    for kwargs, error, said in (
        ({"learning_rate": 1e-3}, ArgumentError, "learning_rate is lr here"),
        ({"epochs": 3}, ConfigError, "leave it out"),
        ({"gamma": 2.0}, ConfigError, "gamma=2.0"),
        ({"engine": "nativ"}, ConfigError, "did you mean 'native'"),
    ):
        with pytest.raises(error, match=said):
            spinup.SAC(Point, **kwargs)
    with pytest.raises(ConfigError, match="give only the environment"):
        spinup.SAC("MlpPolicy")
    model = make(tmp_path / "a")
    for steps in (0, -5, 1.5, True, "100"):
        with pytest.raises(ConfigError, match="give a whole number >= 1"):
            model.learn(steps)
    with pytest.raises(RunError, match="there is no policy yet"):
        model.predict(np.zeros(2))
    with pytest.raises(RunError, match="nothing to save yet"):
        model.save(tmp_path / "b")
    model.learn(100)
    with pytest.raises(RunError, match="exists"):
        model.save(tmp_path / "a")
    with pytest.raises(ConfigError, match="does not fit"):
        model.predict(np.zeros(5))
    with pytest.raises(RunError, match="does not exist"):
        spinup.SAC.load(tmp_path / "none")
    again = make(tmp_path / "a")
    for _ in range(2):  # a folder of another run is not taken for one's own, whatever is tried before
        with pytest.raises(RunError, match="already holds a run"):
            again.learn(100)


def test_without_checkpoints_a_second_part_is_refused(tmp_path):
    model = make(tmp_path, checkpoint_every=0, checkpoint_minutes=0).learn(100)
    with pytest.raises(ConfigError, match="holds no checkpoint to continue from"):
        model.learn(100)
