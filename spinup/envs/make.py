"""Where environments come from: an id, a function, or a vector of the user's own."""

from __future__ import annotations

import importlib
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import get_env_id, parse_env_id
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from spinup.config import nearest
from spinup.envs.episode_replay import Past, Rewindable, Statistics, read_statistics, write_statistics
from spinup.envs.flat import FlatEnv
from spinup.envs.local_vector import OwnVector
from spinup.envs.mujoco_warnings import mujoco_warnings_once
from spinup.envs.spaces import flat_observation_space
from spinup.envs.vector import Bools, Stepped, Vector, env_error
from spinup.errors import ConfigError, EnvError

EnvFn = Callable[[], Any]


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
        self.keeps_statistics = any(self.statistics())
        self._resetting = np.zeros(self.num_envs, np.bool_)
        self._next: Any = None

    def reset(self, mask: Bools, seeds: list[int | None]) -> Any:
        if self.resets_itself:
            self._resetting[:] = False
            self._next = self.envs.reset(seed=seeds[0])[0]
            return self._next
        return self.envs.reset(seed=seeds, options={"reset_mask": mask})[0]  # type: ignore[arg-type]

    def step(self, actions: NDArray[Any]) -> Stepped:
        try:
            o2, r, terminated, truncated, infos = self.envs.step(actions)
        except Exception as error:
            raise env_error(error) from error
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

    def statistics(self) -> list[Statistics]:
        return [read_statistics(self.envs)]

    def restore_statistics(self, values: list[Statistics | None]) -> None:
        write_statistics(self.envs, values[0] or {})

    def rewind(self, mask: Bools, seeds: list[int | None], pasts: list[Past]) -> tuple[Any, list[int]]:
        """One that is not built here may share state among its environments: nothing is run again."""
        return None, [-1] * self.num_envs

    def rebuild(self) -> None:
        raise AssertionError("only a vector of worker processes raises EnvCrash")

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
        with mujoco_warnings_once():
            env: gym.Env[Any, Any] = self.env_fn()
        return Rewindable(FlatEnv(env))


class FreshEnvs:
    """Calls a user's `env_fn`, and refuses an environment that it returned before in this process.

    A wrapper put around the same environment again is that environment: two episodes would share its
    state. Picklable when `env_fn` is; another process begins with nothing noted.

    Raises:
        ConfigError: at the call that returns one again.
    """

    def __init__(self, env_fn: EnvFn) -> None:
        self.env_fn = env_fn
        self._made: list[weakref.ref[Any]] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return FreshEnvs, (self.env_fn,)

    def __call__(self) -> Any:
        env = self.env_fn()
        if not isinstance(env, (gym.Env, VectorEnv)):  # which make_vector refuses
            return env
        core = env.unwrapped
        if any(made() is core for made in self._made):
            raise ConfigError(
                "env_fn returned the same environment twice: it must make a new one at each call, as in "
                "lambda: gym.make('...')"
            )
        self._made = [made for made in self._made if made() is not None] + [weakref.ref(core)]
        return env


def env_function(env: EnvFn | str) -> EnvFn:
    """A function that makes environments: `env` itself, or of that id ("Hopper-v5", "module:Env-v0").

    Raises:
        EnvError: if no such id is registered, or the module cannot be imported; it names the nearest id.
    """
    if not isinstance(env, str):
        if not callable(env):
            raise ConfigError(f"env_fn={env!r}: give a function that returns an environment, or an id")
        return FreshEnvs(env)
    module, _, name = env.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        gym.spec(name)
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
        try:
            return gym.make(self.env_id)
        except Exception as error:
            cause = (str(error).strip().splitlines() or ["no message"])[0]
            raise EnvError(
                f"environment id {self.env_id!r} cannot be made: {type(error).__name__}: {cause}"
                f"{_newer_version(self.env_id)}"
            ) from error


def _newer_version(env_id: str) -> str:
    """The hint "; give 'Hopper-v5'" with the newest registered version of an id, empty if it is that one."""
    module, colon, plain = env_id.rpartition(":")
    namespace, name, version = parse_env_id(plain)
    same = [s for s in gym.registry.values() if (s.namespace, s.name) == (namespace, name)]
    newest = max((s.version or 0 for s in same), default=0)
    if newest <= (version or 0):
        return ""
    return f"; give '{module}{colon}{get_env_id(namespace, name, newest)}'"


def make_vector(env_fn: EnvFn, num_envs: int, workers: str, timeout: float) -> Vector:
    """N environments from `env_fn`, or the VectorEnv that it returns.

    Raises:
        EnvError: if `env_fn` returns something else, or fails.
        ConfigError: if `num_envs` contradicts the size of a VectorEnv.
    """
    try:
        with mujoco_warnings_once():
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
