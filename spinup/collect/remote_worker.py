"""A collector's process: steps its environments with a snapshot of the policy, as the learner requests.

It keeps no random state or count that a checkpoint would need: each ticket contains the number of
transitions, the number of random actions among them, and a number from which the noise is seeded.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spinup.collect.collector import EnvCollector, random_then_policy
from spinup.collect.messages import pack, unpack
from spinup.collect.transport import RemotePolicy
from spinup.config import SACConfig
from spinup.envs.make import EnvFn, make_vector
from spinup.envs.workers import EnvCrash
from spinup.errors import EnvError, SpinupError
from spinup.seeding import REMOTE_STREAM, TRAIN_STREAM, generator

BLOCK_SECONDS = 1.0  # after this time, a collector answers with the transitions so far
INCARNATION_EPISODES = 2**32  # incarnation k numbers its episodes from k times this, so that no seed repeats


@dataclass(frozen=True)
class CollectorProgram:
    """Makes the worker of a collector; pickled once per run. The worker's process needs this package.

    Attributes:
        env_fn: returns an environment.
        config: the hyperparameters.
        make_policy: see `PolicySource.make`.
    """

    env_fn: EnvFn
    config: SACConfig
    make_policy: Callable[[], RemotePolicy]

    def __call__(self, collector: int, incarnation: int) -> CollectorWorker:
        return CollectorWorker(self.env_fn, self.config, self.make_policy, collector, incarnation)


class CollectorWorker:
    """Collects transitions from `num_envs` environments, as requested by the learner's tickets.

    Args:
        env_fn: returns an environment.
        config: the hyperparameters.
        make_policy: returns the policy; its arrays arrive with the tickets.
        collector: index of this collector.
        incarnation: number of this start of the collector, from 0.
    """

    def __init__(
        self,
        env_fn: EnvFn,
        config: SACConfig,
        make_policy: Callable[[], RemotePolicy],
        collector: int,
        incarnation: int,
    ) -> None:
        self.env_fn, self.config, self.make_policy = env_fn, config, make_policy
        self.collector, self.incarnation = collector, incarnation
        self.envs: EnvCollector | None = None
        self.policy: RemotePolicy | None = None
        self.version = 0
        self.sequence = 0
        self._parts: list[dict[str, Any]] = []
        self._episodes: list[list[float]] = []
        self._notes: list[str] = []
        self._random = 0
        self.rows = 0  # transitions collected since the last block
        self._version_of_rows = 0  # version of the oldest policy that collected one of `_parts`
        self._idle_since = time.perf_counter()

    def run(self, request: bytes, policy: bytes) -> bytes:
        """Answer a request: "hello" is answered by "hello", a ticket by a block of transitions.

        After an exception, the answer has the kind "error".
        """
        try:
            asked = unpack(request)
            self.load(policy)
            if asked["kind"] == "hello":
                self.open()
                return pack({"kind": "hello", "collector": self.collector, "incarnation": self.incarnation})
            idle = time.perf_counter() - self._idle_since
            self.seed(asked["ticket"])
            deadline = time.monotonic() + BLOCK_SECONDS
            while self.rows < asked["rows"]:
                self.step(asked["random"] - self.rows)
                if time.monotonic() >= deadline:
                    break
            return self.take(asked, idle)
        except Exception as error:
            answer = {"kind": "error", "collector": self.collector, "incarnation": self.incarnation}
            return pack({**answer, **described(error)})
        finally:
            self._idle_since = time.perf_counter()

    def open(self) -> EnvCollector:
        """The environments; the first call makes them and starts their episodes.

        Raises:
            EnvError: if they cannot be made.
        """
        if self.envs is None:
            config = self.config
            vector = make_vector(self.env_fn, config.num_envs, config.env_workers, config.env_timeout)
            self.envs = EnvCollector(
                vector,
                seed=config.seed,
                stream=TRAIN_STREAM,
                max_ep_len=config.max_ep_len,
                first_env=self.collector * config.num_envs,
            )
            self.envs.start_at(self.incarnation * INCARNATION_EPISODES)
            self.rng = np.random.default_rng()
        return self.envs

    def load(self, policy: bytes) -> None:
        """Load a snapshot of the policy; empty bytes change nothing."""
        if policy:
            snapshot = unpack(policy)
            if self.policy is None:
                self.policy = self.make_policy()
            self.policy.load(snapshot["arrays"])
            self.version = snapshot["version"]

    def seed(self, ticket: int) -> None:
        """Seed the noise and the random actions of the next transitions."""
        entropy = [self.config.seed, REMOTE_STREAM, ticket]
        self.rng = generator(*entropy)
        if self.policy is not None:
            self.policy.seed(entropy)

    def step(self, at_random: int) -> None:
        """Step every environment once, the first `at_random` environments with random actions."""
        envs = self.open()
        assert self.policy is not None
        policy, count = self.policy, min(max(at_random, 0), envs.num_envs)
        collected = envs.collect(
            lambda obs: random_then_policy(obs, count, envs.actions, self.rng, policy.act)
        )
        if collected.note:
            self._notes.append(collected.note)
        if collected.transitions:
            if not self._parts:
                self._version_of_rows = self.version
            self._parts.append(collected.transitions)
            self.rows += len(collected.transitions["reward"])
            self._random += count
        self._episodes += [[e.env, e.ret, e.length] for e in collected.episodes]

    def take(self, ticket: dict[str, Any], idle: float = 0.0) -> bytes:
        """The answer to a ticket: all transitions since the last answer, in order."""
        assert self.envs is not None
        parts = self._parts
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}
        block = {
            "kind": "block", "collector": self.collector, "incarnation": self.incarnation,
            "sequence": self.sequence,
            "ticket": ticket["ticket"], "version": self._version_of_rows, "random": self._random,
            "idle": idle, "episodes": self._episodes, "notes": self._notes, "rows": columns,
        }  # fmt: skip
        self.sequence += 1
        self._parts, self._episodes, self._notes = [], [], []
        self.rows = self._random = 0
        return pack(block)


def described(error: Exception) -> dict[str, Any]:
    """The entries "error", one line of text, and "final", whether the error would recur after a restart."""
    cause = error.__cause__ if isinstance(error, EnvError) else error
    final = isinstance(error, SpinupError) and (cause is None or not isinstance(error, EnvError))
    if final or isinstance(cause, EnvCrash):
        return {"error": str(error), "final": final}
    text = str(cause).strip().splitlines()
    return {"error": f"raised {type(cause).__name__}: {text[-1] if text else 'no message'}", "final": False}
