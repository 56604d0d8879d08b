"""Trap 21: the caller's kwargs or a mutable default changed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from helpers import SMALL, Point

from spinup import MLPActorCritic, sac_pytorch


def greedy(observation_space: Any, action_space: Any, **kwargs: Any) -> Any:
    """A constructor that modifies its arguments."""
    sizes = kwargs.pop("hidden_sizes")
    ac = MLPActorCritic(observation_space, action_space, hidden_sizes=tuple(sizes))
    sizes.append(99)
    return ac


def test_arguments_are_never_changed(tmp_path: Path) -> None:
    ac_kwargs, logger_kwargs = {"hidden_sizes": [8, 8]}, {"output_dir": str(tmp_path), "quiet": True}
    kept = copy.deepcopy((ac_kwargs, logger_kwargs, sac_pytorch.__defaults__))
    sac_pytorch(Point, greedy, **{**SMALL, "ac_kwargs": ac_kwargs}, logger_kwargs=logger_kwargs)
    assert (ac_kwargs, logger_kwargs, sac_pytorch.__defaults__) == kept
