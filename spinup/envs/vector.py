"""The interface of vector environments that collectors use, with masked resets and final observations."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from spinup.envs.episode_replay import EpisodeHistory, Statistics
from spinup.errors import EnvError, SpinupError, first_line

Bools = NDArray[np.bool_]
T = TypeVar("T")


@dataclass(frozen=True)
class StepResult:
    """The result of one step of N environments.

    Attributes:
        next_obs: the observations that the actions led to, in the format of the vector; at the end of an
            episode, its final observation, not the first one of the next episode.
        reward: (N,) float64.
        terminated, truncated: (N,) bool.
        valid: (N,) bool, False where the environment used the step to reset itself, so that the row is not
            a transition.
    """

    next_obs: Any
    reward: NDArray[np.float64]
    terminated: Bools
    truncated: Bools
    valid: Bools


class EnvVector(abc.ABC):
    """N environments that are stepped together.

    Attributes:
        num_envs: N.
        observation_space, action_space: the spaces of a single environment.
        original_space: the observation space before `FlatEnv` flattens observations.
        spec: the EnvSpec of the environments, or None.
        resets_itself: whether environments start their next episode without a call of `reset`.
        keeps_statistics: whether a wrapper keeps statistics across episodes, such as a running mean.
    """

    num_envs: int
    observation_space: gym.Space[Any]
    action_space: gym.Space[Any]
    original_space: gym.Space[Any]
    spec: Any
    resets_itself: bool
    keeps_statistics: bool

    @abc.abstractmethod
    def reset(self, mask: Bools, seeds: list[int | None]) -> Any:
        """Start a new episode where `mask` (N,) is set; returns the observations of all environments."""

    @abc.abstractmethod
    def step(self, actions: NDArray[Any]) -> StepResult:
        """Step all environments.

        Raises:
            EnvError: if an environment raised in this process, or returned invalid values.
            EnvCrash: if an environment in a worker process raised, exited or timed out.
        """

    @abc.abstractmethod
    def next_observations(self) -> Any:
        """The observations to act on after a step; called only if `resets_itself`."""

    @abc.abstractmethod
    def statistics(self) -> list[Statistics]:
        """The statistics kept across episodes, one entry per environment, or one for a user's vector."""

    @abc.abstractmethod
    def restore_statistics(self, values: list[Statistics | None]) -> None:
        """Restore the result of `statistics()`; None leaves an environment unchanged."""

    @abc.abstractmethod
    def replay_episodes(
        self, mask: Bools, seeds: list[int | None], histories: list[EpisodeHistory]
    ) -> tuple[Any, list[int]]:
        """Rebuild mid-episode states: reset where `mask` (N,) is set, then replay the recorded actions.

        Returns:
            The observations of all environments, and the number of actions replayed in each; the number is -1
            if the replay failed.
        """

    @abc.abstractmethod
    def rebuild(self) -> None:
        """Replace all environments by new ones, after an EnvCrash."""

    def metrics(self) -> dict[str, float]:
        """Columns of the epoch's row; empty unless environments are stepped by remote collectors."""
        return {}

    def new_epoch(self) -> None:
        """Reset the statistics of `metrics`."""

    @abc.abstractmethod
    def close(self) -> None:
        """Close all environments."""


def call_checked(call: Callable[[], T], remedy: str = "fix the environment, then resume the run") -> T:
    """Call a function that runs code of an environment in this process, and return its result.

    Args:
        call: the function.
        remedy: the remedy in the message.

    Raises:
        EnvError: for any exception of the environment, as one line; the exception is its cause.
    """
    try:
        return call()
    except SpinupError:
        raise
    except Exception as error:
        raise EnvError(f"the environment raised {first_line(error)}; {remedy}") from error
