"""Collectors as Ray actors. Ray starts and places the processes, and carries requests and answers."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any, final

from spinup.collect.transport import Message, Worker
from spinup.errors import EnvError, MissingExtraError, RunError

LOCAL = "local"
# Settings of a Ray cluster that this process starts: no usage reports, no processes before they are needed,
# and the behavior of later versions, about which Ray would warn otherwise.
_RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def import_ray() -> Any:
    """The module ray.

    Raises:
        MissingExtraError: if it is not installed.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        raise MissingExtraError(
            "collectors run on Ray, which is not installed: pip install 'spinup[ray]'"
        ) from error
    return ray


class RayWorker:
    """The actor: a worker in a process that Ray starts.

    Args:
        program: a pickled `Program`.
        collector: index of the collector.
        epoch: number of its start.
        paths: the learner's `sys.path`; entries that are missing in this process are added.
    """

    def __init__(self, program: bytes, collector: int, epoch: int, paths: list[str]) -> None:
        import cloudpickle

        sys.path += [path for path in paths if path not in sys.path]
        self.worker: Worker = cloudpickle.loads(program)(collector, epoch)

    def run(self, request: bytes, policy: bytes) -> bytes:
        """Answer a request."""
        return self.worker.run(request, policy)


@final
class RayTransport:
    """Collectors as actors of a Ray cluster, one CPU each.

    Args:
        address: address of the cluster, "auto" for a running one on this machine, or "local" or None to start
            one for this run. If the process is already connected to a cluster, that one is used.

    Raises:
        MissingExtraError: if Ray is not installed.
    """

    def __init__(self, address: str | None) -> None:
        self.address = address or LOCAL
        self._ray = import_ray()
        self._connected = False
        self._actors: dict[int, Any] = {}
        self._epochs: dict[int, int] = {}
        self._pending: dict[Any, tuple[int, int]] = {}  # collector and epoch, by pending answer
        self._policy: tuple[bytes, Any] = (b"", None)

    def open(self, program: bytes, collectors: int) -> None:
        """Connect to the cluster.

        Raises:
            RunError: if it cannot be reached or started.
        """
        ray = self._ray
        if not ray.is_initialized():
            self._connect(collectors)
            self._connected = True
        self._program = ray.put(program)
        self._class = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(RayWorker)

    def start(self, collector: int, epoch: int) -> None:
        """Start an actor; it runs as soon as a node has a free CPU."""
        self._end(collector)
        with self._reachable():
            actor = self._class.remote(self._program, collector, epoch, [str(path) for path in sys.path])
        self._actors[collector], self._epochs[collector] = actor, epoch

    def send(self, collector: int, request: bytes, policy: bytes = b"") -> None:
        """Send a request; a policy goes to each node once, through Ray's object store."""
        if policy is not self._policy[0]:
            self._policy = policy, self._ray.put(policy) if policy else b""
        with self._reachable():
            answer = self._actors[collector].run.remote(request, self._policy[1] if policy else b"")
        self._pending[answer] = collector, self._epochs[collector]

    def receive(self, timeout: float) -> list[Message]:
        """The messages that have arrived; waits at most `timeout` seconds for the first one."""
        if not self._pending:
            return []
        ray, pending = self._ray, list(self._pending)
        with self._reachable():
            ready, _ = ray.wait(pending, num_returns=1, timeout=timeout)
            if ready:
                ready, _ = ray.wait(pending, num_returns=len(pending), timeout=0)
        return [message for answer in ready if (message := self._message(answer)) is not None]

    def close(self) -> None:
        """Kill the actors, and shut down or leave the cluster that this object has started or joined."""
        for collector in list(self._actors):
            self._end(collector)
        if self._connected:
            self._ray.shutdown()
            self._connected = False

    def _message(self, answer: Any) -> Message | None:
        if answer not in self._pending:  # its collector was found to be lost in the same call
            return None
        collector, epoch = self._pending.pop(answer)
        try:
            return Message(collector, epoch, self._ray.get(answer))
        except self._ray.exceptions.RayError as error:
            self._end(collector)
            return Message(collector, epoch, None, _first_line(error))

    def _end(self, collector: int) -> None:
        """Kill the actor of a collector, if there is one, and drop its pending answers."""
        actor = self._actors.pop(collector, None)
        if actor is not None:
            with contextlib.suppress(Exception):  # it may have ended, and the cluster too
                self._ray.kill(actor)
        epoch = self._epochs.pop(collector, None)
        self._pending = {a: place for a, place in self._pending.items() if place != (collector, epoch)}

    def _connect(self, collectors: int) -> None:
        for name, value in _RAY_SETTINGS.items():
            os.environ.setdefault(name, value)
        cpus = {"num_cpus": collectors} if self.address == LOCAL else {}
        try:
            with _kept_signal_handlers(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._ray.init(
                    address=self.address, include_dashboard=False if cpus else None, log_to_driver=False,
                    logging_level=logging.ERROR, **cpus,
                )  # fmt: skip
        except Exception as error:  # of many kinds
            if self.address == LOCAL:
                raise RunError(
                    f"cannot start Ray on this machine ({_first_line(error)}): run again when it is less "
                    "busy, or give the address of a running cluster, such as ray='10.0.0.1:6379'"
                ) from error
            raise RunError(
                f"cannot connect to the Ray cluster {self.address!r} ({_first_line(error)}): give the "
                "address of a running one, such as ray='10.0.0.1:6379', or leave it out to start one here"
            ) from error

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        """Raise a one-line EnvError if Ray fails, as opposed to an actor."""
        try:
            yield
        except self._ray.exceptions.RayError as error:
            raise EnvError(
                f"the Ray cluster does not answer ({_first_line(error)}): resume the run once it runs again"
            ) from error


@contextlib.contextmanager
def _kept_signal_handlers() -> Iterator[None]:
    """Restore the signal handlers that ray.init replaces."""
    names = [name for name in ("SIGINT", "SIGTERM") if hasattr(signal, name)]
    before = {name: signal.getsignal(getattr(signal, name)) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            with contextlib.suppress(ValueError):  # not the main thread
                if handler is not None:
                    signal.signal(getattr(signal, name), handler)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0][:200]}"
