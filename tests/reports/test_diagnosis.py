"""`spinup diagnose` on hand-made tables: each fault is found, alone, with its evidence and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spinup.cli.main import main
from spinup.errors import RunError
from spinup.reports.diagnosis import diagnose

ROWS = 9
RISING = np.linspace(-1000.0, -150.0, ROWS)
HEALTHY: dict[str, Any] = {
    "Epoch": np.arange(1, ROWS + 1), "AverageTestEpRet": RISING,
    "TotalEnvInteracts": np.arange(1, ROWS + 1) * 1000,
    "AverageQ1Vals": -50.0, "StdQ1Vals": 20.0, "LossQ": np.linspace(1, 4, ROWS),
    "Alpha": np.linspace(0.5, 0.1, ROWS),
    "Entropy": -0.9, "TargetEntropy": -1.0, "SaturatedActions": 0.2, "DeadUnitsPi": 0.1, "DeadUnitsQ1": 0.1,
    "TestQVals": -40.0, "TestQBias": 3.0, "UpdatesPerStep": 1.0,
}  # fmt: skip
FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "diverging": ({"LossQ": np.geomspace(1, 1e8, ROWS)}, "The critics diverge", "--lr"),
    "alpha": (
        {"Alpha": np.geomspace(0.1, 50, ROWS)}, "Alpha rises from 0.1 in epoch 1 to 50 in epoch 9",
        "--target_entropy",
    ),
    "overestimates": (
        {"TestQVals": 60.0, "TestQBias": 100.0},
        "TestQBias is 100 in epochs 7 to 9: TestQVals is 60, the discounted returns -40",
        "--target_critics",
    ),
    "few updates": ({"UpdatesPerStep": 0.02}, "UpdatesPerStep is 0.02", "--updates_per_step 1"),
    "falls behind": ({"AskedUpdatesPerStep": 2.0}, "AskedUpdatesPerStep 2", "--collectors"),
    "saturated": ({"SaturatedActions": 0.95}, "SaturatedActions is 95% in epochs 7 to 9", "--alpha auto"),
    "dead": ({"DeadUnitsQ1": 0.7}, "DeadUnitsQ1 is 70%", "critic_norm layer"),
    "entropy above": ({"Entropy": 0.7}, "The entropy is above its target", "auto_0.1"),
    "entropy below": ({"Entropy": -3.0}, "The entropy is below its target", "auto_1"),
    "flat": ({"AverageTestEpRet": -1000.0}, "-1000 in epochs 7 to 9", "spinup tune"),
    "no update": ({"LossQ": np.nan}, "LossQ has no value in epochs 1 to 9", "--update_after"),
}  # fmt: skip


def write(folder: Path, columns: dict[str, Any], **config: Any) -> Path:
    """A run folder with that table."""
    values = np.array([np.broadcast_to(np.asarray(v, float), ROWS) for v in columns.values()]).T
    lines = ["\t".join(columns), *("\t".join(map(repr, row)) for row in values.tolist()), ""]
    (folder / "progress.txt").write_text("\n".join(lines))
    known = {"algorithm": "sac_pytorch", "exp_name": "x", "updates_per_step": 1.0, "update_after": 1000}
    (folder / "config.json").write_text(json.dumps({**known, **config}))
    return folder


def test_nothing_is_found_in_a_healthy_run(tmp_path: Path) -> None:
    page = diagnose(write(tmp_path, HEALTHY))
    assert "Nothing looks wrong." in page
    assert "not judged" not in page


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_alone(tmp_path: Path, fault: str) -> None:
    changes, evidence, remedy = FAULTS[fault]
    page = diagnose(write(tmp_path, {**HEALTHY, **changes}))
    assert evidence in page
    assert remedy in page
    assert "\n1. " in page
    assert "\n2. " not in page


def test_an_older_log_is_judged_by_what_it_has(tmp_path: Path) -> None:
    old = {name: HEALTHY[name] for name in ("Epoch", "AverageTestEpRet", "TotalEnvInteracts", "LossQ")}
    page = diagnose(write(tmp_path, old))
    assert "Nothing looks wrong." in page
    assert "no values of: TestQBias, SaturatedActions, DeadUnitsPi, UpdatesPerStep" in page
    page = diagnose(write(tmp_path, old, updates_per_step=0.1))
    assert "config.json: updates_per_step is 0.1" in page


def test_a_dumped_batch_tells_of_divergence(tmp_path: Path) -> None:
    (write(tmp_path, HEALTHY) / "nan_batch.npz").touch()
    assert "nan_batch.npz is there" in diagnose(tmp_path)


def test_folders_without_rows_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunError, match="holds no run"):
        diagnose(tmp_path)
    (tmp_path / "config.json").write_text('{"algorithm": "sac_pytorch"}')
    with pytest.raises(RunError, match="no row yet"):
        diagnose(tmp_path)
    assert main(["diagnose", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_prints_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(write(tmp_path, HEALTHY))]) == 0
    assert "Nothing looks wrong." in capsys.readouterr().out
