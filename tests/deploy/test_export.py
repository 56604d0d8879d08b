"""Exported policies: equal to `act`, any batch size, described by metadata, refused where they differ.

Needs the extra `onnx`.
"""

import io
import json
import warnings

import gymnasium as gym
import numpy as np
import onnxruntime
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete
from helpers import FourCalls, small_ac, train

import spinup
from spinup.cli.main import main
from spinup.deploy.export import ExportMismatch, export, export_policy
from spinup.deploy.policy_module import largest_difference, random_observations
from spinup.envs.spaces import action_spec
from spinup.errors import ConfigError, RunError
from spinup.pytorch.networks.actor_critic import DiscreteMLPActorCritic, MLPValueActorCritic
from spinup.pytorch.networks.normalized import NormalizedActorCritic
from spinup.replay.normalizer import RunningMoments

# An export to ONNX takes some seconds, whatever the network.
FORMATS = (pytest.param("onnx", marks=pytest.mark.slow), "torchscript")
OBSERVATIONS = Box(-np.inf, np.inf, (3,), np.float32)
BOUNDS = Box(np.array([-1.0, 2.0], np.float32), np.array([3.0, 7.0], np.float32))
torch.manual_seed(0)


def scaled_up(ac):
    """The same network with outputs large enough to reach every bound."""
    with torch.no_grad():
        for parameter in ac.pi.parameters():
            parameter.mul_(4.0)
    return ac


MODELS = {
    "continuous": (scaled_up(small_ac(low=BOUNDS.low, high=BOUNDS.high)), BOUNDS),
    "sac_v1": (scaled_up(MLPValueActorCritic(OBSERVATIONS, BOUNDS, (8, 8), torch.nn.ELU)), BOUNDS),
    "discrete": (DiscreteMLPActorCritic(OBSERVATIONS, Discrete(4), (8,)), Discrete(4, start=-2)),
}


def runner(to, data):
    """A function of observations, by the runtime of the format alone."""
    if to == "onnx":
        session = onnxruntime.InferenceSession(data)
        return lambda obs: session.run(None, {"obs": obs})[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(io.BytesIO(data))
    return lambda obs: loaded(torch.from_numpy(obs)).detach().numpy()


@pytest.mark.parametrize(
    ("kind", "to"),
    [
        ("continuous", "onnx"),
        pytest.param("sac_v1", "onnx", marks=pytest.mark.slow),
        pytest.param("discrete", "onnx", marks=pytest.mark.slow),
        *((kind, "torchscript") for kind in MODELS),
    ],
)
def test_the_file_acts_like_act_in_units_and_numbering_of_the_environment(kind, to):
    ac, space = MODELS[kind]
    data, difference = export(ac, OBSERVATIONS, space, to, {"note": [1, "two"]})
    assert 0 <= difference < 1e-5
    run = runner(to, data)
    obs = 2 * np.random.default_rng(1).standard_normal((37, 3)).astype(np.float32)
    for batch in (1, 5, 37):
        action, wanted = run(obs[:batch]), ac.act(obs[:batch], deterministic=True)
        if kind == "discrete":
            assert action.dtype == np.int64
            np.testing.assert_array_equal(action, wanted - 2)
        else:
            assert action.dtype == np.float32
            np.testing.assert_allclose(action, wanted, atol=1e-4)
            assert ((action >= BOUNDS.low) & (action <= BOUNDS.high)).all()


@pytest.mark.parametrize(
    "space", [MultiDiscrete([3, 4], start=[1, -2]), MultiDiscrete([[2, 3], [2, 2]]), MultiBinary(3)]
)
def test_several_discrete_actions_at_once(space):
    spec = action_spec(space)
    ac = scaled_up(DiscreteMLPActorCritic(OBSERVATIONS, spec.space, (8,)))
    data, difference = export(ac, OBSERVATIONS, space, "torchscript", {})
    assert difference == 0.0
    obs = 2 * np.random.default_rng(1).standard_normal((37, 3)).astype(np.float32)
    wanted = spec.to_env(ac.act(obs, deterministic=True).astype(np.float32)[:, None])
    np.testing.assert_array_equal(runner("torchscript", data)(obs), wanted)


@pytest.mark.parametrize("to", FORMATS)
def test_every_bound_of_every_dimension_is_in_the_graph(to):
    ac = small_ac(low=BOUNDS.low, high=BOUNDS.high)
    with torch.no_grad():
        ac.pi.mu_layer.weight.zero_()
        ac.pi.mu_layer.weight[:, 0] = torch.tensor([100.0, -100.0])
        ac.pi.net = torch.nn.Sequential(torch.nn.Linear(3, 8))
        ac.pi.net[0].weight.fill_(1.0)
        ac.pi.net[0].bias.zero_()
        ac.pi.mu_layer.bias.zero_()
    run = runner(to, export(ac, OBSERVATIONS, BOUNDS, to, {})[0])
    ones = np.ones((1, 3), np.float32)
    np.testing.assert_allclose(run(ones), [[3.0, 2.0]], rtol=1e-6)
    np.testing.assert_allclose(run(-ones), [[-1.0, 7.0]], rtol=1e-6)
    np.testing.assert_allclose(run(0 * ones), [[1.0, 4.5]], rtol=1e-6)


@pytest.mark.parametrize("to", FORMATS)
def test_normalization_is_part_of_the_graph(to):
    ac, moments = small_ac(), RunningMoments((3,))
    moments.mean[:], moments.var[:] = 5.0, 4.0
    data, _ = export(NormalizedActorCritic.around(ac, moments), OBSERVATIONS, Box(-1, 1, (2,)), to, {})
    obs = np.full((1, 3), 7.0, np.float32)
    np.testing.assert_allclose(runner(to, data)(obs), ac.act(np.ones((1, 3), np.float32), True), atol=1e-5)


def test_a_policy_that_acts_otherwise_is_refused_with_the_difference():
    ac = small_ac()
    plain = ac.act
    ac.act = lambda obs, deterministic: plain(obs, deterministic) + 0.25
    with pytest.raises(ExportMismatch, match=r"differs from act by 0\.25 half ranges.*nothing was written"):
        export(ac, OBSERVATIONS, Box(-1, 1, (2,)), "torchscript", {})
    ac = DiscreteMLPActorCritic(OBSERVATIONS, Discrete(4), (8,))
    ac.act = lambda obs, deterministic: np.zeros(len(obs), np.int64)
    with pytest.raises(ExportMismatch, match="of probability"):
        export(ac, OBSERVATIONS, Discrete(4), "torchscript", {})


def test_differences_by_hand():
    space = Box(np.array([-1, 0], np.float32), np.array([1, 10], np.float32))
    ac = small_ac(low=space.low, high=space.high)
    obs = np.zeros((2, 3), np.float32)
    wanted = ac.act(obs, True)
    assert largest_difference(ac, space, obs, wanted) == 0
    assert largest_difference(ac, space, obs, wanted + np.float32([0, 1])) == pytest.approx(0.2)
    assert largest_difference(ac, space, obs, wanted[:, :1]) == np.inf
    ac = DiscreteMLPActorCritic(OBSERVATIONS, Discrete(2), ())
    with torch.no_grad():
        ac.pi.logits[0].weight.zero_()
        ac.pi.logits[0].bias.copy_(torch.tensor([0.75, 0.25]).log())
    start = Discrete(2, start=5)
    assert largest_difference(ac, start, obs, np.array([5, 5])) == 0
    assert largest_difference(ac, start, obs, np.array([5, 6])) == pytest.approx(0.5)
    assert largest_difference(ac, start, obs, np.array([0, 5])) == np.inf


def test_random_observations_stay_between_bounds():
    space = Box(np.array([-1, -np.inf, 0], np.float32), np.array([1, np.inf, 1e30], np.float32))
    rows = random_observations(space, 1000)
    assert rows.dtype == np.float32
    assert np.abs(rows[:, 0]).max() <= 1
    assert 0.9 < rows[:, 1:].std() < 1.1


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    """The folder of a short run."""
    folder = tmp_path_factory.mktemp("runs") / "pendulum"
    train(folder, "Pendulum-v1", epochs=1)
    return folder


@pytest.mark.parametrize("to", ["onnx", "torchscript"])
def test_the_command_writes_a_described_file(pendulum, to, capsys):
    assert main(["export", str(pendulum), "--to", to]) == 0
    assert "largest difference" in capsys.readouterr().out
    data = (pendulum / f"policy.{to}").read_bytes()
    if to == "onnx":
        session = onnxruntime.InferenceSession(data)
        about = session.get_modelmeta().custom_metadata_map
        (given,) = session.get_inputs()
        assert given.name == "obs"
        assert given.shape == ["batch", 3]
    else:
        about = dict.fromkeys(("env", "action_space", "versions", "config_sha256", "observation_space"), "")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.load(io.BytesIO(data), _extra_files=about)
    about = {name: json.loads(value) for name, value in about.items()}
    assert about["env"] == {"id": "Pendulum-v1", "kwargs": {}, "max_episode_steps": 200}
    assert about["action_space"]["high"] == [2.0]
    assert about["versions"]["spinup"] == spinup.__version__
    assert len(about["config_sha256"]) == 64


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--to", "onxx"], "did you mean 'onnx'"),
        (["-i", "7"], "does not exist"),
        (["--out", "/dev/null/x.onnx"], "cannot write"),
        (["--env", "CartPole-v1"], "does not fit CartPole-v1"),
        (["--wrong"], "--wrong"),
    ],
)
def test_wrong_input_gets_one_line(pendulum, words, said, capsys):
    assert main(["export", str(pendulum), "--to", "torchscript", *words]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_missing_folders_and_policies_without_a_mean_action(tmp_path, capsys):
    with pytest.raises(RunError, match="does not exist"):
        export_policy(tmp_path / "none")
    with pytest.raises(ConfigError, match="give the policy a method mean_action"):
        export(FourCalls(OBSERVATIONS, BOUNDS), OBSERVATIONS, BOUNDS, "torchscript", {})


class Nested(gym.Env):
    """Dict observations, actions of shape (2, 1) in float64."""

    observation_space = Dict({"place": Box(-1, 1, (2, 2)), "door": Discrete(3)})
    action_space = Box(np.array([[0.0], [-3.0]]), np.array([[1.0], [-1.0]]), dtype=np.float64)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return {"place": np.zeros((2, 2), np.float32), "door": 1}, {}

    def step(self, action):
        assert self.action_space.contains(action)
        return self.reset()[0], 0.0, False, False, {}


def test_nested_spaces_are_flat_in_the_file(tmp_path):
    gym.register("Nested-v0", Nested, max_episode_steps=5)
    try:
        train(tmp_path, "Nested-v0", epochs=1)
        path, _ = export_policy(tmp_path, "torchscript", tmp_path / "nested.pt")
    finally:
        del gym.registry["Nested-v0"]
    assert runner("torchscript", path.read_bytes())(np.zeros((4, 7), np.float32)).shape == (4, 2)
