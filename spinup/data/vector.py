"""Environments side by side behind one interface: reset some, step all, true final observations."""

from __future__ import annotations

import abc
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from spinup.config import nearest
from spinup.data.flat import FlatEnv
from spinup.data.spaces import flat_observation_space
from spinup.errors import ConfigError, EnvError

EnvFn = Callable[[], Any]
Bools = NDArray[np.bool_]


class EnvCrash(Exception):
    """An asynchronous environment raised or hung; the vector must be rebuilt."""


@dataclass(frozen=True)
class Stepped:
    """What one step of N environments returned.

    o2 is the observation that the action led to, also where the episode ended there; `valid` marks the
    rows that are transitions at all.
    """

    o2: Any
    r: NDArray[np.float64]
    terminated: Bools
    truncated: Bools
    valid: Bools


class Vector(abc.ABC):
    """N environments of one kind."""

    num_envs: int
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    spec: Any
    resets_itself: bool  # an ended episode is followed by the next without a call of reset

    @abc.abstractmethod
    def reset(self, mask: Bools, seeds: list[int | None]) -> Any:
        """Start a new episode where mask is set; returns the observations of all."""

    @abc.abstractmethod
    def step(self, actions: NDArray[Any]) -> Stepped:
        """Step all environments."""

    @abc.abstractmethod
    def observations(self) -> Any:
        """The observations to act on next, after a step of a vector that resets itself."""

    @abc.abstractmethod
    def close(self) -> None:
        """Free what the environments hold."""


class OwnVector(Vector):
    """Environments built here from a function, reset by us alone (AutoresetMode.DISABLED)."""

    resets_itself = False

    def __init__(self, env_fn: EnvFn, num_envs: int, workers: str, timeout: float) -> None:
        self.num_envs, self._timeout = num_envs, timeout
        make: Any = AsyncVectorEnv if workers == "async" else SyncVectorEnv
        self.envs = make([env_fn] * num_envs, autoreset_mode=AutoresetMode.DISABLED)
        self.observation_space = self.envs.single_observation_space
        self.action_space = self.envs.single_action_space
        self.spec = None

    def reset(self, mask: Bools, seeds: list[int | None]) -> Any:
        options = {"reset_mask": mask}
        if isinstance(self.envs, AsyncVectorEnv):
            return self._guarded(lambda: self.envs.reset_async(seeds, options), self.envs.reset_wait)[0]
        return self.envs.reset(seed=seeds, options=options)[0]

    def step(self, actions: NDArray[Any]) -> Stepped:
        if isinstance(self.envs, AsyncVectorEnv):
            out = self._guarded(lambda: self.envs.step_async(actions), self.envs.step_wait)
        else:
            out = self.envs.step(actions)
        o2, r, terminated, truncated, _ = out
        return Stepped(o2, r, terminated, truncated, np.ones(self.num_envs, np.bool_))

    def observations(self) -> Any:
        raise AssertionError("a vector without autoreset returns observations from reset")

    def close(self) -> None:
        if isinstance(self.envs, AsyncVectorEnv):
            self.envs.close(terminate=True)
        else:
            self.envs.close()

    def _guarded(self, send: Callable[[], None], wait: Callable[..., Any]) -> Any:
        try:
            send()
            return wait(timeout=self._timeout)
        except EnvError:
            raise
        except multiprocessing.TimeoutError as error:
            raise EnvCrash(f"gave no answer within env_timeout={self._timeout:g} seconds") from error
        except Exception as error:
            text = str(error).strip().splitlines()
            raise EnvCrash(f"raised {type(error).__name__}: {text[-1] if text else ''}") from error


class ForeignVector(Vector):
    """A VectorEnv that the user's function returned; its autoreset mode says how ends are read."""

    def __init__(self, envs: VectorEnv[Any, Any, Any]) -> None:
        mode = envs.metadata.get("autoreset_mode")
        try:
            self.mode = AutoresetMode(mode)
        except ValueError:
            raise EnvError(
                f"the vector environment's metadata['autoreset_mode'] is {mode!r}: set it to a "
                "gymnasium.vector.AutoresetMode, since it decides where an episode ends"
            ) from None
        self.envs, self.num_envs = envs, envs.num_envs
        self.observation_space, self.action_space = envs.single_observation_space, envs.single_action_space
        self.spec = envs.spec
        self.resets_itself = self.mode is not AutoresetMode.DISABLED
        self._resetting = np.zeros(self.num_envs, np.bool_)
        self._next: Any = None

    def reset(self, mask: Bools, seeds: list[int | None]) -> Any:
        if self.resets_itself:
            self._resetting[:] = False
            self._next = self.envs.reset(seed=seeds[0])[0]
            return self._next
        return self.envs.reset(seed=seeds, options={"reset_mask": mask})[0]  # type: ignore[arg-type]

    def step(self, actions: NDArray[Any]) -> Stepped:
        o2, r, terminated, truncated, infos = self.envs.step(actions)
        ended = np.asarray(terminated, np.bool_) | np.asarray(truncated, np.bool_)
        valid = ~self._resetting
        self._next = o2
        if self.mode is AutoresetMode.SAME_STEP and ended.any():
            o2 = self._final_observations(o2, infos, ended)
        if self.mode is AutoresetMode.NEXT_STEP:
            self._resetting = ended & valid
        return Stepped(
            o2,
            np.asarray(r, np.float64),
            np.asarray(terminated, np.bool_),
            np.asarray(truncated, np.bool_),
            valid,
        )

    def observations(self) -> Any:
        return self._next

    def close(self) -> None:
        self.envs.close()

    def _final_observations(self, o2: Any, infos: dict[str, Any], ended: Bools) -> Any:
        final = infos.get("final_obs", infos.get("final_observation"))
        if final is None:
            raise EnvError(
                "the vector environment resets in the same step but gives no infos['final_obs']: without it "
                "the last transition of each episode is lost; set AutoresetMode.NEXT_STEP or DISABLED"
            )
        rows = list(iterate(self.envs.observation_space, o2))
        for i in np.flatnonzero(ended):
            rows[i] = final[i]
        return rows


class EnvFactory:
    """Makes a single environment whose observations are flat; picklable when `env_fn` is."""

    def __init__(self, env_fn: EnvFn) -> None:
        self.env_fn = env_fn

    def __call__(self) -> gym.Env[Any, Any]:
        env: gym.Env[Any, Any] = self.env_fn()
        return FlatEnv(env)


def env_function(env: EnvFn | str) -> EnvFn:
    """`env` itself, or a function that makes the environment of that id ("Hopper-v5", "module:Env-v0").

    Raises:
        EnvError: if no such id is registered, or the module cannot be imported; it names the nearest id.
    """
    if not isinstance(env, str):
        if not callable(env):
            raise ConfigError(f"env_fn={env!r}: give a function that returns an environment, or an id")
        return env
    try:
        gym.spec(env)
    except (gym.error.Error, ImportError) as error:
        hint = nearest(env, list(gym.registry))
        raise EnvError(
            f"environment id {env!r} cannot be found{hint} ({str(error).splitlines()[0]})"
        ) from None
    return _MakeById(env)


@dataclass(frozen=True)
class _MakeById:
    env_id: str

    def __call__(self) -> gym.Env[Any, Any]:
        return gym.make(self.env_id)


def make_vector(env_fn: EnvFn, num_envs: int, workers: str, timeout: float) -> Vector:
    """N environments from `env_fn`, or the VectorEnv that it returns.

    Raises:
        EnvError: if `env_fn` returns something else, or fails.
        ConfigError: if `num_envs` contradicts the size of a VectorEnv.
    """
    try:
        first = env_fn()
    except gym.error.Error as error:
        raise EnvError(f"env_fn failed: {type(error).__name__}: {str(error).splitlines()[0]}") from error
    if isinstance(first, VectorEnv):
        if num_envs not in (1, first.num_envs):
            raise ConfigError(
                f"num_envs={num_envs}, but env_fn returned a vector of {first.num_envs}: leave num_envs out"
            )
        return ForeignVector(first)
    if not isinstance(first, gym.Env):
        raise EnvError(
            f"env_fn returned {type(first).__name__}: it must return a gymnasium.Env (Gymnasium >= 1.0) or "
            "a gymnasium.vector.VectorEnv; an old gym environment can be wrapped with shimmy"
        )
    try:
        flat_observation_space(first.observation_space)
    finally:
        first.close()
    spec = first.spec
    vector = OwnVector(EnvFactory(env_fn), num_envs, workers, timeout)
    vector.spec = spec
    return vector


def flatten_batch(space: gym.Space[Any], observations: Any, num_envs: int) -> NDArray[np.float32]:
    """Observations of N environments as (N, obs_dim) float32."""
    if isinstance(observations, np.ndarray):
        if observations.dtype == object or isinstance(space, (gym.spaces.Discrete, gym.spaces.MultiDiscrete)):
            return _flatten_each(space, list(observations))
        with np.errstate(over="ignore"):  # what overflows is refused as not finite
            return observations.reshape(num_envs, -1).astype(np.float32)
    if isinstance(observations, list):  # rows, from _final_observations; a tuple is a Tuple space's parts
        return _flatten_each(space, observations)
    return _flatten_each(space, list(iterate(gym.vector.utils.batch_space(space, num_envs), observations)))


def _flatten_each(space: gym.Space[Any], observations: Sequence[Any]) -> NDArray[np.float32]:
    rows: list[Any] = [gym.spaces.utils.flatten(space, observation) for observation in observations]
    with np.errstate(over="ignore"):
        return np.stack(rows).astype(np.float32)
