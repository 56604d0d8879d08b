"""Number of processor cores that this process may use, and default numbers of threads and runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from spinup.checks import check_count_or_auto
from spinup.config import SACConfig

CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def usable_cores() -> int:
    """Number of cores that this process may use: the minimum of CPU count, affinity and cgroup quota."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        cores = min(cores, len(os.sched_getaffinity(0)))
    try:
        quota, period = CGROUP_QUOTA.read_text().split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file, or the quota is "max"
        return cores


def thread_count(config: SACConfig) -> int:
    """Number of threads of an engine that starts its own.

    It is `config.threads`, or for "auto" 2 if two cores are usable, else 1. Each of two threads processes one
    critic; more threads gain little for the default networks (docs/speed.md). Torch uses 1 thread for "auto",
    since its threads busy-wait, and two runs on the same cores would slow each other down several times.
    """
    return config.threads if isinstance(config.threads, int) else min(2, usable_cores())


def run_count(name: str, value: Any) -> int:
    """The number of runs at a time: `value`, or one per usable core for "auto".

    Args:
        name: the parameter's name, for the message.
        value: an integer >= 1, or "auto".

    Raises:
        ConfigError: for any other value.
    """
    count = check_count_or_auto(name, value)
    return count if isinstance(count, int) else usable_cores()
