"""Critics that see more than the policy: who sees what, what is saved, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict, Discrete
from helpers import FourCalls, Point, train
from resuming import assert_same

from spinup.config import SACConfig
from spinup.envs.spaces import policy_columns
from spinup.errors import ConfigError, EnvError
from spinup.playback.episodes import load_policy_and_env
from spinup.pytorch.networks.asymmetric import AsymmetricActorCritic
from spinup.runs.resuming import check_settings

SPACE = Dict({"a": Box(-1, 1, (2,)), "state": Box(-9, 9, (3,)), "z": Discrete(2)})


class Partly(gym.ObservationWrapper[Any, Any, Any]):
    """A Point whose place is seen, and whose speed is for the critics, or is not observed at all."""

    def __init__(self, whole: bool = True, space: Any = None) -> None:
        super().__init__(Point())
        both = {
            "place": Box(-np.inf, np.inf, (1,), np.float32),
            "speed": Box(-np.inf, np.inf, (1,), np.float32),
        }
        self.observation_space = Dict(both if whole else {"place": both["place"]})
        if space is not None:
            self.action_space = space

    def observation(self, observation: Any) -> Any:
        found = {"place": observation[:1], "speed": observation[1:]}
        return {key: found[key] for key in self.observation_space.spaces}  # type: ignore[attr-defined]

    def step(self, action: Any) -> Any:
        return super().step(action if isinstance(self.action_space, Box) else [float(action)])


def test_the_policy_sees_the_columns_of_the_other_keys() -> None:
    assert policy_columns(SPACE, ("state",)) == [0, 1, 5, 6]
    assert policy_columns(SPACE, ("a", "z")) == [2, 3, 4]
    for space, keys, line in (
        (Box(-1, 1, (2,)), ("state",), "are keys of a Dict, and the observation space is Box"),
        (SPACE, ("stat",), "the observation has no key 'stat', did you mean 'state'"),
        (SPACE, ("q",), "the observation has no key 'q': it has a, state, z"),
        (SPACE, ("a", "state", "z"), "leave no key for the policy"),
    ):
        with pytest.raises(EnvError, match=line):
            policy_columns(space, keys)


@pytest.mark.parametrize("changes", [{}, {"variant": "sac_v1"}, {"actor_critic": FourCalls}, {"critics": 3}])
def test_only_the_critics_see_the_keys(tmp_path: Path, changes: dict[str, Any]) -> None:
    ac, _ = train(tmp_path, Partly, critic_keys=("speed",), **changes)
    assert type(ac) is AsymmetricActorCritic
    obs = torch.randn(4, 2)
    other = torch.stack([obs[:, 0], torch.randn(4)], 1)  # place, speed
    action = torch.zeros(4, 1)
    np.testing.assert_array_equal(ac.act(obs, True), ac.act(other, True))
    np.testing.assert_array_equal(ac.act(obs, True), ac.act(obs[:, :1], True))
    assert ac.act(obs[0, :1].numpy(), True).shape == (1,)
    for critic in (ac.q1, ac.q2):
        assert (critic(obs, action) != critic(other, action)).all()
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["critic_keys"], config["engine"]) == (["speed"], "eager")


@pytest.mark.parametrize("changes", [{}, {"normalize_observations": True}, {"space": Discrete(2)}])
def test_the_saved_policy_acts_where_the_keys_are_not_observed(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    space = changes.pop("space", None)
    ac, _ = train(tmp_path, lambda: Partly(space=space), critic_keys="speed", **changes)
    env, act = load_policy_and_env(tmp_path, env=Partly(whole=False, space=space))
    whole, act_on_whole = load_policy_and_env(tmp_path, env=Partly(space=space))
    seen, _ = env.reset(seed=3)
    seen_whole, _ = whole.reset(seed=3)
    assert seen.keys() == {"place"}
    flat = torch.tensor(np.concatenate([seen_whole["place"], seen_whole["speed"]]))
    np.testing.assert_array_equal(act(seen), act_on_whole(seen_whole))
    np.testing.assert_array_equal(np.ravel(act(seen)), np.ravel(ac.act(flat, True)))


def test_two_halves_equal_one_run(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "critic_keys": ("speed",),
        "num_envs": 3,
        "steps_per_epoch": 99,
        "alpha": "auto",
    }
    whole, _ = train(tmp_path / "whole", Partly, **settings)
    train(tmp_path / "halves", Partly, epochs=1, **settings)
    halves, _ = train(tmp_path / "halves", Partly, resume=True, **settings)
    assert_same(whole, halves, tmp_path / "whole", tmp_path / "halves")
    with pytest.raises(ConfigError, match=r"critic_keys was \['speed'\] and is now \[\]"):
        train(tmp_path / "halves", Partly, resume=True, **{**settings, "critic_keys": ()})


def test_a_tuple_of_a_run_compares_equal_to_the_list_in_its_files(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"critic_keys": ("speed",), "threads": 1, "engine": "eager"}
    train(tmp_path, Partly, epochs=1, **settings)
    saved = json.loads((tmp_path / "config.json").read_text())
    config = SACConfig(**{k: saved[k] for k in vars(SACConfig()) if k in saved})
    check_settings(tmp_path, config, saved["ac_kwargs"], None)


@pytest.mark.parametrize("keys", [3, ("a", 3), None])
def test_keys_are_strings(keys: Any) -> None:
    with pytest.raises(ConfigError, match=r"^critic_keys=.*: give a tuple of keys, such as \('state',\)"):
        train(Path("nowhere"), Partly, critic_keys=keys)
