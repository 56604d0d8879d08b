"""Runs with each kind of experience: TD errors reach the sampler, statistics reach acting, goals are learned."""  # noqa: E501

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from goals import PointReach
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from helpers import Point, make, parameters, random_batches, small_ac, train

import spinup
from spinup.errors import ArgumentError, EnvError
from spinup.pytorch import losses
from spinup.pytorch.engines.native import NativeEngine
from spinup.replay.prioritized import EPSILON, PrioritizedSampler


def test_engines_return_the_td_errors_of_weighted_batches(engine: str) -> None:
    learner, batches = make(small_ac(), engine), random_batches(count=2)
    assert "TDError" not in learner.update(batches)
    learner = make(small_ac(), engine)
    reference = make(small_ac())
    batches["weight"] = np.full(batches["reward"].shape, 0.5, np.float32)
    found = learner.update(batches)["TDError"]
    assert found.shape == batches["reward"].shape
    networks, alpha = reference.agent.networks, reference.agent.temperature.value()
    batch = {name: torch.from_numpy(values[0]) for name, values in batches.items()}
    with torch.no_grad():
        action, log_prob = networks.actor(batch["next_obs"], batch["noise"][0])
        value = losses.soft_value(losses.min_q(networks.target(batch["next_obs"], action)), log_prob, alpha)
        target = losses.q_target(batch["reward"], batch["discount"], value)
        errors = losses.td_error(networks.critics(batch["obs"], batch["action"]), target)
    np.testing.assert_allclose(found[0], errors, rtol=1e-4, atol=1e-5)


def test_the_td_errors_of_a_block_become_the_priorities_of_its_rows(
    run: Any, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, blocks = PrioritizedSampler.update_priorities, []

    def checked(self: PrioritizedSampler, td_errors: Any) -> None:
        real(self, td_errors)
        last = dict(zip(self._drawn.ravel().tolist(), td_errors.ravel().tolist(), strict=True))
        for position, error in last.items():
            assert self._sums.priorities[position] == pytest.approx((error + EPSILON) ** 0.6)
        blocks.append(td_errors.shape)

    monkeypatch.setattr(PrioritizedSampler, "update_priorities", checked)
    _, rows = run(Point, sampler="per", engine=engine)
    assert blocks == [(10, 8)] * 17
    assert "TDError" not in rows[0]


def test_the_default_engine_trains_on_priorities(tmp_path: Path) -> None:
    train(tmp_path, Point, sampler="per")
    assert '"engine": "native"' in (tmp_path / "config.json").read_text()


def test_every_action_is_chosen_from_normalized_observations(run: Any) -> None:
    """A Point that is observed in other units is learned alike, up to rounding and the start values."""

    class Scaled(gym.ObservationWrapper[Any, Any, Any]):
        """Observations in a unit 1/1024 as large."""

        def observation(self, observation: Any) -> Any:
            return np.round(observation * 1024).astype(np.float32)

    class Rounded(gym.ObservationWrapper[Any, Any, Any]):
        """The same in the old unit."""

        def observation(self, observation: Any) -> Any:
            return (np.round(observation * 1024) / 1024).astype(np.float32)

    settings = {"normalize_observations": True, "start_steps": 200, "update_after": 150}
    one, rows = run(lambda: Rounded(Point()), **settings)
    other, scaled_rows = run(lambda: Scaled(Point()), **settings)
    torch.testing.assert_close(parameters(one), parameters(other), rtol=1e-3, atol=1e-3)
    for a, b in zip(rows, scaled_rows, strict=True):
        assert float(a["AverageTestEpRet"]) == pytest.approx(float(b["AverageTestEpRet"]), rel=1e-2)


def test_rewards_in_another_unit_change_nothing_once_normalized(run: Any) -> None:
    class Scaled(gym.RewardWrapper[Any, Any]):
        """Rewards 1024 times as large, exactly."""

        def reward(self, reward: Any) -> Any:
            return 1024 * np.float32(reward)

    class Rounded(gym.RewardWrapper[Any, Any]):
        """The same rewards in the old unit."""

        def reward(self, reward: Any) -> Any:
            return np.float32(reward)

    settings = {"normalize_rewards": True, "start_steps": 200, "update_after": 150}
    one, _ = run(lambda: Rounded(Point()), **settings)
    other, rows = run(lambda: Scaled(Point()), **settings)
    # Not equal: the start value of the variance, 1, counts as 1e-4 rows of either unit.
    torch.testing.assert_close(parameters(one), parameters(other), rtol=1e-2, atol=1e-2)
    assert float(rows[-1]["AverageEpRet"]) < -1024 * 0.1  # in the log, returns are the environment's


def test_environments_without_goals_are_refused_before_training(run: Any) -> None:
    with pytest.raises(EnvError, match=r"^sampler='her' needs observations that are a Dict"):
        run(Point, sampler="her")

    def vector() -> Any:
        return SyncVectorEnv([PointReach] * 2, autoreset_mode=AutoresetMode.NEXT_STEP)

    with pytest.raises(EnvError, match=r"^sampler='her' calls the reward function of a single environment"):
        run(vector, sampler="her", num_envs=2)


def test_hindsight_with_worker_processes_draws_what_one_process_does(run: Any) -> None:
    settings = {"sampler": "her", "num_envs": 2, "num_test_episodes": 1}
    one, _ = run(PointReach, **settings)
    other, _ = run(PointReach, env_workers="async", **settings)
    assert parameters(one).equal(parameters(other))


@pytest.mark.parametrize("name", ["sampler", "normalize_observations", "prior_data", "offline", "her_k"])
def test_sac_tf1_refuses_what_it_does_not_have(name: str) -> None:
    with pytest.raises(ArgumentError, match=f"^sac_tf1\\(\\) has no parameter '{name}': sac_pytorch has it$"):
        spinup.sac_tf1("Pendulum-v1", **{name: "x"})  # type: ignore[arg-type]


def test_an_engine_that_does_not_list_weights_is_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supported = NativeEngine.supported
    monkeypatch.setattr(NativeEngine, "supported", replace(supported, fields=supported.fields - {"weight"}))
    train(tmp_path, Point, sampler="per")
    assert '"engine": "eager"' in (tmp_path / "config.json").read_text()
