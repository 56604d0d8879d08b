"""SAC on images: who trains the encoder, whole runs, resume, what is saved, and what is refused."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Tuple
from gymnasium.wrappers import FrameStackObservation
from helpers import read_rows
from images import FORMS, Noise

from spinup import sac_pytorch
from spinup.deploy.export import export_policy
from spinup.envs.spaces import image_layout
from spinup.errors import ConfigError, EnvError
from spinup.playback.episodes import load_policy_and_env
from spinup.pytorch.agent import Agent, UpdateOptions
from spinup.pytorch.engines.eager import EagerEngine, gradient_step
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.networks.encoded import EncodedActorCritic
from spinup.pytorch.policy import gaussian_policy
from spinup.pytorch.variants.sac import SACObjective
from spinup.replay.random_shift import RandomShift

SMALL: dict[str, Any] = {
    "steps_per_epoch": 24, "epochs": 2, "batch_size": 4, "start_steps": 8, "update_after": 8,
    "update_every": 4, "num_test_episodes": 1, "max_ep_len": 6, "threads": 1, "device": "cpu",
    "ac_kwargs": {"hidden_sizes": [8], "encoder": {"filters": 4, "layers": 2, "features": 6}},
}  # fmt: skip


def train(env: Any, folder: Path, **kwargs: Any) -> Any:
    return sac_pytorch(env, **{**SMALL, **kwargs}, logger_kwargs={"output_dir": str(folder), "quiet": True})


def small_agent() -> tuple[EncodedActorCritic, Agent]:
    torch.manual_seed(0)
    layout = image_layout(FORMS["dict"])
    assert layout is not None
    space = Box(0, 255, (layout.nbytes,), np.uint8), Box(-1, 1, (2,), np.float32)
    options = {"filters": 4, "layers": 2, "features": 6}
    ac = EncodedActorCritic(*space, MLPActorCritic, {"hidden_sizes": [8]}, layout.to_json(), options)
    agent = Agent(
        ac.double(), UpdateOptions(lr=0.01), critics=2, has_value=False, make_policy=gaussian_policy, seed=0,
        save=lambda ac, path: None,
    )  # fmt: skip
    return ac, agent


def small_batch(count: int = 5) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    layout = image_layout(FORMS["dict"])
    assert layout is not None

    def rows() -> torch.Tensor:
        camera = rng.integers(256, size=(count, 16, 17, 1), dtype=np.uint8)
        vectors = [rng.standard_normal((count, n)).astype(np.float32) for n in (3, 2)]
        return torch.from_numpy(layout.pack([camera, *vectors]))

    obs, next_obs = rows(), rows()
    action, noise = torch.rand(count, 2).double(), torch.randn(2, count, 2).double()
    reward, discount = torch.randn(count).double(), torch.full((count,), 0.9).double()
    return {
        "obs": obs, "next_obs": next_obs, "action": action, "noise": noise, "reward": reward,
        "discount": discount,
    }  # fmt: skip


def test_the_encoder_is_trained_by_the_critics_loss_alone() -> None:
    """Its gradient is that of finite differences of the critics' loss; the policy's loss gives it none."""
    ac, agent = small_agent()
    batch, objective, alpha = small_batch(), SACObjective(), torch.tensor(0.2, dtype=torch.float64)
    encoder = list(ac.encoder.parameters())
    assert {id(p) for p in encoder} <= {id(p) for p in agent.critic_params}
    assert not {id(p) for p in encoder} & {id(p) for p in agent.actor_params}
    weight = encoder[0]
    with torch.no_grad():  # what the loss bootstraps from depends on the encoder, and is held constant
        fixed = ac.pi(batch["next_obs"], noise=batch["noise"][0])
    networks = agent.networks._replace(actor=lambda obs, noise=None: fixed)
    loss = objective.critic_loss(networks, batch, alpha)[0]
    (gradient,) = torch.autograd.grad(loss, [weight])
    for at in [(0, 0, 0, 0), (3, 0, 2, 1)]:
        values = []
        for step in (1e-6, -1e-6):
            with torch.no_grad():
                weight[at] += step
                values.append(objective.critic_loss(networks, batch, alpha)[0].item())
                weight[at] -= step
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(gradient[at].item(), rel=1e-4, abs=1e-8)
    actor_loss = objective.actor_loss(agent.networks, batch, alpha)[0]
    assert all(g is None for g in torch.autograd.grad(actor_loss, encoder, allow_unused=True))


def test_the_policys_loss_is_that_without_cached_features() -> None:
    """Features that are computed once give the same loss as those computed for each network."""
    ac, agent = small_agent()
    batch, objective, alpha = small_batch(), SACObjective(), torch.tensor(0.2, dtype=torch.float64)
    loss = objective.actor_loss(agent.networks, batch, alpha)[0]
    action, log_prob = ac.pi(batch["obs"], noise=batch["noise"][1])
    q = torch.stack([ac.q1(batch["obs"], action), ac.q2(batch["obs"], action)]).amin(0)  # type: ignore[operator]
    assert loss.item() == pytest.approx((0.2 * log_prob - q).mean().item(), rel=1e-12)
    assert ac.encoder._cache is None


def test_the_target_critics_have_an_average_of_the_encoder() -> None:
    ac, agent = small_agent()
    target: Any = agent.target
    before = target.encoder.images[0].convolutions[0].weight.clone()
    gradient_step(agent, SACObjective(), agent.optimizers, small_batch())
    after: torch.Tensor = ac.encoder.images[0].convolutions[0].weight  # type: ignore[union-attr, index]
    moved = target.encoder.images[0].convolutions[0].weight
    assert not torch.equal(before, after)
    assert torch.allclose(moved, 0.995 * before + 0.005 * after, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_a_run_can_be_loaded(form: str, tmp_path: Path) -> None:
    """model.pt acts as the returned actor-critic, on observations as the environment returns them."""
    ac = train(lambda: FrameStackObservation(Noise(form), 3), tmp_path / "run", num_envs=3)
    env = FrameStackObservation(Noise(form), 3)
    loaded, get_action = load_policy_and_env(tmp_path / "run", env=env)
    observation, _ = loaded.reset(seed=1)
    action = get_action(observation)
    assert action.shape == (2,)
    layout = image_layout(env.observation_space)
    assert layout is not None
    if form != "dict":
        assert np.allclose(ac.act(observation, deterministic=True), action, atol=1e-6)
        assert np.allclose(ac.act(np.stack([observation] * 2), True)[1], action, atol=1e-6)
    engine = json.loads((tmp_path / "run" / "config.json").read_text())["engine"]
    assert engine == "eager"


@pytest.mark.parametrize(
    "settings",
    [
        {"critics": 5, "target_critics": 2},
        {"variant": "sac_v1"},
        {"critic": "quantile", "quantiles": 5},
        {"critic": "categorical", "atoms": 11, "normalize_rewards": True},
        {"sampler": "per", "n_step": 3, "hold_noise": 4},
        {"target_networks": False, "random_shift": 0},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_other_settings_compose(settings: dict[str, Any], tmp_path: Path) -> None:
    train(lambda: Noise("last"), tmp_path / "run", epochs=1, **settings)
    (row,) = read_rows(tmp_path / "run")
    assert math.isfinite(float(row["LossQ"]))
    assert math.isfinite(float(row["LossPi"]))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert {name: config[name] for name in settings} == settings


def test_discrete_actions(tmp_path: Path) -> None:
    ac = train(lambda: Noise("gray", discrete=True), tmp_path / "run", epochs=1)
    assert ac.act(np.zeros((16, 17), np.uint8)) in (0, 1, 2)


def test_resume_is_exact(tmp_path: Path) -> None:
    """A run of two epochs, and one that is stopped after the first and continued."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")

        def make() -> Any:
            return FrameStackObservation(Noise("dict"), 3)

        whole = train(make, tmp_path / "whole")
        train(make, tmp_path / "parts", epochs=1)
        parts = train(make, tmp_path / "parts", resume=True)
    for (name, a), b in zip(whole.state_dict().items(), parts.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("to", ["onnx", "torchscript"])
def test_export(to: str, tmp_path: Path) -> None:
    """Of an image and vectors (needs the extra onnx); the export compares 1,000 observations itself."""
    train(lambda: Noise("dict"), tmp_path / "run", epochs=1)
    path, difference = export_policy(tmp_path / "run", to, env=Noise("dict"))
    assert path.exists()
    assert difference < 1e-5


REFUSED: dict[str, tuple[Any, str]] = {
    "float": (Box(0, 1, (16, 16, 3), np.float32), "looks like an image of another dtype"),
    "float in a Dict": (Dict(a=Box(0, 1, (16, 16, 3), np.float32)), "looks like an image of another dtype"),
    "channels": (Box(0, 255, (16, 16, 16), np.uint8), "channel axis is ambiguous"),
    "five axes": (Box(0, 255, (2, 2, 16, 16, 3), np.uint8), "an image with 5 axes: give it at most four"),
    "small": (Box(0, 255, (7, 20, 3), np.uint8), "7 x 20 pixels, too small"),
    "in a Tuple": (Tuple((FORMS["last"],)), "an image inside another space"),
    "nested": (Dict(a=FORMS["last"], b=Dict(c=FORMS["last"])), "an image inside another space"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_spaces_that_are_refused(name: str) -> None:
    space, message = REFUSED[name]
    with pytest.raises(EnvError, match=message) as error:
        image_layout(space)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalize_observations": True}, "normalize_observations=True applies to vectors"),
        ({"critic_keys": ("camera",)}, "critic_keys=.* cannot be combined with images"),
        ({"sampler": "her"}, "sampler='her' needs"),
        ({"prior_data": "x"}, "prior_data='x' cannot be combined with the images"),
        ({"engine": "native"}, "the actor-critic is EncodedActorCritic"),
        ({"engine": "compile"}, "the actor-critic is EncodedActorCritic"),
        ({"random_shift": -1}, "random_shift=-1: give a whole number"),
        ({"random_shift": 20}, "random_shift=20 moves an image out of its frame: give a few pixels"),
        ({"ac_kwargs": {"encoder": {"filter": 3}}}, "no option 'filter', did you mean 'filters'"),
        ({"ac_kwargs": {"encoder": {"layers": 9}}}, "too small for layers=9"),
        ({"ac_kwargs": {"encoder": 3}}, "encoder=3: give a dict"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises((ConfigError, EnvError), match=message) as error:
        train(lambda: Noise("dict"), tmp_path / "run", **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "largest"), [({}, {4}), ({"random_shift": 2}, {2}), ({"random_shift": 0}, set())]
)
def test_a_run_learns_from_shifted_batches(
    settings: dict[str, Any], largest: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied, seen = RandomShift.apply, []

    def apply(self: RandomShift, batches: Any, rng: Any) -> Any:
        shifted = applied(self, batches, rng)
        assert not np.array_equal(shifted["obs"], batches["obs"])
        seen.append((self.pixels, shifted["obs"]))
        return shifted

    learned = []
    update = EagerEngine.update

    def record(self: Any, agent: Any, batches: Any) -> Any:
        learned.append(batches["obs"])
        return update(self, agent, batches)

    monkeypatch.setattr(RandomShift, "apply", apply)
    monkeypatch.setattr(EagerEngine, "update", record)
    train(lambda: Noise("last"), tmp_path / "run", epochs=1, **settings)
    assert learned
    assert {pixels for pixels, _ in seen} == largest
    # Diagnostics at the end of the epoch have the batch after those that are learned from.
    assert len(seen) == (len(learned) + 1 if largest else 0)
    for (_, shifted), batch in zip(seen, learned, strict=False):
        assert np.array_equal(shifted, np.asarray(batch))


def test_images_are_not_cast(tmp_path: Path) -> None:
    """An environment that declares uint8 and returns floats is stopped."""

    class Casts(Noise):
        def step(self, action: Any) -> Any:
            observation, *rest = super().step(action)
            return observation.astype(np.float32), *rest

    with pytest.raises(EnvError, match="has dtype float32, not uint8"):
        train(Casts, tmp_path / "run")


def test_settings_of_images_without_images(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="random_shift=2 applies to images"):
        train(lambda: gym.make("Pendulum-v1"), tmp_path / "a", random_shift=2, ac_kwargs={})
    with pytest.raises(ConfigError, match="takes no 'encoder'"):
        train(lambda: gym.make("Pendulum-v1"), tmp_path / "b")
