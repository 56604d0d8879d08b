"""Collectors as Ray actors. Ray starts their processes and transfers requests and answers."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, final

from spinup.collect.transport import Message, Worker
from spinup.errors import EnvError, first_line
from spinup.ray_connection import connect, import_ray

# Environment variables of a Ray cluster that this process starts: workers start only when they are needed,
# and the behavior of later versions of Ray is selected, so that Ray does not warn about it.
_ENVIRONMENT = {"RAY_prestart_worker_first_driver": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


class RayWorker:
    """The actor: a worker in a process that Ray starts.

    Args:
        program: a pickled `Program`.
        collector: index of the collector.
        incarnation: number of its start.
        paths: the learner's `sys.path`; entries that are missing in this process are added.
    """

    def __init__(self, program: bytes, collector: int, incarnation: int, paths: list[str]) -> None:
        import cloudpickle

        sys.path += [path for path in paths if path not in sys.path]
        self.worker: Worker = cloudpickle.loads(program)(collector, incarnation)

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
        self.address = address
        self._ray = import_ray()
        self._disconnect: Callable[[], None] | None = None
        self._actors: dict[int, Any] = {}
        self._incarnations: dict[int, int] = {}
        self._pending: dict[Any, tuple[int, int]] = {}  # collector and incarnation, by pending answer
        self._policy: tuple[bytes, Any] = (b"", None)

    def open(self, program: bytes, collectors: int) -> None:
        """Connect to the cluster.

        Raises:
            RunError: if it cannot be reached or started.
            EnvError: if it cannot store the program.
        """
        ray = self._ray
        self._disconnect = connect(self.address, {"num_cpus": collectors}, _ENVIRONMENT)
        with self._reachable():
            self._program = ray.put(program)
        self._class = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(RayWorker)

    def start(self, collector: int, incarnation: int) -> None:
        """Start an actor; it runs as soon as a node has a free CPU."""
        self._end(collector)
        with self._reachable():
            actor = self._class.remote(
                self._program, collector, incarnation, [str(path) for path in sys.path]
            )
        self._actors[collector], self._incarnations[collector] = actor, incarnation

    def send(self, collector: int, request: bytes, policy: bytes = b"") -> None:
        """Send a request; each policy is sent to a node only once, through Ray's object store."""
        with self._reachable():
            if policy is not self._policy[0]:
                self._policy = policy, self._ray.put(policy) if policy else b""
            answer = self._actors[collector].run.remote(request, self._policy[1] if policy else b"")
        self._pending[answer] = collector, self._incarnations[collector]

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
        """Kill the actors, and shut down or leave a cluster that this object has started or joined."""
        for collector in list(self._actors):
            self._end(collector)
        if self._disconnect is not None:
            self._disconnect()
            self._disconnect = None

    def _message(self, answer: Any) -> Message | None:
        if answer not in self._pending:  # its collector was found to be lost in the same call
            return None
        collector, incarnation = self._pending.pop(answer)
        try:
            return Message(collector, incarnation, self._ray.get(answer))
        except self._ray.exceptions.RayError as error:
            self._end(collector)
            return Message(collector, incarnation, None, first_line(error))

    def _end(self, collector: int) -> None:
        """Kill the actor of a collector, if there is one, and drop its pending answers."""
        actor = self._actors.pop(collector, None)
        if actor is not None:
            with contextlib.suppress(Exception):  # it may have ended, and the cluster too
                self._ray.kill(actor)
        incarnation = self._incarnations.pop(collector, None)
        self._pending = {a: place for a, place in self._pending.items() if place != (collector, incarnation)}

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        """Convert errors of Ray itself to a one-line EnvError."""
        try:
            yield
        except self._ray.exceptions.RayError as error:
            raise EnvError(
                f"the Ray cluster does not answer ({first_line(error)}): resume the run once it is up"
            ) from error
