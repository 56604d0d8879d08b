"""Checks the state in a checkpoint before it is restored into a run."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from spinup.config import SACConfig
from spinup.replay.samplers import Sampler
from spinup.runs.manifest import Checkpoint, CheckpointError

Tree = dict[str, Any]

# Paths of dicts that may have any entries: statistics of environments and wrappers, and of an epoch.
_OPEN = re.compile(r"collector/(statistics/\d+|episodes/\d+/statistics)|evaluator/\d+|log/stats")
_ANY_LENGTH = re.compile(r"collector/episodes/\d+/actions|sampler/.*|agent/cuda_rng")


def check_state(
    checkpoint: Checkpoint, fresh: Tree, config: SACConfig, capacity: int, sampler: Sampler
) -> None:
    """Check the types, shapes and ranges of a checkpoint's state before any of it is used.

    Args:
        checkpoint: the checkpoint, with all arrays of its state.
        fresh: `Trainer.state_dict()` of the new run, which has the same entries.
        config: the run's hyperparameters.
        capacity: capacity of the run's replay buffer.
        sampler: the run's sampler.

    Raises:
        CheckpointError: naming the first entry that is invalid for this configuration.
    """
    _check_like(checkpoint.state, fresh, "")
    _check("settings/epochs", type(checkpoint.settings.get("epochs")) is int)
    state, segments = checkpoint.state, checkpoint.segments
    collector, log = state["collector"], state["log"]
    n, first = collector["env_steps"], state["epoch"] * config.steps_per_epoch
    # A vector environment that uses steps for resets may exceed the end of an epoch.
    _check("collector/env_steps", first <= n < first + config.steps_per_epoch + config.num_envs)
    _check("seconds", 0 <= state["seconds"] < math.inf)
    rows = 0 if config.offline else n
    _check("the number of replay rows", rows == (segments[-1].stop if segments else 0))
    _check("the first replay row", not segments or segments[0].start <= max(n - capacity, 0))
    if (entry := sampler.invalid_entry(state.get("sampler", {}), min(rows, capacity))) is not None:
        _check(f"sampler/{entry}", False)
    for episode in collector["episodes"].values():
        length = episode["length"]
        _check("the length of an episode", len(episode["actions"]) == length <= config.max_ep_len)
    _check("log/rows", 0 <= log["rows"] <= n)
    _check("log/position", log["position"] >= 0)
    for name in ("header", "pending"):
        _check(f"log/{name}", all(isinstance(text, str) for text in log[name]))
    _check("log/stats", all(map(_are_statistics, log["stats"].values())))


def _check(name: str, holds: bool) -> None:
    if not holds:
        raise CheckpointError(f"{name} is out of range")


def _check_like(saved: Any, fresh: Any, path: str) -> None:
    """Check that two trees have the same keys, types, dtypes and shapes."""
    if isinstance(fresh, (np.ndarray, np.generic)):
        skip = 1 if _ANY_LENGTH.fullmatch(path) else 0
        fits = isinstance(saved, np.ndarray) and saved.dtype == fresh.dtype and saved.ndim == fresh.ndim
        fits = fits and saved.shape[skip:] == fresh.shape[skip:]
    else:
        fits = type(saved) is type(fresh)
    if not fits:
        raise CheckpointError(f"{path} is {_kind(saved)}, and {_kind(fresh)} in this run")
    if not isinstance(fresh, dict) or _OPEN.fullmatch(path):
        return
    if set(saved) != set(fresh):
        names = ", ".join(sorted(set(saved) ^ set(fresh)))
        raise CheckpointError(f"{path or 'the state'} lacks or adds {names[:80]!r}")
    for key, value in fresh.items():
        _check_like(saved[key], value, f"{path}/{key}".lstrip("/"))


def _kind(value: Any) -> str:
    if isinstance(value, (np.ndarray, np.generic)):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__


def _are_statistics(values: Any) -> bool:
    """Whether `values` can be `RunningStats.state()`."""
    if not isinstance(values, list) or [type(value) for value in values] != [int, *[float] * 4]:
        return False
    count, _, squares, _, _ = values
    return bool(count >= 0 and not squares < 0)
