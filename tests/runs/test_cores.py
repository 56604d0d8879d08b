"""How many cores a process may use, and the numbers of threads and of runs that follow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from spinup.config import SACConfig
from spinup.errors import ConfigError
from spinup.runs import cores
from spinup.runs.cores import thread_count


@pytest.mark.parametrize(
    ("count", "affinity", "quota", "threads"),
    [
        (1, 1, "max 100000", 1),
        (2, 2, "max 100000", 2),
        (64, 64, "max 100000", 2),
        (64, 1, "max 100000", 1),
        (64, 64, "150000 100000", 1),
        (64, 64, "50000 100000", 1),
        (64, 64, "400000 100000", 2),
        (2, 2, None, 2),
        (None, 2, None, 1),
    ],
)
def test_two_threads_where_two_cores_are_usable(
    count: int,
    affinity: int,
    quota: str | None,
    threads: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: count)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(affinity)), raising=False)
    monkeypatch.setattr(cores, "CGROUP_QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota + "\n")
    assert thread_count(SACConfig()) == threads
    assert thread_count(SACConfig(threads=5)) == 5
    assert min(cores.run_count("num_cpu", "auto"), 2) == threads


def test_number_of_runs_as_asked() -> None:
    assert cores.run_count("num_cpu", 3) == 3


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "all", None])
def test_invalid_number_of_runs(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^num_cpu=.*: give 'auto' or a whole number >= 1"):
        cores.run_count("num_cpu", value)
