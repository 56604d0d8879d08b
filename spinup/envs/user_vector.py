"""Adapts a vector environment that the user's function returned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import iterate
from numpy.typing import NDArray

from spinup.envs.episode_replay import EpisodeHistory, Statistics, read_statistics, write_statistics
from spinup.envs.vector import Bools, EnvVector, StepResult, call_checked
from spinup.errors import EnvError

T = TypeVar("T")


class UserVector(EnvVector):
    """A gymnasium VectorEnv in any of the three autoreset modes.

    Raises:
        EnvError: if its metadata does not give its autoreset mode.
    """

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
        self.spec, self.original_space = envs.spec, self.observation_space
        self.resets_itself = self.mode is not AutoresetMode.DISABLED
        self.keeps_statistics = any(self.statistics())
        self._resetting = np.zeros(self.num_envs, np.bool_)
        self._next_observations: Any = None

    def reset(self, mask: Bools, seeds: list[int | None]) -> Any:
        if self.resets_itself:
            self._resetting[:] = False
            self._next_observations = _call(lambda: self.envs.reset(seed=seeds[0]))[0]
            return self._next_observations
        options: Any = {"reset_mask": mask}
        return _call(lambda: self.envs.reset(seed=seeds, options=options))[0]  # type: ignore[arg-type]

    def step(self, actions: NDArray[Any]) -> StepResult:
        result = _call(lambda: self.envs.step(actions))
        next_obs, reward, terminated, truncated, infos = result
        terminated, truncated = np.asarray(terminated, np.bool_), np.asarray(truncated, np.bool_)
        for name, values in (("terminated", terminated), ("truncated", truncated)):
            if values.shape != (self.num_envs,):
                raise EnvError(
                    f"the vector environment's {name} has shape {values.shape}: return one boolean for each "
                    f"environment, shape ({self.num_envs},)"
                )
        ended, valid = terminated | truncated, ~self._resetting
        self._next_observations = next_obs
        if self.mode is AutoresetMode.SAME_STEP and ended.any():
            next_obs = self._final_observations(next_obs, infos, ended)
        if self.mode is AutoresetMode.NEXT_STEP:
            self._resetting = ended & valid
        return StepResult(next_obs, np.asarray(reward, np.float64), terminated, truncated, valid)

    def next_observations(self) -> Any:
        return self._next_observations

    def statistics(self) -> list[Statistics]:
        return [read_statistics(self.envs)]

    def restore_statistics(self, values: list[Statistics | None]) -> None:
        write_statistics(self.envs, values[0] or {})

    def replay_episodes(
        self, mask: Bools, seeds: list[int | None], histories: list[EpisodeHistory]
    ) -> tuple[Any, list[int]]:
        """Does not replay any episode, since the environments of a user's vector may share state."""
        return None, [-1] * self.num_envs

    def rebuild(self) -> None:
        raise AssertionError("only a vector of worker processes raises EnvCrash")

    def close(self) -> None:
        self.envs.close()

    def _final_observations(self, next_obs: Any, infos: dict[str, Any], ended: Bools) -> list[Any]:
        final = infos.get("final_obs", infos.get("final_observation"))
        if final is None:
            raise EnvError(
                "the vector environment resets in the same step but gives no infos['final_obs']: without it "
                "the last transition of each episode is lost; set AutoresetMode.NEXT_STEP or DISABLED"
            )
        rows = list(iterate(self.envs.observation_space, next_obs))
        for i in np.flatnonzero(ended):
            rows[i] = final[i]
        return rows


def _call(call: Callable[[], T]) -> T:
    """`call_checked`, also for a KeyboardInterrupt from a worker process, which may not ignore Ctrl-C."""
    try:
        return call_checked(call)
    except KeyboardInterrupt as error:
        raise EnvError("a worker process of the vector environment was interrupted") from error
