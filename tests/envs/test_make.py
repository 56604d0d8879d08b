"""Making environments: from ids and functions, what raises, and with which message."""

from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from helpers import Diary, train

from spinup.collect.make import make_collectors
from spinup.config import SACConfig
from spinup.envs.make import env_function, make_vector
from spinup.envs.saved_spec import MakeEnv
from spinup.envs.workers import EnvCrash
from spinup.errors import ConfigError, EnvError


def test_num_envs_that_contradicts_a_vector_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^num_envs=3, but env_fn returned a vector of 2: leave"):
        train(tmp_path, lambda: SyncVectorEnv([Diary] * 2), num_envs=3, steps_per_epoch=60)


SAME = Diary()
SAME_VECTOR = SyncVectorEnv([Diary] * 2, autoreset_mode=AutoresetMode.DISABLED)
SMALL = SACConfig(steps_per_epoch=20, num_test_episodes=2)


@pytest.mark.parametrize("workers", ["sync", "async"])
@pytest.mark.parametrize("again", [lambda: SAME, lambda: gym.Wrapper(SAME), lambda: SAME_VECTOR])
def test_an_environment_returned_twice_raises(again: Any, workers: str) -> None:
    line = r"^env_fn returned the same environment twice: it must make a new one at each call, [^\n]*$"
    with pytest.raises(ConfigError, match=line):
        make_collectors(again, dataclasses.replace(SMALL, env_workers=workers))


@pytest.mark.parametrize("workers", ["sync", "async"])
def test_an_environment_made_earlier_may_be_returned_once(workers: str) -> None:
    kept, calls = Diary(), iter(range(100))
    config = dataclasses.replace(SMALL, env_workers=workers)
    collectors = make_collectors(lambda: kept if next(calls) == 1 else Diary(), config)
    if workers == "sync":
        envs: Any = collectors[0].vector
        assert envs.envs.envs[0].unwrapped is kept
    for collector in collectors:
        collector.close()


def test_a_checked_env_fn_can_be_pickled() -> None:
    checked = env_function(Diary)
    first = checked()
    assert isinstance(pickle.loads(pickle.dumps(checked))(), type(first))


def test_an_env_fn_that_returns_no_environment_raises() -> None:
    with pytest.raises(EnvError, match=r"env_fn returned int: it must return a gymnasium\.Env"):
        make_vector(lambda: 3, 1, "sync", 10.0)
    with pytest.raises(ConfigError, match="env_fn=3: give a function"):
        env_function(3)  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore::UserWarning")  # Gymnasium warns about an exception in a worker
def test_an_env_fn_that_raises_in_worker_processes_raises_one_line() -> None:
    training_pid = os.getpid()

    def env_fn() -> Any:
        if os.getpid() != training_pid:
            raise OSError("port 2000 is in use")
        return Diary()

    with pytest.raises(EnvCrash, match=r"^raised OSError: port 2000 is in use$") as crash:
        make_vector(env_fn, 2, "async", 10.0)
    assert crash.value.broken == [0, 1]


def test_an_unsupported_space_is_reported_if_close_raises_too() -> None:
    class Broken(Diary):
        observation_space = gym.spaces.Sequence(Box(0, 1))  # type: ignore[assignment]

        def close(self) -> None:
            raise OSError("cannot close")

    with pytest.raises(EnvError, match="Sequence"):
        make_vector(Broken, 1, "sync", 10.0)


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("Pendulun-v1", "did you mean 'Pendulum-v1'"),
        ("Pendulun-v1", "if a module of yours registers it, give 'module:Pendulun-v1'"),
        ("gymnasium:Pendulun-v1", "did you mean 'gymnasium:Pendulum-v1'"),
        ("no_such_module:A-v0", "cannot be found"),
    ],
)
def test_an_unknown_id_raises_and_names_the_closest(env_id: str, words: str) -> None:
    with pytest.raises(EnvError, match=rf"^environment id '{env_id}'[^\n]*{words}[^\n]*$"):
        env_function(env_id)


def missing_package(**kwargs: Any) -> Any:
    """An `env_fn` whose package is missing."""
    raise ModuleNotFoundError("No module named 'engine'\nmore of it")


@pytest.fixture
def versions() -> Any:
    """Registers the ids Faulty-v1 and Faulty-v3, whose environments cannot be made."""
    for version in (1, 3):
        gym.register(f"Faulty-v{version}", entry_point=missing_package)
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
def test_an_id_that_cannot_be_made_raises_one_line_with_the_newest_version(
    versions: Any, env_id: str, hint: str
) -> None:
    cause = r"ModuleNotFoundError: No module named 'engine'"
    with pytest.raises(EnvError, match=rf"^environment id '{env_id}' cannot be made: {cause}{hint}$"):
        make_vector(env_function(env_id), 1, "sync", 10.0)


@pytest.mark.parametrize("calls", [0, 1])
def test_an_exception_of_a_users_function_is_the_cause_of_one_line(calls: int) -> None:
    results = iter([Diary()][:calls])
    env_fn = lambda: next(results, None) or missing_package()  # noqa: E731
    with pytest.raises(EnvError, match=r"^[^\n]* raised ModuleNotFoundError: [^\n]*; fix [^\n]*$") as error:
        make_vector(env_function(env_fn), 1, "sync", 10.0)
    assert isinstance(error.value.__cause__, ModuleNotFoundError)


def test_a_module_that_raises_when_it_is_imported_is_one_line(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raising_module.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EnvError, match=r"^[^\n]*cannot be found \(ZeroDivisionError: division by zero\)$"):
        env_function("raising_module:A-v0")


@pytest.mark.parametrize("kwargs", [{"id": "A-v0"}, {"x": 1}, {"max_episode_steps": "many"}])
def test_keyword_arguments_that_do_not_fit_are_one_line(kwargs: dict[str, Any]) -> None:
    with pytest.raises(EnvError, match=r"^environment id 'Pendulum-v1' cannot be made: [^\n]*$"):
        MakeEnv("Pendulum-v1", kwargs)()


def test_known_id() -> None:
    vector = make_vector(env_function("Pendulum-v1"), 2, "sync", 10.0)
    assert vector.spec.id == "Pendulum-v1"
    assert vector.observation_space.shape == (3,)
    vector.close()


def test_an_image_raises_before_it_is_flattened() -> None:
    class Camera(Diary):
        observation_space = Box(0, 255, (4, 4, 3), np.uint8)

    with pytest.raises(EnvError, match=r"^observation space Box[^\n]*is an image"):
        make_vector(Camera, 1, "sync", 10.0)
