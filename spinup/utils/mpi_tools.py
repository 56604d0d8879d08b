"""The functions of Spinning Up's mpi_tools, for a single process."""

from __future__ import annotations

from typing import Any

from spinup.errors import ConfigError
from spinup.loggers.statistics import RunningStats

__all__ = [
    "allreduce", "broadcast", "mpi_avg", "mpi_fork", "mpi_op", "mpi_statistics_scalar", "mpi_sum", "msg",
    "num_procs", "proc_id",
]  # fmt: skip


def mpi_fork(n: int, bind_to_core: bool = False) -> None:
    """Do nothing for one process.

    Raises:
        ConfigError: for more than one, since SAC does not distribute its updates over processes.
    """
    if n > 1:
        raise ConfigError(
            f"mpi_fork({n}): a run of SAC has one process; num_envs={n} steps environments together"
        )


def msg(m: Any, string: str = "") -> None:
    """Print a message with the number of this process."""
    print(f"Message from {proc_id()}: {string}{m}")


def proc_id() -> int:
    """The number of this process: 0."""
    return 0


def num_procs() -> int:
    """The number of processes: 1."""
    return 1


def allreduce(x: Any, out: Any, *op: Any) -> None:
    """Write the reduction of `x` over all processes, which is `x`, into the array `out`."""
    out[...] = x


def mpi_op(x: Any, op: Any = None) -> Any:
    """The reduction of `x` over all processes: `x`."""
    return x


def mpi_sum(x: Any) -> Any:
    """The sum of `x` over all processes: `x`."""
    return x


def mpi_avg(x: Any) -> Any:
    """The mean of `x` over all processes: `x`."""
    return x


def broadcast(x: Any, root: int = 0) -> None:
    """Do nothing, since there is only one process."""


def mpi_statistics_scalar(x: Any, with_min_and_max: bool = False) -> tuple[float, ...]:
    """Mean and standard deviation of `x`, and its minimum and maximum if `with_min_and_max`."""
    stats = RunningStats()
    stats.add(x)
    return tuple(stats.summary()[: 4 if with_min_and_max else 2])
