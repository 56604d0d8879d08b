"""Runs with each sampler and with normalization are resumed exactly, also after kills; refusals.

The tests of datasets need the extra minari.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from goals import PointReach
from helpers import Point, parameters, read_rows, train, without_timing
from resuming import StepHook, assert_same, point, signal_at
from runs.test_kill import check  # type: ignore[import-not-found]

from spinup.errors import ConfigError, RunError
from spinup.training import Trainer


def reach() -> Any:
    """A PointReach with the hook."""
    return StepHook(PointReach(20))


CASES: dict[str, dict[str, Any]] = {
    "per": {"sampler": "per"},
    "per, wrapped": {"sampler": "per", "num_envs": 3, "replay_size": 60, "n_step": 3, "engine": "eager"},
    "her": {"sampler": "her", "env_fn": reach},
    "her, wrapped": {"sampler": "her", "env_fn": reach, "num_envs": 3, "replay_size": 60, "alpha": "auto"},
    "normalized": {"normalize_observations": True, "normalize_rewards": True},
    "normalized her": {
        "sampler": "her", "env_fn": reach, "num_envs": 3, "normalize_observations": True, "engine": "eager",
        "normalize_rewards": True,
    },
    "normalized per": {"sampler": "per", "normalize_rewards": True, "variant": "sac_v1", "n_step": 2},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_stopped_and_resumed(tmp_path: Path, case: str) -> None:
    settings = {"env_fn": point, "steps_per_epoch": 99, "checkpoint_every": 10, **CASES[case]}
    signal_at(None)
    whole, _ = train(tmp_path / "whole", **settings)
    signal_at(117)
    with pytest.raises(SystemExit):
        train(tmp_path / "stopped", **settings)
    signal_at(None)
    resumed, _ = train(tmp_path / "stopped", resume=True, **settings)
    assert_same(whole, resumed, tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize(
    ("seed", "env_fn", "settings"),
    [
        (5, "point", {"sampler": "per", "normalize_observations": True, "normalize_rewards": True}),
        (6, "reach", {"sampler": "her", "num_envs": 3}),
    ],
)
def test_kills(tmp_path: Path, seed: int, env_fn: str, settings: dict[str, Any]) -> None:
    check(tmp_path, 2, seed, env_fn=env_fn, epochs=4, **settings)


def test_priorities_and_statistics_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings: dict[str, Any] = {
        "env_fn": Point, "sampler": "per", "normalize_observations": True, "normalize_rewards": True,
        "steps_per_epoch": 50,
    }  # fmt: skip
    whole, rows = train(tmp_path / "whole", epochs=3, **settings)
    train(tmp_path / "half", epochs=2, **settings)
    real = Trainer.load_state_dict

    def resume(part: str) -> bool:
        """Whether a run that is resumed without a part of its state equals the whole one."""

        def load(self: Trainer, state: dict[str, Any]) -> None:
            fresh = self.state_dict()
            if part == "sampler":
                state = {**state, "sampler": fresh["sampler"]}
            elif part:
                kept = {**state["agent"]["normalizer"], part: fresh["agent"]["normalizer"][part]}
                state = {**state, "agent": {**state["agent"], "normalizer": kept}}
            real(self, state)

        monkeypatch.setattr(Trainer, "load_state_dict", load)
        shutil.copytree(tmp_path / "half", tmp_path / f"resumed {part}")
        ac, found = train(tmp_path / f"resumed {part}", epochs=3, resume=True, **settings)
        return parameters(whole).equal(parameters(ac)) and without_timing(rows) == without_timing(found)

    assert resume("")
    for part in ("sampler", "obs", "returns", "return"):
        assert not resume(part), part


def test_a_longer_run_continues_with_the_priorities_of_its_rows(tmp_path: Path) -> None:
    settings = {"sampler": "per", "steps_per_epoch": 99}
    whole, _ = train(tmp_path / "whole", epochs=4, **settings)
    train(tmp_path / "halves", epochs=2, **settings)
    halves, _ = train(tmp_path / "halves", epochs=4, resume=True, **settings)
    assert_same(whole, halves, tmp_path / "whole", tmp_path / "halves")


@pytest.mark.parametrize("damage", ["short", "zero", "nan"])
def test_damaged_priorities_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    train(tmp_path, sampler="per", epochs=1)
    from spinup.runs.checkpoint_files import CheckpointFolder

    real = CheckpointFolder.read

    def read(self: Any) -> Any:
        found, lines = real(self)
        assert found is not None
        priorities = found.state["sampler"]["priorities"].copy()
        if damage == "short":
            priorities = priorities[1:]
        else:
            priorities[3] = 0.0 if damage == "zero" else np.nan
        found.state["sampler"]["priorities"] = priorities
        return found, lines

    monkeypatch.setattr(CheckpointFolder, "read", read)
    with pytest.raises(RunError, match="sampler/priorities is out of range"):
        train(tmp_path, sampler="per", epochs=2, resume=True)


def test_a_changed_sampler_is_refused(tmp_path: Path) -> None:
    train(tmp_path, epochs=1)
    with pytest.raises(ConfigError, match="sampler was 'uniform' and is now 'per'"):
        train(tmp_path, resume=True, sampler="per")
    with pytest.raises(ConfigError, match="normalize_observations was False and is now True"):
        train(tmp_path, resume=True, normalize_observations=True)


def test_the_saved_policy_normalizes(tmp_path: Path) -> None:
    ac, rows = train(tmp_path, Point, normalize_observations=True, epochs=2)
    loaded = torch.load(tmp_path / "pyt_save" / "model.pt")
    raw = np.random.default_rng(0).normal(0.3, 2.0, (5, 2)).astype(np.float32)
    assert type(loaded).__name__ == "NormalizedActorCritic"
    mean, var = loaded.normalize.mean.numpy(), loaded.normalize.var.numpy()
    assert (var != 1).all()
    scaled = ((raw - mean) / np.sqrt(var + 1e-8)).astype(np.float32)
    wanted = ac.ac.act(torch.from_numpy(scaled), deterministic=True)
    for module in (ac, loaded):
        np.testing.assert_array_equal(module.act(torch.from_numpy(raw), deterministic=True), wanted)
        np.testing.assert_array_equal(module.act(raw[0], True), wanted[0])
        np.testing.assert_allclose(module.pi.mean_action(torch.from_numpy(raw)).detach(), wanted, atol=1e-6)
        noise = torch.zeros(5, 1)
        torch.testing.assert_close(
            module.pi(torch.from_numpy(raw), noise=noise)[0],
            module.ac.pi(torch.from_numpy(scaled), noise=noise)[0],
        )
        torch.testing.assert_close(
            module.q1(torch.from_numpy(raw), noise), module.ac.q1(torch.from_numpy(scaled), noise)
        )
    assert parameters(loaded).equal(parameters(ac))
    assert len(rows) == 2
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["normalize_observations"] is True
    assert read_rows(tmp_path)
