"""The interface between the learner and collectors in other processes; Ray is one implementation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from spinup.errors import ConfigError


class Worker(Protocol):
    """What runs in a collector's process."""

    def run(self, request: bytes, policy: bytes) -> bytes:
        """Answer a request; `policy` is a snapshot of the policy, or empty. Raises nothing."""
        ...


Program = Callable[[int, int], Worker]  # makes the worker of a collector and an epoch


class Message(NamedTuple):
    """An answer of a collector, or, with body None, the news that it was lost and why."""

    collector: int
    epoch: int
    body: bytes | None
    reason: str = ""


class Transport(Protocol):
    """Starts collectors and carries requests and answers, as bytes.

    A collector may be started again at any time; each start is a new epoch of it, and the previous one is
    ended if it still runs. Answers may come in any order, late, twice, or not at all; the receiver sorts
    this out. A collector that has ended should be reported, once.
    """

    def open(self, program: bytes, collectors: int) -> None:
        """Prepare for that many collectors; `program` is a pickled `Program`.

        Raises:
            SpinupError: one line, if they cannot be had.
        """
        ...

    def start(self, collector: int, epoch: int) -> None:
        """Start a collector."""
        ...

    def send(self, collector: int, request: bytes, policy: bytes = b"") -> None:
        """Send a request to the newest epoch of a collector, which answers requests in turn."""
        ...

    def receive(self, timeout: float) -> list[Message]:
        """All that has arrived; waits at most `timeout` seconds for the first message."""
        ...

    def close(self) -> None:
        """End all collectors."""
        ...


class RemotePolicy(Protocol):
    """A policy in a collector's process."""

    def load(self, arrays: dict[str, Any]) -> None:
        """Act as the snapshot does from now on."""
        ...

    def seed(self, entropy: list[int]) -> None:
        """Seed the noise of the next actions."""
        ...

    def act(self, obs: Any) -> Any:
        """Sampled actions (N, act_dim) for observations (N, obs_dim)."""
        ...


@dataclass(frozen=True)
class PolicySource:
    """The learner's policy for others to act by.

    make: returns a RemotePolicy, called once in each collector's process; arrays: the snapshot of now.
    """

    make: Callable[[], RemotePolicy]
    arrays: Callable[[], dict[str, Any]]


def pickled_program(program: Program) -> bytes:
    """The program as bytes; lambdas and what a script defines are sent by value.

    Raises:
        ConfigError: if it holds what cannot be pickled.
    """
    import cloudpickle  # a dependency of gymnasium

    try:
        return bytes(cloudpickle.dumps(program))
    except Exception as error:  # pickling runs methods of the user's objects
        text = (str(error).strip().splitlines() or ["no message"])[0]
        raise ConfigError(
            f"env_fn or actor_critic cannot be sent to collectors ({type(error).__name__}: {text}): let "
            "env_fn create what it needs when it is called"
        ) from error
