"""A vector of environments made by a function, in this process or in one worker process each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from spinup.envs.episode_replay import EpisodeHistory, Statistics
from spinup.envs.vector import Bools, EnvVector, StepResult, call_checked
from spinup.envs.workers import (
    MAX_TIMEOUT,
    WorkerEnvFn,
    call_with_timeout,
    close_workers,
    kill_workers,
)
from spinup.errors import SpinupError


class LocalVector(EnvVector):
    """Environments made by a function, and reset only by the collector (AutoresetMode.DISABLED).

    Args:
        env_fn: makes one ReplayableEnv.
        num_envs: number of environments.
        workers: "sync" for this process, "async" for worker processes.
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
        self.spec, self.original_space = None, self.observation_space
        try:
            self.keeps_statistics = any(self.statistics())
        except BaseException:
            with contextlib.suppress(Exception):
                self.close()
            raise
        self._all_valid = np.ones(num_envs, np.bool_)

    def reset(self, mask: Bools, seeds: list[int | None]) -> Any:
        return self._reset(mask, seeds, 1)

    def step(self, actions: NDArray[Any]) -> StepResult:
        envs = self.envs
        if isinstance(envs, AsyncVectorEnv):
            result = self._call(envs, lambda: envs.step_async(actions), envs.step_wait)
        else:
            result = call_checked(lambda: self._step_each(envs, actions))
        next_obs, reward, terminated, truncated = result[:4]
        return StepResult(next_obs, reward, terminated, truncated, self._all_valid)

    def next_observations(self) -> Any:
        raise AssertionError("a vector without autoreset returns observations from reset")

    def statistics(self) -> list[Statistics]:
        return list(self._get("statistics"))

    def restore_statistics(self, values: list[Statistics | None]) -> None:
        self._set("statistics", list(values))

    def replay_episodes(
        self, mask: Bools, seeds: list[int | None], histories: list[EpisodeHistory]
    ) -> tuple[Any, list[int]]:
        replayed = [history if masked else None for history, masked in zip(histories, mask, strict=True)]
        self._set("history", replayed)
        observations = self._reset(mask, seeds, 1 + max(len(history.actions) for history in histories))
        return observations, list(self._get("replayed"))

    def rebuild(self) -> None:
        if isinstance(self.envs, AsyncVectorEnv):
            kill_workers(self.envs)
        self.envs = self._make()

    def close(self) -> None:
        if isinstance(self.envs, AsyncVectorEnv):
            close_workers(self.envs)
        else:
            self.envs.close()

    def _step_each(self, envs: SyncVectorEnv, actions: NDArray[Any]) -> tuple[Any, Any, Any, Any]:
        """The first four results of `envs.step(actions)`.

        It is faster: it omits the handling of info dicts, which FlatEnv leaves empty, and of spaces that are
        not Boxes.
        """
        space, count = self.observation_space, self.num_envs
        next_obs, reward = np.empty((count, *(space.shape or ())), space.dtype), np.empty(count)
        terminated, truncated = np.empty(count, np.bool_), np.empty(count, np.bool_)
        for i, (env, action) in enumerate(zip(envs.envs, actions, strict=True)):
            next_obs[i], reward[i], terminated[i], truncated[i], _ = env.step(action)
        return next_obs, reward, terminated, truncated

    def _make(self) -> AsyncVectorEnv | SyncVectorEnv:
        mode = AutoresetMode.DISABLED
        if self._workers == "async":
            env_fns = [WorkerEnvFn(self._env_fn, os.getpid())] * self.num_envs
            return call_checked(lambda: AsyncVectorEnv(env_fns, autoreset_mode=mode))
        # copy=False: the collector copies the result of a reset into its own arrays
        made: list[gym.Env[Any, Any]] = []

        def make() -> gym.Env[Any, Any]:
            made.append(self._env_fn())
            return made[-1]

        try:
            count = self.num_envs
            return call_checked(lambda: SyncVectorEnv([make] * count, copy=False, autoreset_mode=mode))
        except SpinupError:
            for env in made:
                with contextlib.suppress(Exception):
                    env.close()
            raise

    def _reset(self, mask: Bools, seeds: list[int | None], num_steps: int) -> Any:
        envs, options = self.envs, {"reset_mask": mask}
        if isinstance(envs, AsyncVectorEnv):
            return self._call(envs, lambda: envs.reset_async(seeds, options), envs.reset_wait, num_steps)[0]
        return call_checked(lambda: envs.reset(seed=seeds, options=options))[0]

    def _get(self, name: str) -> tuple[Any, ...]:
        envs = self.envs
        if isinstance(envs, AsyncVectorEnv):
            values: tuple[Any, ...] = self._call(envs, lambda: envs.call_async(name), envs.call_wait)
            return values
        return call_checked(lambda: envs.get_attr(name))

    def _set(self, name: str, values: list[Any]) -> None:
        call_checked(lambda: self.envs.set_attr(name, values))

    def _call(
        self, envs: AsyncVectorEnv, send: Callable[[], None], wait: Callable[..., Any], num_steps: int = 1
    ) -> Any:
        limit = f"env_timeout={self._timeout:g} seconds"
        return call_with_timeout(envs, send, wait, min(self._timeout * num_steps, MAX_TIMEOUT), limit)
