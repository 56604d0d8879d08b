"""Environments in worker processes: signals, timeouts, crash detection, shutdown."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv

from spinup.errors import EnvError, first_line

MAX_TIMEOUT = 1e6  # seconds; the operating system's calls overflow at 2**31 milliseconds
_IGNORED_SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR1")


class EnvCrash(Exception):
    """An environment in a worker process raised, exited or timed out; the vector must be rebuilt.

    Attributes:
        broken: indices of the environments at fault.
    """

    def __init__(self, message: str, broken: list[int]) -> None:
        super().__init__(message)
        self.broken = broken


class RemoteError(Exception):
    """Replaces an exception that cannot be sent to another process; the message has its type and text."""


@contextlib.contextmanager
def sendable_exceptions() -> Iterator[None]:
    """Replace exceptions that cannot be sent from a worker to the training process.

    AsyncVectorEnv pickles an exception, and raises `type(error)(error)` in the training process. If pickling
    failed, the training process would wait forever.

    Raises:
        RemoteError: in place of such an exception.
    """
    try:
        yield
    except Exception as error:
        try:
            type(error)(pickle.loads(pickle.dumps(error)))
        except Exception:
            raise RemoteError(first_line(error)) from error
        raise


class SendableEnv(gym.Wrapper[Any, Any, Any, Any]):
    """An environment in a worker process, whose exceptions can be sent to the training process."""

    def reset(self, **kwargs: Any) -> Any:
        with sendable_exceptions():
            return self.env.reset(**kwargs)

    def step(self, action: Any) -> Any:
        with sendable_exceptions():
            return self.env.step(action)

    def get_wrapper_attr(self, name: str) -> Any:
        with sendable_exceptions():
            return self.env.get_wrapper_attr(name)

    def set_wrapper_attr(self, name: str, value: Any, **kwargs: Any) -> bool:
        with sendable_exceptions():
            return self.env.set_wrapper_attr(name, value, **kwargs)


class UnmadeEnv(gym.Env[Any, Any]):
    """Takes the place of an environment that could not be made in a worker process.

    Every request raises the error, which AsyncVectorEnv reports; if `env_fn` raises, it only finds a closed
    pipe.
    """

    def __init__(self, error: Exception, spaces: tuple[gym.Space[Any], gym.Space[Any]]) -> None:
        self._error = error
        self.observation_space, self.action_space = spaces

    def reset(self, **kwargs: Any) -> NoReturn:
        raise self._error

    def step(self, action: Any) -> NoReturn:
        raise self._error

    def get_wrapper_attr(self, name: str) -> NoReturn:
        raise self._error

    def set_wrapper_attr(self, name: str, value: Any, **kwargs: Any) -> NoReturn:
        raise self._error


class WorkerEnvFn:
    """Calls `env_fn`; in a worker process, makes that process ignore SIGINT, SIGTERM and SIGUSR1 first.

    A terminal or a batch system sends these signals to every process of a run. The training process needs
    its workers to finish the current step, and ends them itself.

    Args:
        env_fn: makes an environment.
        training_pid: id of the training process, in which AsyncVectorEnv makes an environment first.
    """

    def __init__(self, env_fn: Callable[[], Any], training_pid: int) -> None:
        self.env_fn, self.training_pid = env_fn, training_pid

    def __call__(self) -> Any:
        if os.getpid() == self.training_pid:
            env = self.env_fn()
            self._spaces = env.observation_space, env.action_space
            return env
        for name in _IGNORED_SIGNALS:
            if hasattr(signal, name):
                signal.signal(getattr(signal, name), signal.SIG_IGN)
        try:
            return SendableEnv(self.env_fn())
        except Exception as error:
            return SendableEnv(UnmadeEnv(error, self._spaces))


def call_with_timeout(
    envs: AsyncVectorEnv, send: Callable[[], None], wait: Callable[..., Any], timeout: float, limit: str
) -> Any:
    """Call `send()` and return the result of `wait(timeout=timeout)`.

    Args:
        envs: the environments, to find those at fault.
        send: sends a request to the workers.
        wait: receives the answers, such as `envs.step_wait`.
        timeout: seconds.
        limit: describes the exceeded limit in the message of a timeout.

    Raises:
        EnvError: raised in a worker by the validation of this package.
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
        text = str(error) if isinstance(error, RemoteError) else first_line(error)
        raise EnvCrash(f"raised {text}", _exited(envs)) from error


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
