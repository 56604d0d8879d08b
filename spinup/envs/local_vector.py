"""Environments built here from a function, in this process or one process each."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from spinup.envs.episode_replay import Past, Statistics
from spinup.envs.vector import Bools, Stepped, Vector, env_error
from spinup.envs.workers import InWorker, guarded, kill, shut
from spinup.errors import EnvError


class OwnVector(Vector):
    """Environments built here from a function, reset by us alone (AutoresetMode.DISABLED).

    Args:
        env_fn: makes one Rewindable environment.
        num_envs: how many.
        workers: "sync" or "async".
        timeout: seconds that an async environment may take for one step or reset.
    """

    resets_itself = False

    def __init__(
        self, env_fn: Callable[[], gym.Env[Any, Any]], num_envs: int, workers: str, timeout: float
    ) -> None:
        self.num_envs, self._env_fn, self._workers, self._timeout = num_envs, env_fn, workers, timeout
        self.envs = self._make()
        self.observation_space = self.envs.single_observation_space
        self.action_space = self.envs.single_action_space
        self.spec = None
        self.keeps_statistics = any(self.statistics())

    def reset(self, mask: Bools, seeds: list[int | None]) -> Any:
        return self._reset(mask, seeds, 1)

    def step(self, actions: NDArray[Any]) -> Stepped:
        if isinstance(self.envs, AsyncVectorEnv):
            envs = self.envs
            out = self._guarded(envs, lambda: envs.step_async(actions), envs.step_wait)
        else:
            try:
                out = self.envs.step(actions)
            except EnvError:
                raise
            except Exception as error:
                raise env_error(error) from error
        o2, r, terminated, truncated, _ = out
        return Stepped(o2, r, terminated, truncated, np.ones(self.num_envs, np.bool_))

    def observations(self) -> Any:
        raise AssertionError("a vector without autoreset returns observations from reset")

    def statistics(self) -> list[Statistics]:
        return list(self._get("statistics"))

    def restore_statistics(self, values: list[Statistics | None]) -> None:
        self.envs.set_attr("statistics", list(values))

    def rewind(self, mask: Bools, seeds: list[int | None], pasts: list[Past]) -> tuple[Any, list[int]]:
        taken = [past if again else None for past, again in zip(pasts, mask, strict=True)]
        self.envs.set_attr("past", taken)
        observations = self._reset(mask, seeds, 1 + max(len(past.actions) for past in pasts))
        return observations, list(self._get("replayed"))

    def rebuild(self) -> None:
        if isinstance(self.envs, AsyncVectorEnv):
            kill(self.envs)
        try:
            self.envs = self._make()
        except Exception as error:
            raise env_error(error) from error

    def close(self) -> None:
        if isinstance(self.envs, AsyncVectorEnv):
            shut(self.envs)
        else:
            self.envs.close()

    def _make(self) -> AsyncVectorEnv | SyncVectorEnv:
        if self._workers == "async":
            env_fns = [InWorker(self._env_fn, os.getpid())] * self.num_envs
            return AsyncVectorEnv(env_fns, autoreset_mode=AutoresetMode.DISABLED)
        # what it returns is copied at once into the run's own arrays
        return SyncVectorEnv(
            [self._env_fn] * self.num_envs, copy=False, autoreset_mode=AutoresetMode.DISABLED
        )

    def _reset(self, mask: Bools, seeds: list[int | None], steps: int) -> Any:
        options = {"reset_mask": mask}
        if isinstance(self.envs, AsyncVectorEnv):
            envs = self.envs
            return self._guarded(envs, lambda: envs.reset_async(seeds, options), envs.reset_wait, steps)[0]
        try:
            return self.envs.reset(seed=seeds, options=options)[0]
        except EnvError:
            raise
        except Exception as error:
            raise env_error(error) from error

    def _get(self, name: str) -> tuple[Any, ...]:
        if isinstance(self.envs, AsyncVectorEnv):
            envs = self.envs
            values: tuple[Any, ...] = self._guarded(envs, lambda: envs.call_async(name), envs.call_wait)
            return values
        return self.envs.get_attr(name)

    def _guarded(
        self, envs: AsyncVectorEnv, send: Callable[[], None], wait: Callable[..., Any], steps: int = 1
    ) -> Any:
        limit = f"env_timeout={self._timeout:g} seconds"
        return guarded(envs, send, wait, self._timeout * steps, limit)
