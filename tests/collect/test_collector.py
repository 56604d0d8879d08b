"""Collector and evaluator: seeds derived without state, step counts, bad values, evenly divided tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from helpers import Diary, Point, check_diary, joined, rows_of

from spinup.collect.collector import EnvCollector
from spinup.collect.evaluation import MAX_KEPT, EnvEvaluator
from spinup.collect.make import make_collectors
from spinup.config import SACConfig
from spinup.envs.make import make_vector
from spinup.errors import EnvError, TrainingDiverged
from spinup.seeding import TEST_STREAM, TRAIN_STREAM, episode_seed


def diaries(
    num_envs: int = 1, seed: int = 0, stream: int = TRAIN_STREAM, env_fn: Any = Diary
) -> EnvCollector:
    """A collector of Diaries, which it remembers as `made`; the first is only inspected."""
    made: list[Any] = []

    def make() -> Any:
        made.append(env_fn())
        return made[-1]

    vector = make_vector(make, num_envs, "sync", 10.0)
    collector = EnvCollector(vector, seed=seed, stream=stream, max_ep_len=1000)
    collector.made = made[-num_envs:]  # type: ignore[attr-defined]
    return collector


def seeds_of(collector: Any) -> list[list[int]]:
    """The seeds that each Diary was reset with."""
    return [env.seeds for env in collector.made]


def act(obs: Any) -> Any:
    """A policy that does nothing."""
    return np.zeros((len(obs), 1), np.float32)


def zeros(collector: EnvCollector) -> Any:
    """Actions of zero for every environment."""
    return np.zeros((collector.num_envs, 1), np.float32)


def test_every_episode_has_its_own_seed_derived_without_state() -> None:
    collector = diaries(2, seed=7)
    collector.start()
    for _ in range(13):
        collector.step(zeros(collector))
    for i, seeds in enumerate(seeds_of(collector)):
        assert seeds == [episode_seed(7, TRAIN_STREAM, i, k) for k in range(5)]


def test_seeds_differ_between_streams_envs_episodes_and_runs() -> None:
    places = [(s, t, e, k) for s in (0, 1) for t in (1, 2) for e in (0, 1) for k in range(20)]
    assert len({episode_seed(*place) for place in places}) == len(places)
    assert episode_seed(0, 1, 0, 0) == int(np.random.SeedSequence([0, 1, 0, 0]).generate_state(1)[0])


def test_episode_state_keeps_what_a_replay_needs() -> None:
    collector = diaries()
    collector.start()
    for k in range(4):
        collector.step(np.full((1, 1), k / 10, np.float32))
    episode = collector.episodes[0]
    assert (episode.number, episode.length, episode.ret) == (1, 1, 101.0)
    assert [float(a[0]) for a in episode.actions] == [pytest.approx(0.3)]


class Broken(Diary):
    """Returns a bad observation or reward in the second step of episode 1, or at its start."""

    def __init__(self, obs: float = 0.0, reward: float = 0.0, at: int = 2) -> None:
        super().__init__()
        self.bad, self.reward, self.at = obs, reward, at

    def observe(self) -> Any:
        here = (self.episode, self.t) == (1, self.at)
        return super().observe() + np.array([0, self.bad if here else 0], np.float32)

    def step(self, action: Any) -> Any:
        obs, r, *rest = super().step(action)
        return obs, r + (self.reward if (self.episode, self.t) == (1, 2) else 0), *rest


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_bad_observation_is_named_and_never_stored(value: float) -> None:
    collector = diaries(env_fn=lambda: Broken(obs=value))
    collector.start()
    for _ in range(4):
        collector.step(zeros(collector))
    with pytest.raises(
        EnvError, match=r"^environment 0 returned the observation value (nan|-?inf) at index 1"
    ):
        collector.step(zeros(collector))


def test_a_bad_first_observation_of_an_episode_is_named() -> None:
    collector = diaries(env_fn=lambda: Broken(obs=np.nan, at=0))
    collector.start()
    collector.step(zeros(collector))
    collector.step(zeros(collector))
    with pytest.raises(EnvError, match=r"^environment 0 returned the observation value nan at index 1"):
        collector.step(zeros(collector))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_bad_reward_is_named(value: float) -> None:
    collector = diaries(env_fn=lambda: Broken(reward=value))
    collector.start()
    for _ in range(4):
        collector.step(zeros(collector))
    with pytest.raises(EnvError, match=r"^environment 0 returned the reward [^\n]* of episode 1: fix"):
        collector.step(zeros(collector))


@pytest.mark.parametrize(("episodes", "num_envs"), [(0, 1), (1, 1), (3, 1), (3, 3), (7, 3), (2, 4)])
def test_test_episodes_are_divided_evenly(episodes: int, num_envs: int) -> None:
    lengths = iter([(1,), (1,)] + [(9,)] * 10)  # the first environment is done long before the others
    collector = diaries(num_envs, env_fn=lambda: Diary(next(lengths)), stream=TEST_STREAM)
    found = EnvEvaluator(collector, episodes).evaluate(act, 0)
    assert len(found) == episodes
    counts = np.bincount([e.env for e in found], minlength=num_envs)
    assert counts.max() - counts.min() <= 1


@pytest.mark.parametrize("num_envs", [1, 3])
def test_traces_hold_the_rewards_and_evenly_spaced_steps_of_each_episode(num_envs: int) -> None:
    """Diary observes (episode, step): the number of an observation tells which step was kept."""
    lengths = (3, MAX_KEPT + 1, 1, 4 * MAX_KEPT)
    evaluator = EnvEvaluator(diaries(num_envs, env_fn=lambda: Diary(lengths)), 5, traces=True)
    for found in evaluator.evaluate(act, 0):
        trace = found.trace
        assert trace is not None
        episode = int(trace.obs[0, 0])
        assert found.length == len(trace.rewards) == lengths[episode % 4]
        np.testing.assert_array_equal(trace.rewards, 100 * episode + np.arange(1, found.length + 1))
        kept = np.arange(0, found.length, trace.stride)
        np.testing.assert_array_equal(trace.obs[:, 1], kept)
        assert trace.actions.shape == (len(kept), 1)
        assert len(kept) <= MAX_KEPT
        assert len(kept) == found.length or len(kept) > MAX_KEPT // 2 - 1
        assert tuple(trace.last_obs) == (episode, found.length)
        assert trace.terminated == (episode % 2 == 0)


@pytest.mark.parametrize(("episodes", "kept"), [(1, MAX_KEPT), (10, 32), (1000, 2)])
def test_the_steps_kept_of_a_test_are_bounded(episodes: int, kept: int) -> None:
    evaluator = EnvEvaluator(diaries(env_fn=lambda: Diary((kept, 2 * kept))), episodes, traces=True)
    traces = [episode.trace for episode in evaluator.evaluate(act, 0)]
    assert {len(trace.obs) for trace in traces if trace is not None} == {kept}


def test_episodes_have_no_trace_unless_asked() -> None:
    assert EnvEvaluator(diaries(), 1).evaluate(act, 0)[0].trace is None


def test_tests_of_different_rounds_have_different_seeds_and_need_no_state() -> None:
    first, second = diaries(2, stream=TEST_STREAM), diaries(2, stream=TEST_STREAM)
    for round_number in range(3):
        EnvEvaluator(first, 4).evaluate(act, round_number)
    EnvEvaluator(second, 4).evaluate(act, 2)
    for all_rounds, last in zip(seeds_of(first), seeds_of(second), strict=True):
        assert all_rounds[-len(last) :] == last
    used = [episode_seed(0, TEST_STREAM, 0, r * 2 + k) for r in range(3) for k in range(2)]
    assert len(set(used)) == 6
    assert set(used) <= set(seeds_of(first)[0])


def test_a_vector_environment_is_tested_with_its_own_size() -> None:
    config = SACConfig(num_test_episodes=5)
    collector, tester = make_collectors(lambda: SyncVectorEnv([Diary] * 3), config)
    assert (collector.num_envs, tester.num_envs) == (3, 3)
    found = EnvEvaluator(tester, 5).evaluate(act, 0)
    assert len(found) == 5


@pytest.mark.parametrize(("asked", "made"), [(0, 1), (1, 1), (4, 4), (25, 10)])
def test_test_environments(asked: int, made: int) -> None:
    collector, tester = make_collectors(Diary, SACConfig(num_test_episodes=asked, num_envs=2))
    assert (collector.num_envs, tester.num_envs) == (2, made)


def test_environments_are_closed_when_a_space_is_refused() -> None:
    closed = []

    class Endless(Diary):
        def close(self) -> None:
            closed.append(self)

    def make() -> Any:
        env = Endless()
        env.action_space = Endless.action_space if len(made) < 3 else bad  # the test environments are bad
        made.append(env)
        return env

    made: list[Any] = []
    bad = type(Diary.action_space)(-np.inf, np.inf, (1,))
    with pytest.raises(EnvError, match="not bounded"):
        make_collectors(make, SACConfig(num_test_episodes=1))
    assert {id(env) for env in closed} == {id(env) for env in made}


@pytest.mark.parametrize("num_envs", [1, 3])
def test_transitions_carry_environment_and_episode_start(num_envs: int) -> None:
    collector = diaries(num_envs)
    collector.start()
    rows = joined([collector.step(zeros(collector))[0] for _ in range(25)])
    for env in range(num_envs):
        mine = rows_of(rows, env)
        assert len(mine["env"]) == 25
        check_diary(mine)
        assert mine["episode_start"].tolist() == [t == 0 for t in mine["obs"][:, 1]]


class Reusing(SyncVectorEnv):
    """Writes the results of every step and reset into the same arrays."""

    arrays: Any = None

    def reset(self, **kwargs: Any) -> Any:
        obs, info = super().reset(**kwargs)
        return self._into((obs, *(self.arrays or [obs])[1:]))[0], info

    def step(self, actions: Any) -> Any:
        *arrays, info = super().step(actions)
        return *self._into(arrays), info

    def _into(self, arrays: Any) -> Any:
        if self.arrays is None or len(self.arrays) < len(arrays):
            self.arrays = [np.array(array) for array in arrays]
        for array, new in zip(self.arrays, arrays, strict=True):
            array[...] = new
        return self.arrays


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED])
def test_transitions_are_copies(mode: AutoresetMode) -> None:
    vector = make_vector(lambda: Reusing([Diary] * 3, copy=False, autoreset_mode=mode), 1, "sync", 10.0)
    collector = EnvCollector(vector, seed=0, stream=1, max_ep_len=1000)
    collector.start()
    rows = joined([collector.step(zeros(collector))[0] for _ in range(25)])
    for env in range(3):
        check_diary(rows_of(rows, env))


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_env_steps_count_interactions_and_no_resets(mode: AutoresetMode) -> None:
    vector = make_vector(lambda: SyncVectorEnv([Diary] * 3, autoreset_mode=mode), 1, "sync", 10.0)
    collector = EnvCollector(vector, seed=0, stream=1, max_ep_len=1000)
    collector.start()
    taken = 0
    for _ in range(25):
        taken += len(collector.collect(lambda obs: zeros(collector)).transitions["reward"])
        assert collector.env_steps == taken
    if mode is AutoresetMode.NEXT_STEP:
        assert 50 < taken < 75  # some steps of the vector only reset
    else:
        assert taken == 75


def test_env_steps_are_saved_and_restored() -> None:
    first, second = diaries(2), diaries(2)
    first.start()
    for _ in range(4):
        first.step(zeros(first))
    assert first.env_steps == 8
    second.load_state_dict(first.state_dict())
    assert second.env_steps == 8


class Crashing(Point):
    """Raises in its third step, once in all."""

    crashed = False

    def step(self, action: Any) -> Any:
        if self.t == 2 and not Crashing.crashed:
            Crashing.crashed = True
            raise RuntimeError("broken")
        return super().step(action)


def test_a_crash_brings_no_transitions_and_no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Crashing, "crashed", False)
    # Worker processes do not share the class variable: a new one crashes again in its third step.
    vector = make_vector(Crashing, 1, "async", 30.0)
    collector = EnvCollector(vector, seed=0, stream=1, max_ep_len=1000)
    try:
        collector.start()
        found = [collector.collect(lambda obs: zeros(collector)) for _ in range(3)]
        assert [len(step.transitions.get("reward", ())) for step in found] == [1, 1, 0]
        assert "restarted, its running episode is discarded" in found[2].note
        assert collector.env_steps == 2
        following = collector.collect(lambda obs: zeros(collector)).transitions
        assert following["episode_start"].tolist() == [True]
        assert collector.env_steps == 3
    finally:
        collector.close()


class Faulty(Point):
    """A Point that raises on an action that is NaN, and in step 5."""

    def step(self, action: Any) -> Any:
        if not np.isfinite(action).all() or self.t == 4:
            raise ValueError("motor\nburnt out")
        return super().step(action)


def test_an_action_that_is_nan_is_not_blamed_on_the_environment() -> None:
    for kind in (Point, Faulty):
        collector = EnvCollector(make_vector(kind, 1, "sync", 10.0), seed=0, stream=1, max_ep_len=9)
        collector.start()
        collector.step(np.zeros((1, 1), np.float32))
        with pytest.raises(TrainingDiverged, match=r"^the policy's action became NaN in env step 2: lower"):
            collector.step(np.full((1, 1), np.nan, np.float32))
        collector.close()


def test_the_first_line_of_an_exception_is_shown() -> None:
    collector = EnvCollector(make_vector(Faulty, 1, "sync", 10.0), seed=0, stream=1, max_ep_len=9)
    collector.start()
    for _ in range(4):
        collector.step(np.zeros((1, 1), np.float32))
    with pytest.raises(EnvError, match=r"^the environment raised ValueError: motor; fix the environment"):
        collector.step(np.zeros((1, 1), np.float32))
    collector.close()
