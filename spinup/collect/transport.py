"""The interface between the learner and collectors in other processes; `RayTransport` implements it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from spinup.errors import ConfigError, first_line


class Worker(Protocol):
    """The object that answers requests in a collector's process."""

    def run(self, request: bytes, policy: bytes) -> bytes:
        """Answer a request; `policy` is a snapshot of the policy, or empty. It must not raise."""
        ...


Program = Callable[[int, int], Worker]  # makes the worker of a collector and an incarnation


class Message(NamedTuple):
    """An answer of a collector; if `body` is None, the collector was lost, for the given `reason`."""

    collector: int
    incarnation: int
    body: bytes | None
    reason: str = ""


class Transport(Protocol):
    """Starts collectors, and transfers requests and answers as bytes.

    A collector may be restarted at any time. Each start is a new incarnation, and ends the process of the
    previous one. Answers may arrive in any order, late, twice or not at all; the receiver handles all of
    these. The end of a collector should be reported once, by a `Message` without body.
    """

    def open(self, program: bytes, collectors: int) -> None:
        """Prepare to start `collectors` collectors; `program` is a pickled `Program`.

        Raises:
            SpinupError: if they cannot be provided.
        """
        ...

    def start(self, collector: int, incarnation: int) -> None:
        """Start a collector."""
        ...

    def send(self, collector: int, request: bytes, policy: bytes = b"") -> None:
        """Send a request to the latest incarnation of a collector, which answers requests in order."""
        ...

    def receive(self, timeout: float) -> list[Message]:
        """The messages that have arrived; waits at most `timeout` seconds for the first one."""
        ...

    def close(self) -> None:
        """End all collectors."""
        ...


class RemotePolicy(Protocol):
    """A policy in a collector's process."""

    def load(self, arrays: dict[str, Any]) -> None:
        """Load a snapshot of the policy's arrays."""
        ...

    def seed(self, entropy: list[int]) -> None:
        """Seed the noise of the next actions."""
        ...

    def act(self, obs: Any) -> Any:
        """Sampled actions (N, act_dim) for observations (N, obs_dim)."""
        ...


@dataclass(frozen=True)
class PolicySource:
    """The learner's policy, for use in other processes.

    Attributes:
        make: returns a RemotePolicy; called once in each collector's process.
        arrays: returns a snapshot of the policy's current arrays.
    """

    make: Callable[[], RemotePolicy]
    arrays: Callable[[], dict[str, Any]]


def pickled_program(program: Program) -> bytes:
    """Pickle a program; lambdas and definitions of the main script are pickled by value.

    Raises:
        ConfigError: if it cannot be pickled.
    """
    import cloudpickle  # a dependency of gymnasium

    try:
        return bytes(cloudpickle.dumps(program))
    except Exception as error:  # pickling runs methods of the user's objects
        raise ConfigError(
            f"env_fn or actor_critic cannot be sent to collectors ({first_line(error)}): let "
            "env_fn create what it needs when it is called"
        ) from error
