"""Rebuilds a mid-episode state by replaying its seed and actions, and restores statistics of wrappers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorWrapper

Statistics = dict[str, Any]


@dataclass(frozen=True)
class EpisodeHistory:
    """The data, besides its seed, from which a running episode is replayed.

    Attributes:
        statistics: statistics of wrappers to restore before the reset; None leaves them unchanged.
        actions: the actions taken since the reset, in the format of the environment.
    """

    statistics: Statistics | None = None
    actions: list[Any] = field(default_factory=list)


@runtime_checkable
class Stateful(Protocol):
    """An environment or wrapper that provides the state it keeps across episodes as a state dict."""

    def state_dict(self) -> dict[str, Any]:
        """Arrays, numbers and strings in nested dicts with string keys."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the result of `state_dict()`."""
        ...


@runtime_checkable
class HasMoments(Protocol):
    """A running mean and variance, such as `obs_rms` of gymnasium.wrappers.NormalizeObservation."""

    mean: Any
    var: Any
    count: Any


class ReplayableEnv(gym.Wrapper[Any, Any, Any, Any]):
    """An environment whose reset can replay a running episode up to its current step.

    A vector reads and writes the attributes with `get_attr` and `set_attr`, also across processes.

    Attributes:
        history: the history that the next reset replays; None for an ordinary reset. The reset clears it.
        replayed: number of actions that the last reset replayed, -1 if the episode ended during the replay.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.history: EpisodeHistory | None = None
        self.replayed = 0

    @property
    def statistics(self) -> Statistics:
        """Statistics that wrappers keep across episodes, see `read_statistics`; setting None is ignored."""
        return read_statistics(self.env)

    @statistics.setter
    def statistics(self, values: Statistics | None) -> None:
        if values is not None:
            write_statistics(self.env, values)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        history, self.history = self.history or EpisodeHistory(), None
        self.statistics = history.statistics
        observation, info = self.env.reset(seed=seed, options=options)
        self.replayed = 0
        for action in history.actions:
            observation, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                self.replayed = -1
                break
            self.replayed += 1
        return observation, info


def read_statistics(env: Any) -> Statistics:
    """A copy of the state that an environment and its wrappers keep across episodes, by layer.

    It covers running means and variances, the discounted return of NormalizeReward, NumPy generators other
    than the one that `reset` seeds, and the `state_dict()` of layers that have one.
    """
    found: Statistics = {}
    for name, layer in _layers(env):
        if isinstance(layer, Stateful):
            found[name] = {"state_dict": layer.state_dict()}
        elif values := {key: _copy(value) for key, value in vars(layer).items() if _is_kept(key, value)}:
            found[name] = values
    return found


def normalizes(statistics: list[Statistics]) -> bool:
    """Whether the results of `read_statistics` contain a running mean and variance."""
    kept = [value for layers in statistics for values in layers.values() for value in values.values()]
    return any(isinstance(value, dict) and {"mean", "var", "count"} <= value.keys() for value in kept)


def write_statistics(env: Any, values: Statistics) -> None:
    """Restore the result of `read_statistics(env)`; entries of layers that no longer exist are ignored."""
    for name, layer in _layers(env):
        saved = values.get(name, {})
        if isinstance(layer, Stateful):
            if "state_dict" in saved:
                layer.load_state_dict(saved["state_dict"])
            continue
        for key, value in list(vars(layer).items()):
            if key in saved and _is_kept(key, value):
                _restore(layer, key, value, saved[key])


_DISCOUNTED_RETURNS = ("discounted_reward", "accumulated_reward")


def _layers(env: Any) -> Iterator[tuple[str, Any]]:
    depth = 0
    while True:
        yield f"{depth} {type(env).__name__}", env
        if not isinstance(env, (gym.Wrapper, VectorWrapper)):
            return
        depth, env = depth + 1, env.env


def _is_kept(key: str, value: Any) -> bool:
    unseeded_generator = isinstance(value, np.random.Generator) and key != "_np_random"  # seeded by reset
    return unseeded_generator or key in _DISCOUNTED_RETURNS or _is_moments(value)


def _is_moments(value: Any) -> bool:
    """Whether `value` has mean, var and count as values; a pandas DataFrame has them as methods."""
    return isinstance(value, HasMoments) and not any(map(callable, (value.mean, value.var, value.count)))


def _copy(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if _is_moments(value):
        return {"mean": np.array(value.mean), "var": np.array(value.var), "count": float(value.count)}
    return np.array(value)


def _restore(layer: Any, key: str, value: Any, saved: Any) -> None:
    if isinstance(value, np.random.Generator):
        value.bit_generator.state = saved
    elif _is_moments(value):
        value.mean, value.var, value.count = np.array(saved["mean"]), np.array(saved["var"]), saved["count"]
    else:
        vars(layer)[key] = np.array(saved)
