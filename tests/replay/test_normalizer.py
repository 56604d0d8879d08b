"""The normalizer against Gymnasium's wrappers on the same stream, and against two-pass moments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import NormalizeObservation, NormalizeReward
from gymnasium.wrappers.vector import NormalizeReward as VectorNormalizeReward
from helpers import Diary, Point, joined, replay_buffer
from hypothesis import given
from hypothesis import strategies as st

from spinup.collect.collector import EnvCollector
from spinup.envs.make import make_vector
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.builders import OneStepBuilder
from spinup.replay.normalizer import Normalizer, RunningMoments
from spinup.replay.samplers import UniformSampler
from spinup.replay.storage import HostStorage

GAMMA = 0.9


def normalizer(observations: bool = True, rewards: bool = True, num_envs: int = 1) -> Normalizer:
    """A normalizer of two observed numbers."""
    return Normalizer(2, num_envs, GAMMA, observations=observations, rewards=rewards)


@pytest.mark.parametrize("env_fn", [Point, lambda: Point(ends=True), Diary])
def test_one_environment_is_scaled_as_gymnasiums_wrappers_scale_it(env_fn: Any) -> None:
    wrapped = NormalizeReward(NormalizeObservation(env_fn()), gamma=GAMMA)
    ours = normalizer()
    collector = EnvCollector(make_vector(env_fn, 1, "sync", 10.0), seed=3, stream=1, max_ep_len=1000)
    collector.start()
    wrapped.reset(seed=collector.seed_of(0, 0))
    rng = np.random.default_rng(0)
    for _ in range(60):
        action = rng.uniform(-1, 1, (1, 1)).astype(np.float32)
        rows, _ = collector.step(action)
        ours.update(rows)
        next_obs, reward, terminated, truncated, _ = wrapped.step(action[0])
        assert ours.returns is not None
        assert ours.obs is not None
        # The wrapper computes in the observations' float32, the normalizer in float64.
        np.testing.assert_allclose(ours.obs.mean, wrapped.env.obs_rms.mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(ours.obs.var, wrapped.env.obs_rms.var, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(ours.returns.var, wrapped.return_rms.var, rtol=1e-6)
        np.testing.assert_allclose(ours.observations(rows["next_obs"])[0], next_obs, rtol=1e-4, atol=1e-4)
        batch = {name: rows[name][None] for name in ("obs", "next_obs", "reward")}
        scaled = ours.apply(batch, lambda array: array)
        np.testing.assert_allclose(scaled["reward"][0, 0], reward, rtol=1e-5)
        np.testing.assert_array_equal(scaled["next_obs"][0], ours.observations(rows["next_obs"]))
        if terminated or truncated:
            # The wrapper counts the first observation of an episode now, the normalizer with its transition.
            wrapped.reset(seed=collector.seed_of(0, collector.episodes[0].number))


def test_several_environments_have_their_own_returns() -> None:
    envs = SyncVectorEnv([lambda: Point(ends=True)] * 3, autoreset_mode=AutoresetMode.DISABLED)
    wrapped = VectorNormalizeReward(envs, gamma=GAMMA)
    wrapped.reset(seed=[5, 6, 7])
    ours = normalizer(observations=False, num_envs=3)
    rng = np.random.default_rng(0)
    for _ in range(14):  # within the first episode: the wrapper's later ones depend on how it resets
        actions = rng.uniform(-1, 1, (3, 1)).astype(np.float32)
        _, reward, terminated, _, _ = wrapped.step(actions)
        assert ours.returns is not None
        unscaled = np.array([-float(env.x[0] ** 2) for env in envs.envs], np.float32)  # type: ignore[attr-defined]
        ours.update({"env": np.arange(3), "reward": unscaled, "terminated": terminated})
        scaled = ours.apply({"reward": unscaled}, lambda array: array)
        np.testing.assert_allclose(scaled["reward"], reward, rtol=1e-5)


@given(counts=st.lists(st.integers(1, 7), min_size=1, max_size=9), seed=st.integers(0, 99))
def test_moments_are_those_of_all_rows(counts: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [rng.normal(3, 2, (count, 2)) for count in counts]
    moments = RunningMoments((2,))
    mean_memory = moments.mean
    for part in parts:
        moments.update(part)
    rows, weight = np.concatenate(parts), 1e-4  # of the start values, mean 0 and variance 1
    mean = rows.sum(0) / (len(rows) + weight)
    square = (np.square(rows).sum(0) + weight) / (len(rows) + weight)
    np.testing.assert_allclose(moments.mean, mean, rtol=1e-9)
    np.testing.assert_allclose(moments.var, square - mean**2, rtol=1e-7, atol=1e-9)
    assert moments.mean is mean_memory


def test_data_of_more_environments_than_the_run_has() -> None:
    ours, apart = normalizer(observations=False), normalizer(observations=False, num_envs=3)
    running = {"env": np.zeros(1, int), "reward": np.ones(1), "terminated": np.zeros(1, bool)}
    ours.update(running)
    before = ours.state_dict()["return"].copy()
    rows = {"env": np.array([2, 0, 2]), "reward": np.array([1.0, 2.0, 3.0]), "terminated": np.zeros(3, bool)}
    ours.update_with_data(rows)
    assert ours.state_dict()["return"] == before
    apart.update(running)
    apart._return[:] = 0.0
    apart.update(rows)
    assert ours.returns is not None
    assert apart.returns is not None
    assert ours.returns.state_dict() == apart.returns.state_dict()


def test_returns_of_rows_in_any_grouping_are_the_same() -> None:
    rows = [
        {
            "env": np.array([0, 1], np.int32),
            "reward": np.array([k, 2 * k], np.float32),
            "terminated": np.array([k == 2, False]),
        }
        for k in range(5)
    ]
    one, all_at_once = normalizer(observations=False, num_envs=2), normalizer(observations=False, num_envs=2)
    for part in rows:
        one.update(part)
    all_at_once.update(joined(rows))
    # G of environment 0: 0, 1, 2 (terminal, what was before it is forgotten), 0.9 * 2 + 3, 0.9 * 4.8 + 4.
    np.testing.assert_allclose(one.state_dict()["return"][0], 8.32)
    np.testing.assert_allclose(one.state_dict()["return"], all_at_once.state_dict()["return"])
    assert one.returns is not None
    assert all_at_once.returns is not None
    np.testing.assert_allclose(one.returns.var, all_at_once.returns.var, rtol=1e-9)


def test_the_replay_buffer_holds_raw_values_and_scales_by_the_present_statistics() -> None:
    raw = replay_buffer(50)
    scaler = normalizer(rewards=False)
    buffer = ReplayBuffer(HostStorage(raw.fields, 50), UniformSampler(OneStepBuilder(0.99)), scaler)
    collector = EnvCollector(make_vector(Diary, 1, "sync", 10.0), seed=0, stream=1, max_ep_len=1000)
    collector.start()
    for _ in range(30):
        rows = collector.step(np.zeros((1, 1), np.float32))[0]
        raw.add(rows)
        buffer.add(rows)
    for name, column in buffer.read(0, 30).items():
        np.testing.assert_array_equal(column, raw.read(0, 30)[name])
    plain, scaled = (b.sample(2, 9, np.random.default_rng(1)) for b in (raw, buffer))
    for name in ("obs", "next_obs"):
        np.testing.assert_array_equal(scaled[name], scaler.observations(plain[name]))
        assert scaled[name].dtype == np.float32
    np.testing.assert_array_equal(scaled["reward"], plain["reward"])
    tensors = scaler.apply({k: torch.from_numpy(v) for k, v in plain.items()}, torch.from_numpy)
    np.testing.assert_array_equal(tensors["obs"].numpy(), scaled["obs"])


def test_restored_rows_are_not_counted_again() -> None:
    scaler = normalizer()
    sampler = UniformSampler(OneStepBuilder(0.99))
    buffer = ReplayBuffer(HostStorage(replay_buffer(50).fields, 50), sampler, scaler)
    collector = EnvCollector(make_vector(Diary, 1, "sync", 10.0), seed=0, stream=1, max_ep_len=1000)
    collector.start()
    buffer.add(collector.step(np.zeros((1, 1), np.float32))[0])
    before = scaler.state_dict()
    buffer.restore(0, buffer.read(0, 1))
    assert str(before) == str(scaler.state_dict())


def test_a_bound_of_returns_by_hand() -> None:
    bounded = Normalizer(2, 1, GAMMA, observations=False, rewards=True, bound=5.0)
    plain = Normalizer(2, 1, GAMMA, observations=False, rewards=True)
    rows: dict[str, Any] = {
        "env": np.zeros(4, np.int32),
        "reward": np.array([1.0, -200.0, 0.5, 0.0], np.float32),
        "terminated": np.array([False, False, True, False]),
    }
    for one in (bounded, plain):
        one.update(rows)
    # G = 1, 0.9 - 200 = -199.1, 0.5 (it terminates), 0.45... of which |G| is at most 199.1.
    batch = {"reward": np.array([[10.0]], np.float32)}
    unit = max(199.1 / 5.0, float(10.0 / plain.apply(batch, lambda a: a)["reward"][0, 0]))
    assert bounded.apply(batch, lambda a: a)["reward"][0, 0] == pytest.approx(10.0 / unit)
    other = Normalizer(2, 1, GAMMA, observations=False, rewards=True, bound=5.0)
    other.load_state_dict(bounded.state_dict())
    assert other.apply(batch, lambda a: a)["reward"] == bounded.apply(batch, lambda a: a)["reward"]
    on_device = bounded.apply({"reward": torch.tensor(batch["reward"])}, torch.from_numpy)["reward"]
    assert on_device.numpy() == bounded.apply(batch, lambda a: a)["reward"]
    small = Normalizer(2, 1, GAMMA, observations=False, rewards=True, bound=1e6)
    small.update(rows)
    assert small.apply(batch, lambda a: a)["reward"] == plain.apply(batch, lambda a: a)["reward"]
