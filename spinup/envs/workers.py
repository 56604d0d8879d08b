"""Environments in worker processes: signals, timeouts, crash detection, shutdown."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gymnasium.vector import AsyncVectorEnv

from spinup.errors import EnvError

_IGNORED_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")


class EnvCrash(Exception):
    """An environment in a worker process raised, exited or timed out; the vector must be rebuilt.

    Attributes:
        broken: indices of the environments at fault.
    """

    def __init__(self, message: str, broken: list[int]) -> None:
        super().__init__(message)
        self.broken = broken


@dataclass(frozen=True)
class WorkerEnvFn:
    """Calls `env_fn`; in a worker process, makes that process ignore SIGINT, SIGTERM and SIGUSR1 first.

    A terminal or a batch system sends these to every process of a run. The training process needs its
    workers to finish the current step, and ends them itself.
    """

    env_fn: Callable[[], Any]
    training_pid: int

    def __call__(self) -> Any:
        if os.getpid() != self.training_pid:
            for name in _IGNORED_SIGNALS:
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), signal.SIG_IGN)
        return self.env_fn()


def call_with_timeout(
    envs: AsyncVectorEnv, send: Callable[[], None], wait: Callable[..., Any], timeout: float, limit: str
) -> Any:
    """Call `send()` and return the result of `wait(timeout=timeout)`.

    Args:
        timeout: seconds.
        limit: describes the exceeded limit in the message of a timeout.

    Raises:
        EnvError: raised in a worker by our own validation.
        EnvCrash: for any other exception, a worker that exited, or a timeout.
    """
    try:
        send()
        return wait(timeout=timeout)
    except EnvError:
        raise
    except multiprocessing.TimeoutError as error:
        raise EnvCrash(f"gave no answer within {limit}", _unresponsive(envs)) from error
    except Exception as error:
        text = str(error).strip().splitlines()
        raise EnvCrash(f"raised {type(error).__name__}: {text[-1] if text else ''}", _exited(envs)) from error


def kill_workers(envs: AsyncVectorEnv) -> None:
    """Kill the worker processes at once, including unresponsive ones."""
    for process in envs.processes:
        process.kill()
    for process in envs.processes:
        process.join()
    for pipe in envs.parent_pipes:
        if pipe is not None:
            pipe.close()
    envs.closed = True


def close_workers(envs: AsyncVectorEnv, timeout: float = 5.0) -> None:
    """Ask the workers to close their environments, and kill those still running after `timeout` seconds."""
    for pipe in envs.parent_pipes:
        with contextlib.suppress(OSError, AttributeError):  # a worker that has exited has no pipe
            pipe.send(("close", None))
    deadline = time.monotonic() + timeout
    for process in envs.processes:
        process.join(max(deadline - time.monotonic(), 0.0))
    kill_workers(envs)


def _unresponsive(envs: AsyncVectorEnv) -> list[int]:
    return [i for i, pipe in enumerate(envs.parent_pipes) if pipe is None or not pipe.poll(0)]


def _exited(envs: AsyncVectorEnv) -> list[int]:
    """Indices of exited workers, waiting briefly: a worker exits after its environment raised."""
    exited = []
    for i, (process, pipe) in enumerate(zip(envs.processes, envs.parent_pipes, strict=True)):
        process.join(timeout=0.5)
        if pipe is None or not process.is_alive():
            exited.append(i)
    return exited
