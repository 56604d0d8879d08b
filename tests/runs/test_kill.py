"""A run that is killed repeatedly, also during saves, and resumed equals an uninterrupted run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import ENGINES, train
from killing import ENVS
from resuming import assert_same_files, signal_at

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
SETTINGS = {"steps_per_epoch": 99, "epochs": 10, "num_test_episodes": 1, "checkpoint_every": 7, "threads": 1}


def kill_and_resume(folder: Path, kills: int, seed: int, **settings: Any) -> dict[str, int]:
    """Number of kills of each kind, in a run that was resumed after each of them until it was complete."""
    order = {"folder": str(folder), "kills": kills, "seed": seed, "settings": {**SETTINGS, **settings}}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent.parent / "killing.py"), json.dumps(order)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    count: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    return count


def check(tmp_path: Path, kills: int, seed: int, **settings: Any) -> None:
    """Compare rows and models of a killed and resumed run with those of an uninterrupted one."""
    signal_at(None)
    train(tmp_path / "whole", **{**SETTINGS, **settings, "env_fn": ENVS[settings["env_fn"]]})
    count = kill_and_resume(tmp_path / "killed", kills, seed, **settings)
    assert sum(count.values()) == kills, count
    assert_same_files(tmp_path / "whole", tmp_path / "killed")


def test_a_few_kills(tmp_path: Path) -> None:
    check(tmp_path, 4, 1, env_fn="point", num_envs=3, engine="auto", n_step=3)


# Compiled once; later processes load the graph from disk.
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")  # of the compiler's own modules
@pytest.mark.slow
@pytest.mark.parametrize(("kills", "seed"), [(1, 14), (6, 51)])
@pytest.mark.usefixtures("compiled_once")
def test_kills_of_a_compiled_run(tmp_path: Path, kills: int, seed: int) -> None:
    check(tmp_path, kills, seed, env_fn="point", num_envs=3, engine="compile", alpha="auto")


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("num_envs", [1, 3])
@pytest.mark.parametrize("env_fn", ["point", "normalized"])
def test_many_kills(tmp_path: Path, engine: str, num_envs: int, env_fn: str) -> None:
    seed = 10 * num_envs + (env_fn == "point")
    check(tmp_path, 8, seed, engine=engine, num_envs=num_envs, env_fn=env_fn, alpha="auto")
