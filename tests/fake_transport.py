"""A transport in this process, whose messages a test delivers, repeats, holds back or loses."""

from __future__ import annotations

from typing import Any

import cloudpickle

from spinup.collect.messages import unpack
from spinup.collect.transport import Message


class FakeTransport:
    """Workers in this process. By default each answers at once, in the order of the requests.

    Attributes:
        inbox: answers that `receive` has not returned yet, oldest first.
        delivered: what `receive` returned, to be sent again.
        queues: requests that a worker has not answered yet, by collector.
        manual: whether answers come only by `answer`.
    """

    def __init__(self, manual: bool = False) -> None:
        self.manual = manual
        self.inbox: list[Message] = []
        self.delivered: list[Message] = []
        self.queues: dict[int, list[tuple[bytes, bytes]]] = {}
        self.workers: dict[int, Any] = {}
        self.incarnations: dict[int, int] = {}
        self.ended: list[Any] = []
        self.waits = 0
        self.closed = False

    def open(self, program: bytes, collectors: int) -> None:
        """Keep the program."""
        self.program = program

    def start(self, collector: int, incarnation: int) -> None:
        """Make a worker; the one before is gone, but what it had sent may still arrive."""
        if collector in self.workers:
            self.ended.append(self.workers[collector])
        self.workers[collector] = cloudpickle.loads(self.program)(collector, incarnation)
        self.incarnations[collector], self.queues[collector] = incarnation, []

    def send(self, collector: int, request: bytes, policy: bytes = b"") -> None:
        """Queue a request."""
        self.queues[collector].append((request, policy))
        if not self.manual or unpack(request).get("kind") == "hello":
            self.answer(collector)

    def answer(self, collector: int) -> bool:
        """Let a worker answer its oldest request; whether it had one."""
        if not self.queues.get(collector):
            return False
        body = self.workers[collector].run(*self.queues[collector].pop(0))
        self.inbox.append(Message(collector, self.incarnations[collector], body))
        return True

    def kill(self, collector: int) -> None:
        """End a worker: its requests are lost, and so is what it knows."""
        self.queues[collector] = []
        self.inbox.append(Message(collector, self.incarnations[collector], None, "killed"))

    def receive(self, timeout: float) -> list[Message]:
        """All that has been answered."""
        self.waits += timeout > 0 and not self.inbox
        found, self.inbox = self.inbox, []
        self.delivered += found
        return found

    def close(self) -> None:
        """Note it."""
        self.closed = True
