"""Trap 18: resume restores the networks, but not the buffer, a generator, an optimizer or alpha; rows twice.

A resumed run must equal an uninterrupted one. To show that the comparison is sensitive, each part of the
state in turn is left as in a new run, and then the two must differ.
"""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import FourCalls, Point, parameters, read_rows, train, without_timing

from spinup.replay.buffer import ReplayBuffer
from spinup.training import Trainer

SETTINGS: dict[str, Any] = {"env_fn": Point, "alpha": "auto", "steps_per_epoch": 50, "checkpoint_every": 25}


def resume(folder: Path, halves: Path, **changes: Any) -> Any:
    """A copy of the run that was stopped halfway, resumed to its end: parameters and rows."""
    shutil.copytree(halves, folder)
    ac, rows = train(folder, epochs=3, resume=True, **{**SETTINGS, **changes})
    return parameters(ac), without_timing(rows)


def same(a: Any, b: Any) -> bool:
    """Whether two runs have equal parameters and rows."""
    return bool(a[0].equal(b[0])) and a[1] == b[1]


def test_every_part_is_restored_and_matters(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The number of gradient steps matters with a policy delay, which sac_tf1 does not have.
    changes: dict[str, Any] = {"engine": engine} | ({} if engine == "tf1" else {"policy_delay": 3})
    settings = {**SETTINGS, **changes}
    ac, rows = train(tmp_path / "whole", epochs=3, **settings)
    whole = parameters(ac), without_timing(rows)
    train(tmp_path / "half", epochs=2, **settings)
    assert same(whole, resume(tmp_path / "restored", tmp_path / "half", **changes))
    real, seen = Trainer.load_state_dict, {}

    def leave_out(part: str) -> None:
        def load(self: Trainer, state: dict[str, Any]) -> None:
            fresh, seen["state"] = self.state_dict(), state
            state = copy.deepcopy(state)
            *outer, last = part.split("/")
            to, source = state, fresh
            for key in outer:
                to, source = to[key], source[key]
            to[last] = source[last]
            real(self, state)

        monkeypatch.setattr(Trainer, "load_state_dict", load)

    leave_out("seconds")
    assert same(whole, resume(tmp_path / "seconds", tmp_path / "half", **changes))
    unused = ("torch_rng", "cuda_rng")  # the policy draws from the agent's own generator
    parts = [f"agent/{key}" for key in seen["state"]["agent"] if key not in unused]
    for k, part in enumerate([*parts, "rng", "collector"]):
        leave_out(part)
        assert not same(whole, resume(tmp_path / str(k), tmp_path / "half", **changes)), part


def test_the_global_generator_is_restored_and_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**SETTINGS, "actor_critic": FourCalls}
    ac, rows = train(tmp_path / "whole", epochs=3, **settings)
    whole = parameters(ac), without_timing(rows)
    train(tmp_path / "half", epochs=2, **settings)
    assert same(whole, resume(tmp_path / "restored", tmp_path / "half", actor_critic=FourCalls))
    real = Trainer.load_state_dict

    def load(self: Trainer, state: dict[str, Any]) -> None:
        agent = {**state["agent"], "torch_rng": self.agent.state_dict()["torch_rng"]}
        real(self, {**state, "agent": agent})

    monkeypatch.setattr(Trainer, "load_state_dict", load)
    assert not same(whole, resume(tmp_path / "other", tmp_path / "half", actor_critic=FourCalls))


def test_the_buffer_is_restored_and_matters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ac, rows = train(tmp_path / "whole", epochs=3, **SETTINGS)
    whole = parameters(ac), without_timing(rows)
    train(tmp_path / "half", epochs=2, **SETTINGS)
    real = ReplayBuffer.add

    def restore(self: ReplayBuffer, start: int, rows: dict[str, Any]) -> None:
        real(self, {name: np.zeros_like(column) for name, column in rows.items()})

    monkeypatch.setattr(ReplayBuffer, "restore", restore)
    assert not same(whole, resume(tmp_path / "other", tmp_path / "half"))


def test_rows_logged_after_the_checkpoint_are_not_duplicated(tmp_path: Path) -> None:
    train(tmp_path / "whole", epochs=3, **SETTINGS)
    # The run ends with a checkpoint at step 150; the one before it is older than the last row.
    newest = max((tmp_path / "whole" / "checkpoint").glob("manifest-*"), key=lambda p: p.stat().st_mtime_ns)
    newest.unlink()
    _, rows = train(tmp_path / "whole", epochs=3, resume=True, **SETTINGS)
    assert [row["Epoch"] for row in rows] == ["1", "2", "3"]
    assert [row["Epoch"] for row in read_rows(tmp_path / "whole")] == ["1", "2", "3"]
