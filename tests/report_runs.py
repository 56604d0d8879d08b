"""Run folders for the tests of reports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

COLUMNS = (
    "Epoch", "AverageEpRet", "AverageTestEpRet", "TestEpLen", "TotalEnvInteracts", "AverageQ1Vals",
    "AverageQ2Vals", "LossPi", "LossQ", "Time", "Alpha", "Entropy", "TargetEntropy", "StepsPerSecond",
)  # fmt: skip
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'\x1b[31m\u202e\x00"


def row(i: int, value: float) -> tuple[float, ...]:
    """Row i, from 0, of a table; `value` is the return."""
    step = 1000 * (i + 1)
    return (i + 1, value - 1, value, 200, step, -i, -i - 1, i, 10.0 ** (-i), 10.0 * (i + 1), 0.2, 1, -1, 100)


def write_run(
    folder: Path,
    values: Any = (),
    env: str = "Pendulum-v1",
    seed: int = 0,
    exp_name: str | None = None,
    epochs: int = 4,
    columns: dict[str, float] | None = None,
    **settings: Any,
) -> Path:
    """Write the folder of a run with these returns, other columns, and other settings; returns it."""
    folder.mkdir(parents=True)
    config = {
        "exp_name": exp_name or folder.name.split("_s")[0],
        "algorithm": "sac_pytorch",
        "seed": seed,
        "epochs": epochs,
        "steps_per_epoch": 1000,
        "env": {"id": env, "kwargs": {}},
        "machine": {"processor": "Processor 9000", "cores": 2},
        **settings,
    }
    (folder / "config.json").write_text(json.dumps(config))
    if len(values):
        rows = [dict(zip(COLUMNS, row(i, v), strict=True)) | (columns or {}) for i, v in enumerate(values)]
        lines = ["\t".join(rows[0]), *("\t".join(map(str, cells.values())) for cells in rows)]
        (folder / "progress.txt").write_text("\n".join([*lines, ""]))
    return folder
