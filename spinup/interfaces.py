"""Interfaces between the parts of a run, independent of framework, engine and collector."""

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
# Arrays by name. The leading axis has one entry per gradient step; for metrics of the policy, it has one per
# step that updates the policy.
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
        """Write the model, for use outside the run, as the file or folder `name` in `folder`."""
        ...


class Engine(Protocol):
    """Computes updates."""

    def draw_noise(self, batches: Batches, rng: Generator) -> Batches:
        """Draw the random inputs that an update on these batches needs; returned as additional fields."""
        ...

    def update(self, agent: Any, batches: Batches) -> Metrics:
        """One gradient step per batch.

        For batches with the field `weight`, the metric TDError (n, B) holds the absolute TD errors.
        """
        ...


@dataclass(frozen=True)
class Trace:
    """The data of a test episode of T steps that diagnostics use; k steps, at regular intervals, are kept.

    Attributes:
        rewards: rewards of all steps, (T,).
        obs: observations at steps 0, `stride`, 2 `stride`, ..., (k, obs_dim), in the format of transitions.
        actions: actions at the same steps, (k, act_dim), in the format of transitions.
        stride: number of steps between two kept ones.
        last_obs: the observation after the last step, (obs_dim,).
        terminated: whether the MDP terminated; False if the episode was truncated.
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
    """The result of one call of `Collector.collect`.

    Attributes:
        transitions: arrays by field (see `transition_fields`), or empty.
        episodes: the episodes that ended.
        note: a line for the log, or an empty string.
    """

    transitions: Transitions
    episodes: list[Episode]
    note: str = ""


class Collector(Protocol):
    """Collects transitions from environments with a policy."""

    num_envs: int
    env_steps: int  # environment interactions so far, over all environments

    def start(self) -> None:
        """Start the first episode in every environment, unless this was done before."""
        ...

    def collect(self, act: Act) -> Collected:
        """Act once in every environment.

        Remote collectors act independently of this call; the result then holds any number of steps.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """The running episodes, as arrays, numbers and strings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> str:
        """Continue where `state` was taken; returns a line for the log, or an empty string."""
        ...

    def metrics(self) -> dict[str, float]:
        """Additional columns for the current epoch's row; the keys are the same in every epoch."""
        ...

    def new_epoch(self) -> None:
        """Reset the statistics of `metrics`."""
        ...


class Evaluator(Protocol):
    """Runs test episodes."""

    def evaluate(self, act: Act, round_number: int) -> list[Episode]:
        """Run the episodes of one test, which depend only on `round_number`, `act` and `state_dict()`."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The state that tests depend on, as arrays, numbers and strings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where `state` was taken."""
        ...


class Diagnostics(Protocol):
    """Computes additional columns of an epoch's row, without affecting the run."""

    columns: tuple[str, ...]  # columns of every row; the methods or the metrics of updates provide the values

    def of_test(self, episodes: Sequence[Episode], round_number: int) -> dict[str, float]:
        """Columns computed from the traced episodes of a test."""
        ...

    def of_epoch(self, epoch: int) -> dict[str, float]:
        """Columns computed from the state at the end of an epoch, counted from 1."""
        ...


class RunMonitor(Protocol):
    """Called by the loop between steps: writes checkpoints and honors requests to stop."""

    def after_step(self, trainer: Any) -> None:
        """Called between two steps; an exception raised here stops the run there."""
        ...

    def during_test(self) -> None:
        """Called before each step of a test; an exception raised here stops the run before that test."""
        ...
