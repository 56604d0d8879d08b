"""How many processor cores this process may use, and the numbers of threads and of runs that follow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from spinup.checks import check_count_or_auto
from spinup.config import SACConfig

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
    """Threads of an engine that has its own: as asked, else two where two cores are usable, else one.

    Two threads share an update, a critic each. More gain little at these sizes (docs/speed.md). Torch
    itself gets one unless more are asked for: its threads wait actively, so that those of two runs on the
    same cores slow each other down many times.
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
    count = check_count_or_auto(name, value)
    return count if isinstance(count, int) else usable_cores()
