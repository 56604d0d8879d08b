"""Environments in processes of their own: signals kept from them, answers waited for, the broken found."""

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

_LEFT_TO_THE_TRAINER = ("SIGINT", "SIGTERM", "SIGUSR1")


class EnvCrash(Exception):
    """An asynchronous environment raised, died or hung; the vector must be rebuilt.

    Attributes:
        broken: indices of the environments at fault.
    """

    def __init__(self, message: str, broken: list[int]) -> None:
        super().__init__(message)
        self.broken = broken


@dataclass(frozen=True)
class InWorker:
    """Makes an environment in a worker process, where signals to the whole job are left to the trainer.

    A terminal or a batch system signals every process of a run; the trainer still needs its environments
    to finish the running step, and ends them itself.
    """

    make: Callable[[], Any]
    trainer: int  # process id

    def __call__(self) -> Any:
        if os.getpid() != self.trainer:
            for name in _LEFT_TO_THE_TRAINER:
                if hasattr(signal, name):
                    signal.signal(getattr(signal, name), signal.SIG_IGN)
        return self.make()


def guarded(
    envs: AsyncVectorEnv, send: Callable[[], None], wait: Callable[..., Any], timeout: float, say: str
) -> Any:
    """What `wait` returns after `send`.

    Args:
        say: what a hung environment exceeded, for the message.

    Raises:
        EnvError: raised in an environment by a check of ours.
        EnvCrash: for anything else that goes wrong.
    """
    try:
        send()
        return wait(timeout=timeout)
    except EnvError:
        raise
    except multiprocessing.TimeoutError as error:
        raise EnvCrash(f"gave no answer within {say}", _silent(envs)) from error
    except Exception as error:
        text = str(error).strip().splitlines()
        raise EnvCrash(f"raised {type(error).__name__}: {text[-1] if text else ''}", _dead(envs)) from error


def kill(envs: AsyncVectorEnv) -> None:
    """End the worker processes at once, hung ones too."""
    for process in envs.processes:
        process.kill()
    for process in envs.processes:
        process.join()
    for pipe in envs.parent_pipes:
        if pipe is not None:
            pipe.close()
    envs.closed = True


def shut(envs: AsyncVectorEnv, patience: float = 5.0) -> None:
    """Ask the workers to close their environments, and end those that have not after `patience` seconds."""
    for pipe in envs.parent_pipes:
        with contextlib.suppress(OSError, AttributeError):  # a worker that has gone has no pipe
            pipe.send(("close", None))
    deadline = time.monotonic() + patience
    for process in envs.processes:
        process.join(max(deadline - time.monotonic(), 0.0))
    kill(envs)


def _silent(envs: AsyncVectorEnv) -> list[int]:
    return [i for i, pipe in enumerate(envs.parent_pipes) if pipe is None or not pipe.poll(0)]


def _dead(envs: AsyncVectorEnv) -> list[int]:
    """Workers that have ended, or are about to: one ends by itself after its environment raised."""
    dead = []
    for i, (process, pipe) in enumerate(zip(envs.processes, envs.parent_pipes, strict=True)):
        process.join(timeout=0.5)
        if pipe is None or not process.is_alive():
            dead.append(i)
    return dead
