"""Creates environments and vector environments from an environment id or a user's function."""

from __future__ import annotations

import contextlib
import importlib
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import get_env_id, parse_env_id
from gymnasium.vector import VectorEnv

from spinup.envs.episode_replay import ReplayableEnv
from spinup.envs.local_vector import LocalVector
from spinup.envs.mujoco_warnings import mujoco_warnings_once
from spinup.envs.spaces import flat_observation_space
from spinup.envs.user_vector import UserVector
from spinup.envs.validation import FlatEnv
from spinup.envs.vector import EnvVector, call_checked
from spinup.errors import ConfigError, EnvError, SpinupError, first_line
from spinup.hints import nearest

EnvFn = Callable[[], Any]  # returns a gymnasium.Env or a gymnasium.vector.VectorEnv


@dataclass(frozen=True)
class EnvFactory:
    """Makes one environment, wrapped in FlatEnv and ReplayableEnv; picklable when `env_fn` is."""

    env_fn: EnvFn

    def __call__(self) -> gym.Env[Any, Any]:
        with mujoco_warnings_once():
            return ReplayableEnv(FlatEnv(self.env_fn()))


class FreshEnvs:
    """Calls a user's `env_fn` and checks that every call returns a new environment.

    A new wrapper around an earlier environment is rejected too, since two episodes would share its state.
    Picklable when `env_fn` is; a copy in another process does not know earlier environments.

    Raises:
        ConfigError: when called, if `env_fn` returns an earlier environment.
    """

    def __init__(self, env_fn: EnvFn) -> None:
        self.env_fn = env_fn
        self._earlier: list[weakref.ref[Any]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return FreshEnvs, (self.env_fn,)

    def __call__(self) -> Any:
        env = self.env_fn()
        if not isinstance(env, (gym.Env, VectorEnv)):  # make_vector raises for it
            return env
        unwrapped = env.unwrapped
        if any(earlier() is unwrapped for earlier in self._earlier):
            raise ConfigError(
                "env_fn returned the same environment twice: it must make a new one at each call, as in "
                "lambda: gym.make('...')"
            )
        alive = [earlier for earlier in self._earlier if earlier() is not None]
        self._earlier = [*alive, weakref.ref(unwrapped)]
        return env


def env_function(env: EnvFn | str, kwargs: dict[str, Any] | None = None) -> EnvFn:
    """A function that makes environments, from a user's function or an id ("Hopper-v5", "module:Env-v0").

    Args:
        env: the function or the id.
        kwargs: keyword arguments of `gymnasium.make`, for an id.

    Raises:
        ConfigError: if `env` is neither a function nor a string.
        EnvError: if the id is not registered or its module cannot be imported; it names the closest id.
    """
    if not isinstance(env, str):
        if not callable(env):
            raise ConfigError(f"env_fn={env!r}: give a function that returns an environment, or an id")
        return FreshEnvs(env)
    module, _, name = env.rpartition(":")
    known: list[str] = []
    try:
        if module:
            importlib.import_module(module)
        known = list(gym.registry)
        gym.spec(name)
    except Exception as error:  # a module may raise anything when it is imported
        hint = nearest(name, known).replace("'", f"'{module}:" if module else "'", 1)
        own = "" if module else f"; if a module of yours registers it, give 'module:{name}'"
        raise EnvError(f"environment id {env!r} cannot be found{hint} ({first_line(error)}){own}") from None
    return partial(make_by_id, env, **(kwargs or {}))


def make_by_id(env_id: str, /, **kwargs: Any) -> gym.Env[Any, Any]:
    """Make a registered environment.

    Args:
        env_id: such as "Hopper-v5"; a module in "module:Env-v0" is imported.
        kwargs: keyword arguments of `gymnasium.make`.

    Raises:
        EnvError: if it cannot be made, for example because of a missing package or wrong `kwargs`. The
            message names a newer version of the id, if there is one.
    """
    try:
        with mujoco_warnings_once():
            return gym.make(env_id, **kwargs)
    except Exception as error:  # constructors may raise anything
        raise EnvError(
            f"environment id {env_id!r} cannot be made: {first_line(error)}{_newer_version(env_id)}"
        ) from error


def _newer_version(env_id: str) -> str:
    """The hint "; give 'Hopper-v5'" if a newer version of the id is registered, else an empty string."""
    module, colon, plain = env_id.rpartition(":")
    namespace, name, version = parse_env_id(plain)
    same = [s for s in gym.registry.values() if (s.namespace, s.name) == (namespace, name)]
    newest = max((s.version or 0 for s in same), default=0)
    if newest <= (version or 0):
        return ""
    return f"; give '{module}{colon}{get_env_id(namespace, name, newest)}'"


def make_vector(env_fn: EnvFn, num_envs: int, workers: str, timeout: float) -> EnvVector:
    """N environments made by `env_fn`, or the VectorEnv that it returns.

    Args:
        env_fn: see `env_function`.
        num_envs: number of environments, ignored for a VectorEnv.
        workers: "sync" or "async", ignored for a VectorEnv.
        timeout: seconds that an async environment may take for one step or reset.

    Raises:
        EnvError: if `env_fn` fails or returns neither an Env nor a VectorEnv, or for an unsupported
            observation space.
    """
    try:
        with mujoco_warnings_once():
            first = env_fn()
    except SpinupError:
        raise
    except Exception as error:
        raise EnvError(f"env_fn raised {first_line(error)}; fix env_fn, or install what it needs") from error
    if isinstance(first, VectorEnv):
        return UserVector(first)
    if not isinstance(first, gym.Env):
        raise EnvError(
            f"env_fn returned {type(first).__name__}: it must return a gymnasium.Env (Gymnasium >= 1.0) or "
            "a gymnasium.vector.VectorEnv; an old gym environment can be wrapped with shimmy"
        )
    try:
        flat_observation_space(first.observation_space)
    except SpinupError:
        with contextlib.suppress(Exception):
            first.close()
        raise
    call_checked(first.close, "fix its close()")
    vector = LocalVector(EnvFactory(env_fn), num_envs, workers, timeout)
    vector.spec, vector.original_space = first.spec, first.observation_space
    return vector
