"""`spinup diagnose` on hand-made tables: each fault is found, alone, with its evidence and remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.broken_runs import RUNS, train
from spinup.cli.main import main
from spinup.errors import RunError
from spinup.reports.diagnosis import diagnose, findings
from spinup.reports.run_summary import read_run

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
        {"Alpha": np.geomspace(0.1, 50, ROWS), "Entropy": -1.4},
        "Alpha rises from 0.1 in epoch 1 to 50 in epoch 9",
        "--target_entropy",
    ),
    "overestimates": (
        {"TestQVals": 60.0, "TestQBias": 100.0},
        "TestQBias is 100 in epochs 7 to 9: TestQVals is 60, the discounted returns with entropy bonus -40",
        "--target_critics",
    ),
    "few updates": ({"UpdatesPerStep": 0.02}, "UpdatesPerStep is 0.02", "--updates_per_step 1"),
    "saturated": (
        {"SaturatedActions": 0.95, "GradNormPi": 0.0},
        "SaturatedActions is 95% in epochs 7 to 9; GradNormPi is 0",
        "--normalize_observations True",
    ),
    "dead": ({"DeadUnitsQ1": 0.7}, "DeadUnitsQ1 is 70%", "critic_norm layer"),
    "entropy above": ({"Entropy": 0.7}, "The entropy is above its target", "auto_0.1"),
    "entropy below": ({"Entropy": -3.0}, "The entropy is below its target", "auto_1"),
    "entropy below, alpha rises": (
        {"Entropy": -3.0, "Alpha": np.linspace(0.1, 0.5, ROWS)}, "Alpha went from 0.1 to 0.5",
        "lower --target_entropy",
    ),
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


# Changes of the healthy run that are no fault.
HARMLESS: dict[str, dict[str, Any]] = {
    "alpha rises to where the entropy is at its target": {"Alpha": np.geomspace(0.01, 3, ROWS)},
    "values that begin at 0 fall to negative returns": {
        "TestQVals": np.linspace(-5, -60, ROWS), "TestQBias": np.linspace(800, 100, ROWS),
    },
    "a high value among the first": {
        "AverageTestEpRet": [70.0, 120.0, 310.0, 150.0, 200.0, 230.0, 250.0, 200.0, 290.0]
    },
}  # fmt: skip


@pytest.mark.parametrize("change", HARMLESS)
def test_what_is_no_fault_is_not_reported(tmp_path: Path, change: str) -> None:
    assert "Nothing looks wrong." in diagnose(write(tmp_path, {**HEALTHY, **HARMLESS[change]}))


def test_a_short_run_is_not_said_to_overestimate(tmp_path: Path) -> None:
    columns = {**HEALTHY, "TestQVals": 60.0, "TestQBias": [np.nan] * (ROWS - 5) + [100.0] * 5}
    assert "Nothing looks wrong." in diagnose(write(tmp_path, columns))


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"TestQVals": -4.9, "TestQBias": 616.0}, True),  # clipped to -value_bound
        ({"TestQVals": 3.0, "TestQBias": -20.0}, True),
        ({"TestQVals": 3.0, "TestQBias": 0.1}, False),
    ],
)
def test_returns_beyond_the_range_of_a_categorical_critic(tmp_path: Path, columns: Any, found: bool) -> None:
    changed = {**HEALTHY, **columns}
    page = diagnose(write(tmp_path, changed, critic="categorical", value_bound=5.0))
    assert ("1. Returns are out of the range of the critics" in page) is found
    assert ("--normalize_rewards True" in page) is found
    scalar = diagnose(write(tmp_path, changed, critic="scalar", value_bound=5.0))
    assert "out of the range" not in scalar


def test_columns_that_are_not_defined_for_a_run_are_not_missed(tmp_path: Path) -> None:
    discrete = {name: value for name, value in HEALTHY.items() if name != "SaturatedActions"}
    assert "not judged" not in diagnose(write(tmp_path, {**discrete, "GradNormPi": 0.1}))
    assert "no values of: SaturatedActions" in diagnose(write(tmp_path, discrete))


UNTRAINED = {"TestQVals": 60.0, "TestQBias": 100.0, "Entropy": 0.7, "AverageTestEpRet": -1000.0}
CAUSES: dict[str, tuple[dict[str, Any], str, list[str], list[str]]] = {
    "few updates": (
        {**UNTRAINED, "UpdatesPerStep": 0.02}, "Too few updates per step",
        ["The critics overestimate", "The entropy is above its target", "The return does not improve"],
        ["lower --lr or --updates_per_step", "--alpha auto_0.1", "spinup tune"],
    ),
    "alpha climbs": (
        {"Alpha": np.geomspace(0.1, 50, ROWS), "Entropy": -3.0, "DeadUnitsPi": 0.9,
         "LossQ": np.geomspace(1, 1e8, ROWS)},
        "Alpha keeps rising: the target entropy is out of reach",
        ["The critics diverge", "Units are dead", "The entropy is below its target"],
        ["--alpha auto_1", "raise --lr", "--reward_scale"],
    ),
    "diverging": (
        {**UNTRAINED, "LossQ": np.geomspace(1, 1e8, ROWS), "DeadUnitsQ1": 0.9, "SaturatedActions": 1.0},
        "The critics diverge",
        ["The policy is saturated: nearly all actions are at a bound", "The critics overestimate",
         "Units are dead", "The entropy is above its target", "The return does not improve"],
        ["--critics"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES)
def test_what_follows_from_a_cause_has_no_remedy_of_its_own(tmp_path: Path, cause: str) -> None:
    """A remedy for a consequence can contradict that of the cause, such as fewer updates for too few."""
    changes, name, consequences, remedies = CAUSES[cause]
    run = read_run(write(tmp_path, {**HEALTHY, **changes}))
    assert run is not None
    found = findings(run)
    assert [finding.name for finding in found] == [name]
    assert [finding.name for finding in found[0].consequences] == consequences
    page = diagnose(tmp_path)
    assert page.count("probably follows from it: ") == len(consequences)
    assert page.count("remedy:") == 1
    assert not [remedy for remedy in remedies if remedy in page]


def test_independent_causes_are_both_listed(tmp_path: Path) -> None:
    page = diagnose(write(tmp_path, {**HEALTHY, "UpdatesPerStep": 0.02, "DeadUnitsPi": 0.9}))
    assert "1. Too few updates" in page
    assert "2. Units are dead" in page


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"critics": 1, "target_critics": 1}, "--critics 2 --target_critics 2"),
        ({"critics": 2, "target_critics": 2}, "--critics 3 --target_critics 3"),
        ({"critics": 10, "target_critics": 2}, "--critics 10 --target_critics 3"),
        ({"critic": "quantile", "drop_quantiles": 2}, "--drop_quantiles 3"),
    ],
)
def test_overestimating_critics_are_told_to_take_smaller_targets(
    tmp_path: Path, settings: dict[str, Any], remedy: str
) -> None:
    page = diagnose(write(tmp_path, {**HEALTHY, "TestQVals": 60.0, "TestQBias": 100.0}, **settings))
    assert f"({remedy}), normalize the critics" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_broken_on_purpose_is_found(tmp_path: Path, name: str) -> None:
    broken, _, wanted = RUNS[name]
    train(tmp_path, **broken)
    run = read_run(tmp_path)
    assert run is not None
    assert [finding.name for finding in findings(run)][:1] == ([wanted] if wanted else [])


def test_an_older_log_is_judged_by_what_it_has(tmp_path: Path) -> None:
    old = {name: HEALTHY[name] for name in ("Epoch", "AverageTestEpRet", "TotalEnvInteracts", "LossQ")}
    page = diagnose(write(tmp_path, old))
    assert "Nothing looks wrong." in page
    assert "no values of: TestQBias, SaturatedActions, DeadUnitsPi, UpdatesPerStep" in page
    page = diagnose(write(tmp_path, old, updates_per_step=0.1))
    assert "config.json: updates_per_step is 0.1" in page


def test_a_dumped_batch_tells_of_divergence(tmp_path: Path) -> None:
    (write(tmp_path, HEALTHY) / "nan_batch.npz").touch()
    assert "nan_batch.npz exists" in diagnose(tmp_path)


def test_folders_without_rows_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(RunError, match="holds no run: give the folder with its progress"):
        diagnose(tmp_path)
    (tmp_path / "group" / "run").mkdir(parents=True)
    write(tmp_path / "group" / "run", HEALTHY)
    with pytest.raises(RunError, match=r"holds no run: did you mean .*run\?"):
        diagnose(tmp_path / "group")
    with pytest.raises(RunError, match=r"progress\.txt is not a folder, did you mean '.*run'\?"):
        diagnose(tmp_path / "group" / "run" / "progress.txt")
    (tmp_path / "config.json").write_text('{"algorithm": "sac_pytorch"}')
    with pytest.raises(RunError, match="no row yet"):
        diagnose(tmp_path)
    assert main(["diagnose", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_diagnoses_all_runs_of_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("x_s0", "x_s1", "x_s2", "y_s0"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, HEALTHY)
    (tmp_path / "x_s1" / "progress.txt").unlink()
    (tmp_path / "x_s1" / "config.json").write_text('{"algorithm": "sac_pytorch"}')
    assert main(["diagnose", str(tmp_path / "x_s")]) == 0
    pages = capsys.readouterr().out.split("\n\n")
    assert sum("Nothing looks wrong" in page for page in pages) == 2
    assert f"{tmp_path / 'x_s1'} has no row yet: wait for the end of its first epoch" in pages
    assert main(["diagnose", str(tmp_path / "y_s0"), str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("Nothing looks wrong") == 4
    (tmp_path / "empty").mkdir()
    assert main(["diagnose", str(tmp_path / "empty")]) == 2
    assert "holds no run" in capsys.readouterr().err


def test_escapes_in_a_damaged_file_are_printed_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {**HEALTHY, "DeadUnits\x1b[31mred": 0.9}, exp_name="\x1b[31mred")
    assert main(["diagnose", str(tmp_path)]) == 0
    assert "\x1b" not in capsys.readouterr().out


def test_the_command_prints_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(write(tmp_path, HEALTHY))]) == 0
    assert "Nothing looks wrong." in capsys.readouterr().out
