"""What the loop asks of environments side by side: reset some, step all, true final observations."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from spinup.envs.episode_replay import Past, Statistics
from spinup.errors import EnvError

Bools = NDArray[np.bool_]


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
    keeps_statistics: bool  # something that its wrappers learn outlives an episode

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
    def statistics(self) -> list[Statistics]:
        """What the wrappers have learned, per environment, or once for a vector of the user's own."""

    @abc.abstractmethod
    def restore_statistics(self, values: list[Statistics | None]) -> None:
        """Put `statistics()` back; None leaves an environment as it is."""

    @abc.abstractmethod
    def rewind(self, mask: Bools, seeds: list[int | None], pasts: list[Past]) -> tuple[Any, list[int]]:
        """Reset where mask is set, and run each of these episodes again to where its past ends.

        Returns:
            The observations of all, and how many actions each environment ran, -1 where it could not.
        """

    @abc.abstractmethod
    def rebuild(self) -> None:
        """Replace all environments by new ones, after an EnvCrash."""

    @abc.abstractmethod
    def close(self) -> None:
        """Free what the environments hold."""


def env_error(error: Exception) -> EnvError:
    """The line for what an environment raised in this process."""
    text = str(error).strip().splitlines()
    return EnvError(
        f"the environment raised {type(error).__name__}: {text[-1] if text else 'no message'}; mend it, then "
        "resume the run"
    )
