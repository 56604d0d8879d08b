"""How many processor cores this process may use, and the numbers of threads and of runs that follow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from spinup.config import SACConfig, count_or_auto

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Cores that this process may use: least of the machine's, its affinity, its cgroup quota."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        cores = min(cores, len(os.sched_getaffinity(0)))
    try:
        quota, period = CGROUP_QUOTA.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or the quota is "max"
        return cores


def thread_count(config: SACConfig) -> int:
    """The number of threads of a run: as asked, else two where this process may use two cores, else one.

    Two threads share an update, a critic each. More gain little at these sizes, and two on one core are
    slower than one (docs/speed.md).
    """
    return config.threads if isinstance(config.threads, int) else min(2, usable_cores())


def run_count(name: str, value: Any) -> int:
    """The number of runs at a time: as asked, or one per usable core for "auto".

    Args:
        name: of the parameter, for the message.
        value: a whole number >= 1, or "auto".

    Raises:
        ConfigError: if it is neither.
    """
    count = count_or_auto(name, value)
    return count if isinstance(count, int) else usable_cores()
