"""The example of a search with Ray Tune (extra `ray`, and `ray[tune]`, which the extra `test` installs)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "ray_tune.py"


@pytest.mark.slow
def test_it_finds_settings(tmp_path: Path) -> None:
    words = ["--samples", "2", "--epochs", "2", "--steps_per_epoch", "200"]
    words += ["--storage", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *words],
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": "local"},  # not another test's
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("return -")
    assert len(list(tmp_path.glob("spinup/trial_*/run/progress.txt"))) == 2
