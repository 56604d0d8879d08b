"""Interfaces between the parts of a run; any framework, engine or place of collection fits behind them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.replay.transition import Batches, Transitions

Float = NDArray[np.float32]
# By name, with leading axis n, the number of gradient steps; of the policy, of those that update it.
Metrics = dict[str, NDArray[Any]]
Act = Callable[[Float], Float]  # observations (N, obs_dim) to actions (N, act_dim)


class Agent(Protocol):
    """All learned state: networks, targets, optimizers, temperature, random generators."""

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update or action depends on: arrays, numbers and strings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken."""
        ...

    def save(self, folder: Path, name: str) -> None:
        """Write the model for users, as the file or folder of that name."""
        ...


class Engine(Protocol):
    """How an update is computed."""

    def draw_noise(self, batches: Batches, rng: Generator) -> Batches:
        """The random inputs that an update on these batches needs, as further fields."""
        ...

    def update(self, agent: Any, batches: Batches) -> Metrics:
        """One gradient step per batch.

        For batches with the field `weight`, the metric TDError (n, B) holds the absolute TD errors.
        """
        ...


@dataclass(frozen=True)
class Trace:
    """What diagnostics need to know of a test episode of T steps, of which k are kept.

    rewards: (T,) float64; obs, actions: of the kept steps 0, s, 2s, ..., (k, obs_dim) and (k, act_dim), as
    transitions have them; stride: s; last_obs: (obs_dim,), after the last step; terminated: whether the MDP
    terminated there.
    """

    rewards: NDArray[np.float64]
    obs: NDArray[Any]
    actions: Float
    stride: int
    last_obs: NDArray[Any]
    terminated: bool


@dataclass(frozen=True)
class Episode:
    """A finished episode of environment `env`: its return, its number of steps, its trace if it was kept."""

    env: int
    ret: float
    length: int
    trace: Trace | None = None


@dataclass(frozen=True)
class Collected:
    """What one call of a collector brought.

    transitions: by field (see `transition_fields`), or empty; episodes: those that ended; note: a line for
    the log, or empty.
    """

    transitions: Transitions
    episodes: list[Episode]
    note: str = ""


class Collector(Protocol):
    """Transitions from environments, given a policy."""

    num_envs: int
    env_steps: int  # environment interactions so far, over all environments

    def start(self) -> None:
        """Begin the first episode everywhere, unless that was done."""
        ...

    def collect(self, act: Act) -> Collected:
        """Act once in every environment; collectors elsewhere act by themselves, many times or not yet."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The running episodes, as arrays, numbers and strings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> str:
        """Continue where `state` was taken; returns a line for the log, or an empty one."""
        ...

    def metrics(self) -> dict[str, float]:
        """Further columns of the row of the epoch so far, the same in every epoch."""
        ...

    def new_epoch(self) -> None:
        """Start the statistics of `metrics` anew."""
        ...


class Evaluator(Protocol):
    """Runs test episodes."""

    def evaluate(self, act: Act, round_number: int) -> list[Episode]:
        """The episodes of one test; the same for the same round and policy."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What tests depend on, as arrays, numbers and strings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        ...


class Diagnostics(Protocol):
    """Further columns of an epoch's row. They change nothing that the run depends on."""

    columns: tuple[str, ...]  # of all that the methods return, the same in every epoch

    def of_test(self, episodes: Sequence[Episode], round_number: int) -> dict[str, float]:
        """Columns that the traced episodes of a test give."""
        ...

    def of_epoch(self, epoch: int) -> dict[str, float]:
        """Columns that the state at the end of an epoch, from 1, gives."""
        ...


class RunMonitor(Protocol):
    """Called by the loop between steps: writes checkpoints and honors requests to stop."""

    def after_step(self, trainer: Any) -> None:
        """Called between two steps; what it raises stops the run there."""
        ...

    def during_test(self) -> None:
        """Called before each step of a test; what it raises stops the run before that test."""
        ...
