"""Hindsight: relabeled transitions are those of the rows, with goals achieved later in the same episode."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from goals import GoalDiary
from gymnasium.spaces import Box, Dict
from helpers import Batches, joined
from hypothesis import given
from hypothesis import strategies as st

from spinup.collect.collector import EnvCollector
from spinup.envs.goals import goals_of
from spinup.envs.make import make_vector
from spinup.errors import EnvError
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.hindsight import HindsightSampler
from spinup.replay.storage import HostStorage

GAMMA = 0.9
# Flat observations: achieved goal, desired goal, episode, step.
ACHIEVED, DESIRED, EPISODE, STEP = range(4)


def collected(
    num_envs: int, steps: int, lengths: tuple[int, ...] = (3, 5, 1, 4)
) -> tuple[Any, list[Batches]]:
    """A collector of GoalDiaries and its transitions, step by step."""
    collector = EnvCollector(
        make_vector(lambda: GoalDiary(lengths), num_envs, "sync", 10.0), seed=0, stream=1, max_ep_len=1000
    )
    collector.start()
    return collector, [collector.step(np.zeros((num_envs, 1), np.float32))[0] for _ in range(steps)]


def buffer_of(collector: Any, capacity: int, k: int = 4) -> ReplayBuffer:
    """An empty buffer of a GoalDiary's transitions."""
    sampler = HindsightSampler(GAMMA, k, goals_of(GoalDiary()))
    fields = [collector.fields[name] for name in sampler.stored_fields]
    return ReplayBuffer(HostStorage(fields, capacity), sampler)


def check(batches: Batches, held: Batches, k: int) -> set[tuple[int, int, int]]:
    """Assert that each drawn transition is a held one with its goal, or one achieved later in its episode.

    Returns:
        (episode, step, step of the goal) of the relabeled ones, which environments do not tell apart.
    """
    flat = {name: values.reshape(-1, *values.shape[2:]) for name, values in batches.items()}
    obs, next_obs = flat["obs"], flat["next_obs"]
    stored = {tuple(row) for row in held["next_obs"][:, [EPISODE, STEP]].astype(int)}
    assert np.array_equal(obs[:, EPISODE], next_obs[:, EPISODE])
    assert np.array_equal(obs[:, STEP] + 1, next_obs[:, STEP])
    assert np.array_equal(next_obs[:, ACHIEVED], 1000 * next_obs[:, EPISODE] + next_obs[:, STEP])
    assert np.array_equal(obs[:, DESIRED], next_obs[:, DESIRED])
    assert np.array_equal(flat["reward"], -np.abs(next_obs[:, ACHIEVED] - next_obs[:, DESIRED]))
    assert (flat["discount"] == np.float32(GAMMA)).all()
    relabeled = obs[:, DESIRED] >= 0
    assert abs(relabeled.mean() - k / (k + 1)) < 0.05
    assert np.array_equal(obs[~relabeled, DESIRED], -1 - obs[~relabeled, EPISODE])
    episode, goal_step = np.divmod(obs[relabeled, DESIRED].astype(int), 1000)
    assert np.array_equal(episode, obs[relabeled, EPISODE])
    assert (goal_step >= next_obs[relabeled, STEP]).all()
    found = set(
        zip(episode.tolist(), next_obs[relabeled, STEP].astype(int).tolist(), goal_step.tolist(), strict=True)
    )
    assert {(e, goal) for e, _, goal in found} <= stored
    return found


@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("capacity", [11, 24, 500])
def test_every_later_step_of_the_episode_becomes_a_goal(num_envs: int, capacity: int) -> None:
    collector, parts = collected(num_envs, 30)
    buffer = buffer_of(collector, capacity)
    for part in parts:
        buffer.add(part)
    held = buffer.read(buffer.total - len(buffer), buffer.total)
    found = check(buffer.sample(20, 200, np.random.default_rng(0)), held, 4)
    wanted = set()
    for env in range(num_envs):
        mine = held["env"] == env
        steps = held["next_obs"][mine][:, [EPISODE, STEP]].astype(int).tolist()
        wanted |= {(e, t, goal) for e, t in steps for f, goal in steps if e == f and goal >= t}
    assert found == wanted


def test_goals_are_uniform_over_the_steps_left() -> None:
    collector, parts = collected(1, 5, lengths=(5,))
    buffer = buffer_of(collector, 10)
    for part in parts:
        buffer.add(part)
    obs = buffer.sample(1, 40_000, np.random.default_rng(0))["obs"][0]
    first = obs[(obs[:, STEP] == 1) & (obs[:, DESIRED] >= 0), DESIRED]
    shares = np.bincount(first.astype(int), minlength=6)[2:] / len(first)
    np.testing.assert_allclose(shares, 1 / 4, atol=0.02)


@pytest.mark.parametrize("k", [1, 4, 9])
def test_the_share_of_relabeled_transitions(k: int) -> None:
    collector, parts = collected(2, 20)
    buffer = buffer_of(collector, 100, k)
    for part in parts:
        buffer.add(part)
    check(buffer.sample(1, 5000, np.random.default_rng(0)), joined(parts), k)


@given(
    seed=st.integers(0, 99), capacity=st.integers(4, 70), steps=st.integers(2, 150), envs=st.integers(1, 3)
)
def test_a_restored_buffer_draws_the_same_batches_and_continues_alike(
    seed: int, capacity: int, steps: int, envs: int
) -> None:
    rng = np.random.default_rng(seed)
    collector, parts = collected(envs, steps, tuple(rng.integers(1, 9, 5).tolist()))
    first, second = buffer_of(collector, capacity), buffer_of(collector, capacity)
    half = max(len(parts) // 2, 1)
    for part in parts[:half]:
        first.add(part)
    second.restore(first.total - len(first), first.read(first.total - len(first), first.total))
    for part in parts[half:]:
        first.add(part)
        second.add(part)
    wanted, got = (buffer.sample(2, 30, np.random.default_rng(1)) for buffer in (first, second))
    for name, values in wanted.items():
        assert np.array_equal(values, got[name])


class Ending(GoalDiary):
    """Terminates at a goal."""

    def compute_terminated(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """Whether it is there."""
        return (achieved_goal == desired_goal)[..., 0]


class EndingByPair(GoalDiary):
    """Terminates at a goal, which it decides for a single pair of goals, as gymnasium-robotics does."""

    def compute_terminated(self, achieved_goal: Any, desired_goal: Any, info: Any) -> bool:
        """Whether it is there."""
        return bool(np.linalg.norm(achieved_goal - desired_goal) == 0)


@pytest.mark.parametrize("env", [Ending, EndingByPair])
def test_a_goal_decides_where_the_mdp_terminates_if_the_environment_says_so(env: Any) -> None:
    collector, parts = collected(1, 13)
    sampler = HindsightSampler(GAMMA, 4, goals_of(env()))
    fields = [collector.fields[name] for name in sampler.stored_fields]
    buffer = ReplayBuffer(HostStorage(fields, 100), sampler)
    for part in parts:
        buffer.add(part)
    batch = buffer.sample(1, 1000, np.random.default_rng(0))
    reached = batch["next_obs"][..., ACHIEVED] == batch["next_obs"][..., DESIRED]
    assert reached.any()
    assert np.array_equal(batch["discount"] == 0, reached)


class Unfair(GoalDiary):
    """Its steps are rewarded otherwise than its function says."""

    def step(self, action: Any) -> Any:
        seen, reward, *rest = super().step(action)
        return seen, reward + 3.0, *rest


def test_a_reward_function_that_disagrees_with_the_recorded_rewards_is_refused() -> None:
    collector = EnvCollector(make_vector(Unfair, 1, "sync", 10.0), seed=0, stream=1, max_ep_len=1000)
    collector.start()
    buffer = buffer_of(collector, 10)
    buffer.add(collector.step(np.zeros((1, 1), np.float32))[0])
    with pytest.raises(
        EnvError, match=r"^sampler='her': compute_reward gives -2 for a step that .* rewarded with 1"
    ):
        buffer.sample(1, 2, np.random.default_rng(0))


class Scalar(GoalDiary):
    """Its reward function takes a single goal only."""

    def compute_reward(self, achieved_goal: Any, desired_goal: Any, info: Any) -> Any:
        """Not an array."""
        return -1.0


class Without(gym.Wrapper[Any, Any, Any, Any]):
    """A GoalDiary without one key."""

    def __init__(self, key: str) -> None:
        super().__init__(GoalDiary())
        self.observation_space = Dict(
            {k: v for k, v in self.env.observation_space.spaces.items() if k != key}
        )  # type: ignore[attr-defined]


class NoReward(gym.Env[Any, Any]):
    """The keys, but no reward function."""

    observation_space = GoalDiary.observation_space
    action_space = Box(-1.0, 1.0, (1,))


def test_environments_without_goals_are_refused_in_one_line() -> None:
    for env, line in (
        (gym.make("Pendulum-v1"), r"needs observations that are a Dict .* and the observation space is Box"),
        (Without("desired_goal"), r"has the keys achieved_goal, observation: add what is missing"),
        (NoReward(), r"needs compute_reward\(achieved_goal, desired_goal, info\), which .*: add it"),
    ):
        with pytest.raises(EnvError, match=line) as refused:
            goals_of(env)
        assert "\n" not in str(refused.value)
    with pytest.raises(EnvError, match=r"compute_reward returned values of shape \(\) for 3 goals"):
        goals_of(Scalar()).reward(np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32))
