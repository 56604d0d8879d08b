"""The way back into a running episode: its seed, its actions, and what its wrappers had learned by then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorWrapper

Statistics = dict[str, Any]


@dataclass(frozen=True)
class Past:
    """An episode to run again.

    statistics: to put back before its reset, None to leave them; actions: those taken since, as the
    environment takes them.
    """

    statistics: Statistics | None = None
    actions: list[Any] = field(default_factory=list)


@runtime_checkable
class Stateful(Protocol):
    """An environment or wrapper that keeps something across episodes, and can say what."""

    def state_dict(self) -> dict[str, Any]:
        """Arrays, numbers and strings in nested dicts with string keys."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Put `state_dict()` back."""
        ...


@runtime_checkable
class Moments(Protocol):
    """A running mean and variance, such as gymnasium.wrappers.NormalizeObservation's."""

    mean: Any
    var: Any
    count: Any


class Rewindable(gym.Wrapper[Any, Any, Any, Any]):
    """An environment whose next reset can lead into the middle of an episode.

    A vector reaches these attributes with its `get_attr` and `set_attr`, in whatever process this is.

    Attributes:
        past: what the next reset runs again; taken once.
        replayed: how many actions it ran, -1 if the episode ended among them.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self.past: Past | None = None
        self.replayed = 0

    @property
    def statistics(self) -> Statistics:
        """What the wrappers have learned; empty where none learns. None leaves them as they are."""
        return read_statistics(self.env)

    @statistics.setter
    def statistics(self, values: Statistics | None) -> None:
        if values is not None:
            write_statistics(self.env, values)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        past, self.past = self.past or Past(), None
        self.statistics = past.statistics
        observation, info = self.env.reset(seed=seed, options=options)
        self.replayed = 0
        for action in past.actions:
            observation, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                self.replayed = -1
                break
            self.replayed += 1
        return observation, info


def read_statistics(env: Any) -> Statistics:
    """What outlives an episode in an environment and its wrappers, by layer; a copy.

    These are found: running means and variances, the discounted return of NormalizeReward, NumPy
    generators of a layer's own, and whatever a layer's `state_dict()` gives.
    """
    found: Statistics = {}
    for name, layer in _layers(env):
        if isinstance(layer, Stateful):
            found[name] = {"state_dict": layer.state_dict()}
        elif values := {key: _copy(value) for key, value in vars(layer).items() if _lasts(key, value)}:
            found[name] = values
    return found


def write_statistics(env: Any, values: Statistics) -> None:
    """Put `read_statistics(env)` back; layers that are not there any more are passed over."""
    for name, layer in _layers(env):
        saved = values.get(name, {})
        if isinstance(layer, Stateful):
            if "state_dict" in saved:
                layer.load_state_dict(saved["state_dict"])
            continue
        for key, value in list(vars(layer).items()):
            if key in saved and _lasts(key, value):
                _put(layer, key, value, saved[key])


_RETURNS = ("discounted_reward", "accumulated_reward")


def _layers(env: Any) -> Iterator[tuple[str, Any]]:
    depth = 0
    while True:
        yield f"{depth} {type(env).__name__}", env
        if not isinstance(env, (gym.Wrapper, VectorWrapper)):
            return
        depth, env = depth + 1, env.env


def _lasts(key: str, value: Any) -> bool:
    own_generator = isinstance(value, np.random.Generator) and key != "_np_random"  # which a reset seeds
    return own_generator or key in _RETURNS or _is_moments(value)


def _is_moments(value: Any) -> bool:
    """Whether these are numbers; a table of pandas has mean, var and count too, as methods."""
    return isinstance(value, Moments) and not any(map(callable, (value.mean, value.var, value.count)))


def _copy(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    if _is_moments(value):
        return {"mean": np.array(value.mean), "var": np.array(value.var), "count": float(value.count)}
    return np.array(value)


def _put(layer: Any, key: str, value: Any, saved: Any) -> None:
    if isinstance(value, np.random.Generator):
        value.bit_generator.state = saved
    elif _is_moments(value):
        value.mean, value.var, value.count = np.array(saved["mean"]), np.array(saved["var"]), saved["count"]
    else:
        vars(layer)[key] = np.array(saved)
