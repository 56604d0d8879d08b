"""Environments side by side: foreign vectors in each autoreset mode, flattening, what is refused."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import create_empty_array
from helpers import Diary, check_diary
from hypothesis import given
from hypothesis import strategies as st

from spinup.collect.collector import Collector, make_collectors
from spinup.config import SACConfig
from spinup.envs.flat import FlatEnv
from spinup.envs.make import env_function, flatten_batch, make_vector
from spinup.errors import ConfigError, EnvError

MODES = list(AutoresetMode)
LENGTHS = [(3, 5, 1, 4), (2, 2, 7), (1,), (6, 1, 1)]


class DictDiary(Diary):
    """The two numbers of a Diary, one a Dict entry of its own."""

    observation_space = Dict(episode=Box(-1, 1e6, (1,)), t=Box(-1, 1e6, ()))

    def observe(self) -> Any:
        return {"episode": np.array([self.episode], np.float32), "t": np.array(self.t, np.float32)}


class TupleDiary(Diary):
    """The two numbers of a Diary as a Tuple, in a matrix and a vector."""

    observation_space = Tuple((Box(-1, 1e6, (1, 1)), Box(-1, 1e6, (1,))))

    def observe(self) -> Any:
        return np.array([[self.episode]], np.float32), np.array([self.t], np.float32)


def collect(envs: Any, steps: int, max_ep_len: int = 1000) -> tuple[list[list[Any]], list[Any]]:
    """Rows by environment, and episodes, of so many steps of a vector of Diaries."""
    collector = Collector(envs, seed=0, stream=1, max_ep_len=max_ep_len)
    collector.start()
    rows: list[list[Any]] = [[] for _ in range(collector.num_envs)]
    finished = []
    for _ in range(steps):
        actions = np.arange(collector.num_envs, dtype=np.float32)[:, None] / 10  # rows tell their env by it
        new, episodes = collector.step(actions)
        for row in new:
            rows[round(float(row[collector.layout.a][0]) * 10)].append(row)
        finished += episodes
    collector.close()
    return rows, finished


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("make", [SyncVectorEnv, AsyncVectorEnv])
def test_every_row_of_a_foreign_vector_is_a_true_transition(make: Any, mode: AutoresetMode) -> None:
    fns = [lambda n=n: Diary(n) for n in LENGTHS]
    vector = make_vector(lambda: make(fns, autoreset_mode=mode), 1, "sync", 10.0)
    rows, finished = collect(vector, 40)
    for i, lengths in enumerate(LENGTHS):
        check_diary(rows[i], lengths)
        own = [e for e in finished if e.env == i]
        assert [e.length for e in own] == [lengths[k % len(lengths)] for k in range(len(own))]
        assert [e.ret for e in own] == [
            sum(100.0 * k + t for t in range(1, e.length + 1)) for k, e in enumerate(own)
        ]
    if mode is AutoresetMode.NEXT_STEP:
        assert len(rows[2]) == 20  # each episode of one step costs another for its reset
    else:
        assert all(len(r) == 40 for r in rows)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", [DictDiary, TupleDiary])
@pytest.mark.parametrize("num_envs", [2, 3])  # two environments are as many as the Tuple has parts
def test_structured_observations_of_a_foreign_vector(kind: Any, mode: AutoresetMode, num_envs: int) -> None:
    vector = make_vector(lambda: SyncVectorEnv([kind] * num_envs, autoreset_mode=mode), 1, "sync", 10.0)
    for rows in collect(vector, 30)[0]:
        check_diary(rows)


@pytest.mark.parametrize("workers", ["sync", "async"])
@pytest.mark.parametrize("kind", [Diary, DictDiary, TupleDiary])
def test_every_row_of_our_own_vector_is_a_true_transition(kind: Any, workers: str) -> None:
    for rows in collect(make_vector(kind, 3, workers, 10.0), 30)[0]:
        assert len(rows) == 30
        check_diary(rows)


@pytest.mark.parametrize("mode", [None, AutoresetMode.DISABLED])
def test_max_ep_len_cuts_where_we_reset(mode: AutoresetMode | None) -> None:
    env_fn: Any = Diary if mode is None else lambda: SyncVectorEnv([Diary] * 2, autoreset_mode=mode)
    for rows in collect(make_vector(env_fn, 2, "sync", 10.0), 30, max_ep_len=3)[0]:
        check_diary(rows, max_ep_len=3)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_max_ep_len_shorter_than_a_self_resetting_vector_is_refused(mode: AutoresetMode) -> None:
    vector = make_vector(lambda: SyncVectorEnv([Diary], autoreset_mode=mode), 1, "sync", 10.0)
    with pytest.raises(EnvError, match=r"^max_ep_len=4 is shorter than the vector environment's own"):
        collect(vector, 30, max_ep_len=4)
    timed = make_vector(
        lambda: gym.make_vec("Pendulum-v1", 2, vector_kwargs={"autoreset_mode": mode}), 1, "sync", 10.0
    )
    with pytest.raises(EnvError, match=r"^max_ep_len=100 is shorter than the vector environment's own"):
        Collector(timed, seed=0, stream=1, max_ep_len=100)
    timed.close()


def test_a_same_step_vector_without_final_observations_is_refused() -> None:
    class Forgetful(SyncVectorEnv):
        def step(self, actions: Any) -> Any:
            *out, infos = super().step(actions)
            infos.pop("final_obs", None)
            return *out, infos

    envs = Forgetful([Diary], autoreset_mode=AutoresetMode.SAME_STEP)
    with pytest.raises(EnvError, match=r"^[^\n]*gives no infos\['final_obs'\][^\n]*$"):
        collect(make_vector(lambda: envs, 1, "sync", 10.0), 5)


def test_a_vector_without_a_mode_is_refused() -> None:
    def modeless() -> Any:
        envs = SyncVectorEnv([Diary])
        envs.metadata = {}
        return envs

    with pytest.raises(EnvError, match=r"metadata\['autoreset_mode'\] is None"):
        make_vector(modeless, 1, "sync", 10.0)


def test_num_envs_that_contradicts_a_vector_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_envs=3, but env_fn returned a vector of 2"):
        make_vector(lambda: SyncVectorEnv([Diary] * 2), 3, "sync", 10.0)


SAME = Diary()
SAME_VECTOR = SyncVectorEnv([Diary] * 2, autoreset_mode=AutoresetMode.DISABLED)
SMALL = SACConfig(steps_per_epoch=20, num_test_episodes=2)


@pytest.mark.parametrize("workers", ["sync", "async"])
@pytest.mark.parametrize("again", [lambda: SAME, lambda: gym.Wrapper(SAME), lambda: SAME_VECTOR])
def test_an_environment_returned_twice_is_refused(again: Any, workers: str) -> None:
    line = r"^env_fn returned the same environment twice: it must make a new one at each call, [^\n]*$"
    with pytest.raises(ConfigError, match=line):
        make_collectors(again, dataclasses.replace(SMALL, env_workers=workers))


@pytest.mark.parametrize("workers", ["sync", "async"])
def test_an_environment_made_before_is_taken_once(workers: str) -> None:
    kept, calls = Diary(), iter(range(100))
    config = dataclasses.replace(SMALL, env_workers=workers)
    collectors = make_collectors(lambda: kept if next(calls) == 1 else Diary(), config)
    if workers == "sync":
        envs: Any = collectors[0].vector
        assert envs.envs.envs[0].unwrapped is kept
    for collector in collectors:
        collector.close()


def test_a_function_that_is_watched_still_travels_to_another_process() -> None:
    watched = env_function(Diary)
    first = watched()
    assert isinstance(pickle.loads(pickle.dumps(watched))(), type(first))


def test_what_is_not_an_environment_is_refused() -> None:
    with pytest.raises(EnvError, match=r"env_fn returned int: it must return a gymnasium\.Env"):
        make_vector(lambda: 3, 1, "sync", 10.0)
    with pytest.raises(ConfigError, match="env_fn=3: give a function"):
        env_function(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("env_id", "words"),
    [("Pendulun-v1", "did you mean 'Pendulum-v1'"), ("no_such_module:A-v0", "cannot be found")],
)
def test_unknown_ids_name_the_nearest(env_id: str, words: str) -> None:
    with pytest.raises(EnvError, match=rf"^environment id '{env_id}'[^\n]*{words}[^\n]*$"):
        env_function(env_id)


def cannot(**kwargs: Any) -> Any:
    """An environment whose package is missing."""
    raise ModuleNotFoundError("No module named 'engine'\nmore of it")


@pytest.fixture
def versions() -> Any:
    """The ids Faulty-v1 and Faulty-v3, of which no environment can be made."""
    for version in (1, 3):
        gym.register(f"Faulty-v{version}", entry_point=cannot)
    yield
    for version in (1, 3):
        del gym.registry[f"Faulty-v{version}"]


@pytest.mark.filterwarnings("ignore:.*out of date")
@pytest.mark.parametrize(
    ("env_id", "hint"),
    [
        ("Faulty-v1", "; give 'Faulty-v3'"),
        ("spinup:Faulty-v1", "; give 'spinup:Faulty-v3'"),
        ("Faulty-v3", ""),
    ],
)
def test_an_id_that_cannot_be_made_is_one_line_with_the_newest_version(
    versions: Any, env_id: str, hint: str
) -> None:
    cause = r"ModuleNotFoundError: No module named 'engine'"
    with pytest.raises(EnvError, match=rf"^environment id '{env_id}' cannot be made: {cause}{hint}$"):
        make_vector(env_function(env_id), 1, "sync", 10.0)


def test_what_a_users_own_function_raises_is_left_as_it_is() -> None:
    with pytest.raises(ModuleNotFoundError, match="engine"):
        make_vector(env_function(cannot), 1, "sync", 10.0)


def test_known_id() -> None:
    vector = make_vector(env_function("Pendulum-v1"), 2, "sync", 10.0)
    assert vector.spec.id == "Pendulum-v1"
    assert vector.observation_space.shape == (3,)
    vector.close()


def test_an_image_is_refused_before_it_is_flattened() -> None:
    class Camera(Diary):
        observation_space = Box(0, 255, (4, 4, 3), np.uint8)

    with pytest.raises(EnvError, match=r"^observation space Box[^\n]*is an image"):
        make_vector(Camera, 1, "sync", 10.0)


class Misfit(Diary):
    """Returns what the test sets, in its second step."""

    returned: Any = None
    reward: Any = 0.0

    def step(self, action: Any) -> Any:
        obs, _, *rest = super().step(action)
        return (obs if self.returned is None or self.t < 2 else self.returned), self.reward, *rest


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium warns of what a worker raised, then raises it
@pytest.mark.parametrize("workers", ["sync", "async"])
@pytest.mark.parametrize(
    ("returned", "words"),
    [(np.zeros(3, np.float32), "observation of 3 numbers"), ("abc", "does not fit its space")],
)
def test_observations_that_do_not_fit_are_refused(workers: str, returned: Any, words: str) -> None:
    def make() -> Any:
        env = Misfit()
        env.returned = returned
        return env

    with pytest.raises(EnvError, match=rf"^the environment returned an [^\n]*{words}[^\n]*$"):
        collect(make_vector(make, 1, workers, 10.0), 3)


def test_rewards_that_are_arrays_are_refused() -> None:
    env = Misfit()
    env.reward = np.zeros(2)
    flat = FlatEnv(env)
    flat.reset()
    with pytest.raises(EnvError, match=r"reward of shape \(2,\): return a plain number"):
        flat.step(np.zeros(1))


def test_rewards_of_a_vector_that_are_not_one_per_environment_are_refused() -> None:
    class Columns(SyncVectorEnv):
        def step(self, actions: Any) -> Any:
            obs, rewards, *rest = super().step(actions)
            return obs, rewards[:, None], *rest

    line = r"^the environment returned rewards of shape \(2, 1\): return one plain number per [^\n]*\(2,\)$"
    with pytest.raises(EnvError, match=line):
        collect(make_vector(lambda: Columns([Diary] * 2), 1, "sync", 10.0), 2)


leaves = st.sampled_from(
    [
        Box(-1, 1, (2,)), Box(-1, 1, (2, 2), np.float64), Box(0, 9, (), np.int64), Discrete(3, start=2),
        MultiBinary(2), MultiDiscrete([2, 3]),
    ]
)  # fmt: skip
spaces = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: Tuple(tuple(parts))),
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1, max_size=3).map(Dict),
    ),
    max_leaves=5,
)


@given(space=spaces, num_envs=st.integers(1, 4))
def test_flat_batches_equal_flat_observations(space: Any, num_envs: int) -> None:
    space = copy.deepcopy(space)
    space.seed(0)
    rows = [space.sample() for _ in range(num_envs)]
    wanted = np.stack([gym.spaces.utils.flatten(space, row) for row in rows]).astype(np.float32)
    batch = gym.vector.utils.concatenate(space, rows, create_empty_array(space, num_envs))
    assert np.array_equal(flatten_batch(space, batch, num_envs), wanted)
    assert np.array_equal(flatten_batch(space, rows, num_envs), wanted)
