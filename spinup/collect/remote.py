"""Collectors in other processes that act asynchronously, ahead of the learner by a bounded number of steps.

The learner sends numbered tickets, each a request for a block of transitions, together with a snapshot of the
policy. A collector answers its tickets in order. A block contains the index of its collector, the incarnation
(how often the collector was started before), a sequence number and the policy's version, which is the number
of gradient steps made before the snapshot. A block is admitted to the replay buffer once, in the order of its
collector's sequence numbers; duplicates and blocks of earlier incarnations are refused and counted.

Staleness is bounded as in Ho et al. (2013). A ticket is sent only if at most `max_staleness` gradient steps
would be due once all requested transitions were admitted. A block is admitted before the block of an older
ticket only if the older one can still be admitted within the bound. The block of the oldest ticket can
therefore always be admitted, and no block becomes too stale. The learner waits for a slow collector if
necessary; a collector that gives no answer in time is restarted, and its blocks are discarded.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np

from spinup.collect.crash_recovery import MAX_RESTARTS
from spinup.collect.messages import MessageError, pack, unpack
from spinup.collect.remote_worker import BLOCK_SECONDS, CollectorProgram
from spinup.collect.transport import Message, PolicySource, Transport, pickled_program
from spinup.collect.update_schedule import UpdateSchedule
from spinup.config import SACConfig
from spinup.envs.make import EnvFn
from spinup.envs.spaces import ActionSpec
from spinup.errors import EnvError
from spinup.interfaces import Act, Collected, Episode
from spinup.replay.transition import Field, Transitions

TICKETS = 2  # tickets per collector at a time, so that it works on one while another is in transit
# A snapshot is reused until it is max_staleness / SNAPSHOTS or update_every gradient steps old.
SNAPSHOTS = 20
POLL_SECONDS = 0.2  # after this time, `collect` returns, so that the loop can react to signals
PATIENCE = 20.0  # seconds without any collector before the log says so


@dataclass
class _Ticket:
    """A request for transitions: their number, how many with random actions, and the policy's version."""

    rows: int
    random: int
    version: int


@dataclass
class _Collector:
    """The learner's view of one collector.

    Attributes:
        index: index of the collector.
        incarnation: number of its latest start.
        ready: whether it has answered since that start.
        was_ready: whether it has answered since any start.
        sequence: sequence number of the next block to admit.
        tickets: tickets whose blocks are not completely admitted, by number.
        blocks: blocks received and not completely admitted, by sequence number.
        heard: time of its last answer, on the learner's clock.
        starts: number of starts since its last admitted rows.
        cut: whether its next rows do not continue the episodes of its last ones.
    """

    index: int
    incarnation: int = -1
    ready: bool = False
    was_ready: bool = False
    sequence: int = 0
    tickets: dict[int, _Ticket] = field(default_factory=dict)
    blocks: dict[int, dict[str, Any]] = field(default_factory=dict)
    heard: float = 0.0
    starts: int = 0
    cut: bool = False


@final
class RemoteCollector:
    """Admits transitions from collectors in other processes.

    Args:
        config: the hyperparameters.
        env_fn: returns an environment.
        actions: the environment's actions.
        fields: the fields of its transitions.
        transport: connection to the collectors.
        schedule: the training loop's schedule, whose counts limit the requested transitions.
    """

    def __init__(
        self,
        config: SACConfig,
        env_fn: EnvFn,
        actions: ActionSpec,
        fields: dict[str, Field],
        transport: Transport,
        schedule: UpdateSchedule,
    ) -> None:
        assert config.collectors is not None
        self.config, self.env_fn, self.transport, self.schedule = config, env_fn, transport, schedule
        self.actions, self.fields = actions, fields
        self.num_envs = config.total_envs
        self.env_steps = 0
        self.refused = self.restarts = 0
        self._policy: PolicySource | None = None
        self._program = b""
        self._snapshot: tuple[int, bytes] = (-1, b"")
        self._collectors = [_Collector(i) for i in range(config.collectors)]
        self._next_ticket = self._random = self._faults = 0
        self._notes: list[str] = []
        self._clock, self._last_turn, self._alone_since = 0.0, time.monotonic(), 0.0
        self.new_epoch()

    def act_by(self, policy: PolicySource) -> None:
        """Set the policy of the collectors; must be called before `start`.

        Raises:
            ConfigError: if the environment or the policy cannot be pickled.
        """
        self._policy = policy
        self._program = pickled_program(CollectorProgram(self.env_fn, self.config, policy.make))

    @property
    def ticket_rows(self) -> int:
        """Number of transitions per ticket: about `update_every`, fewer for a small `max_staleness`."""
        config = self.config
        ahead = config.max_staleness / config.updates_per_step - config.update_every
        fair = min(int(ahead / (TICKETS * len(self._collectors))), config.update_every)
        return max(fair // config.num_envs, 1) * config.num_envs

    def start(self) -> None:
        """Start all collectors.

        Raises:
            SpinupError: if the transport cannot provide them.
        """
        self.transport.open(self._program, len(self._collectors))
        for collector in self._collectors:
            self._start(collector)

    def collect(self, act: Act) -> Collected:
        """Admit the next block; the result has no transitions if none arrives within `POLL_SECONDS`.

        Args:
            act: not used, since collectors act with snapshots of the policy.

        Raises:
            EnvError: after too many restarts.
        """
        self._hand_out()
        began = time.perf_counter()
        waits = self._next_block() is None
        for message in self.transport.receive(POLL_SECONDS if waits else 0.0):
            self._receive(message)
        self._learner_wait += time.perf_counter() - began if waits else 0.0
        self._keep_time()
        self._hand_out()
        admitted: tuple[Transitions, list[Episode]] = ({}, [])
        if (collector := self._next_block()) is not None:
            admitted = self._admit(collector)
        notes, self._notes = "; ".join(self._notes), []
        return Collected(*admitted, notes)

    def metrics(self) -> dict[str, float]:
        """Columns of the epoch's row.

        Staleness, MaxStaleness: gradient steps between the policy that collected a transition and its
        admission, mean and maximum; LearnerWait, CollectorWait: idle seconds, the latter per collector;
        BlocksRefused, CollectorRestarts: counts since the run was started or resumed.
        """
        ages = np.array(self._ages, np.float64) if self._ages else np.array([[np.nan, 1.0]])
        return {
            "Staleness": float(np.average(ages[:, 0], weights=ages[:, 1])),
            "MaxStaleness": float(ages[:, 0].max()),
            "LearnerWait": self._learner_wait,
            "CollectorWait": self._collector_wait / len(self._collectors),
            "BlocksRefused": self.refused,
            "CollectorRestarts": self.restarts,
        }

    def new_epoch(self) -> None:
        """Reset the statistics of `metrics`."""
        self._ages: list[tuple[int, int]] = []  # staleness of each admission, and its number of rows
        self._learner_wait = self._collector_wait = 0.0

    def state_dict(self) -> dict[str, Any]:
        """The counts of admitted steps, random actions and tickets, and the incarnation of each collector.

        Requested blocks are not included: a resumed run requests new ones.
        """
        return {
            "env_steps": self.env_steps,
            "episodes": {},
            "tickets": self._next_ticket,
            "random": self._random,
            "incarnations": np.array([collector.incarnation for collector in self._collectors], np.int64),
        }

    def load_state_dict(self, state: dict[str, Any]) -> str:
        """Continue the counts of `state`; every collector will start new episodes."""
        self.env_steps, self._next_ticket = state["env_steps"], state["tickets"]
        self._random = state["random"]
        for collector, incarnation in zip(self._collectors, state["incarnations"].tolist(), strict=True):
            collector.incarnation = incarnation
        return "collectors begin new episodes; blocks in transit are collected again"

    def close(self) -> None:
        """End all collectors."""
        self.transport.close()

    # Starting and losing collectors

    def _start(self, collector: _Collector) -> None:
        index, incarnation = collector.index, collector.incarnation + 1
        self._collectors[index] = _Collector(
            index, incarnation, was_ready=collector.was_ready, heard=self._clock, starts=collector.starts + 1
        )
        self.transport.start(index, incarnation)
        self.transport.send(index, pack({"kind": "hello"}))

    def _lost(self, collector: _Collector, reason: str) -> None:
        """Restart a collector; its blocks that were not admitted are discarded."""
        if collector.starts > MAX_RESTARTS:
            raise EnvError(
                f"collector {collector.index} {reason}, after {MAX_RESTARTS} restarts without a transition: "
                "fix the environment or the cluster and resume the run"
            )
        self.restarts += 1
        self._notes.append(
            f"collector {collector.index} {reason}: restarted, its running episodes are discarded"
        )
        self._start(collector)

    def _failed(self, collector: _Collector, error: str, final: bool) -> None:
        """Restart a collector whose environment raised, unless the error would recur.

        Raises:
            EnvError: if the error is final, came before the first answer, or after MAX_RESTARTS restarts.
        """
        if final or not collector.was_ready:
            raise EnvError(f"collector {collector.index}: {error}")
        if self._faults == MAX_RESTARTS:
            raise EnvError(
                f"collector {collector.index} failed: {error}, after {MAX_RESTARTS} restarts: fix the "
                "environment and resume the run"
            )
        self._faults += 1
        self._lost(collector, f"failed ({error})")

    def _keep_time(self) -> None:
        """Restart collectors whose answers are overdue, measured by a clock that excludes long updates."""
        now = time.monotonic()
        self._clock += min(now - self._last_turn, 1.0)
        self._last_turn = now
        limit = 2 * self.config.env_timeout + BLOCK_SECONDS
        for collector in list(self._collectors):
            is_waiting = len(collector.tickets) > len(collector.blocks)
            if collector.ready and is_waiting and self._clock - collector.heard > limit:
                self._lost(collector, f"gave no answer within {limit:g} seconds")
        if any(collector.ready for collector in self._collectors):
            self._alone_since = self._clock
        elif self._clock - self._alone_since > PATIENCE:
            self._alone_since = self._clock
            self._notes.append(
                f"none of {len(self._collectors)} collectors runs yet: in a cluster, each needs a free CPU"
            )

    # Tickets

    def _hand_out(self) -> None:
        """Send tickets to all collectors in turn, as far as `max_staleness` permits."""
        for held in range(TICKETS):
            for collector in self._collectors:
                if collector.ready and len(collector.tickets) <= held and not self._ask(collector):
                    return

    def _ask(self, collector: _Collector) -> bool:
        """Send a ticket and return True, unless the staleness bound or the end of the run forbids it."""
        on_the_way = [ticket for c in self._collectors for ticket in c.tickets.values()]
        ahead = self.env_steps + sum(ticket.rows for ticket in on_the_way)
        rows, due = self.ticket_rows, self.config.updates_by(ahead + self.ticket_rows)
        if ahead >= self.config.total_steps or due - self.schedule.updates > self.config.max_staleness:
            return False
        version = self._snapshot[0]
        lifetime = min(self.config.update_every, self.config.max_staleness // SNAPSHOTS)
        old = self.schedule.updates - version >= lifetime
        if version < 0 or old or due - version > self.config.max_staleness:
            version = self.schedule.updates
        drawn = self._random + sum(ticket.random for ticket in on_the_way)
        ticket = _Ticket(rows, min(max(self.config.start_steps - drawn, 0), rows), version)
        request = {"kind": "ticket", "ticket": self._next_ticket, "rows": rows, "random": ticket.random}
        if not collector.tickets:
            collector.heard = self._clock
        collector.tickets[self._next_ticket] = ticket
        self._next_ticket += 1
        self.transport.send(collector.index, pack(request), self._policy_of(version))
        return True

    def _policy_of(self, version: int) -> bytes:
        assert self._policy is not None
        if self._snapshot[0] != version:
            self._snapshot = version, pack({"version": version, "arrays": self._policy.arrays()})
        return self._snapshot[1]

    # Blocks

    def _receive(self, message: Message) -> None:
        collector = self._collectors[message.collector]
        if message.body is None:
            if message.incarnation == collector.incarnation:
                self._lost(collector, f"was lost ({message.reason})")
            return
        try:
            answer = unpack(message.body)
            kind, collector = answer["kind"], self._collectors[answer["collector"]]
            if answer["incarnation"] != collector.incarnation:
                self.refused += kind == "block"
            elif kind == "error":
                self._failed(collector, answer["error"], answer["final"])
            elif kind == "hello":
                collector.ready = collector.was_ready = True
            elif self._is_new(collector, answer):
                self._check(collector, answer)
                collector.blocks[answer["sequence"]] = answer
                collector.heard = self._clock
            else:
                self.refused += 1
        except (MessageError, KeyError, IndexError, TypeError, AttributeError) as error:
            self._lost(collector, f"sent an invalid block ({type(error).__name__}: {error})")

    def _is_new(self, collector: _Collector, block: dict[str, Any]) -> bool:
        """Whether a block belongs to an open ticket and was not received before."""
        sequence = block["sequence"]
        return (
            block["ticket"] in collector.tickets
            and sequence >= collector.sequence
            and sequence not in collector.blocks
            and all(block["ticket"] != other["ticket"] for other in collector.blocks.values())
        )

    def _check(self, collector: _Collector, block: dict[str, Any]) -> None:
        """Check dtypes, shapes and environment indices of a block before it enters the replay buffer.

        Raises:
            MessageError: if they do not fit this collector.
        """
        rows: Transitions = block["rows"]
        if not rows:
            return
        count = len(rows["reward"])
        for name, wanted in self.fields.items():
            if rows[name].dtype != wanted.dtype or rows[name].shape != (count, *wanted.shape):
                raise MessageError(f"{name} is {rows[name].dtype} {rows[name].shape}")
        first = collector.index * self.config.num_envs
        if ((rows["env"] < first) | (rows["env"] >= first + self.config.num_envs)).any():
            raise MessageError("env is out of range")

    def _next_block(self) -> _Collector | None:
        """The collector whose block is admitted next, or None.

        It is the received block of the oldest ticket; None if its admission would make the block of an older
        ticket too stale.
        """
        waiting = [c for c in self._collectors if c.sequence in c.blocks]
        if not waiting:
            return None
        first = min(waiting, key=lambda c: int(c.blocks[c.sequence]["ticket"]))
        block = first.blocks[first.sequence]
        steps = self.env_steps + self._rows_to_admit(block)
        on_the_way = {number: ticket for c in self._collectors for number, ticket in c.tickets.items()}
        for number in sorted(number for number in on_the_way if number < block["ticket"]):
            if self.config.updates_by(steps) - on_the_way[number].version > self.config.max_staleness:
                return None
            steps += on_the_way[number].rows
        return first

    def _rows_to_admit(self, block: dict[str, Any]) -> int:
        """Number of rows of a block up to the end of the epoch."""
        count = len(block["rows"]["reward"]) if block["rows"] else 0
        return min(count, self.config.steps_per_epoch - self.env_steps % self.config.steps_per_epoch)

    def _admit(self, collector: _Collector) -> tuple[Transitions, list[Episode]]:
        """Rows and episodes of a collector's next block; rows beyond the end of the epoch remain in it."""
        block = collector.blocks[collector.sequence]
        rows, count = block["rows"], self._rows_to_admit(block)
        age = self.schedule.updates - block["version"]
        self._notes += [f"collector {collector.index}: {note}" for note in block.pop("notes", [])]
        if age > self.config.max_staleness:  # only if a collector sends blocks without waiting for tickets
            self._finish(collector, block)
            self.refused += 1
            collector.cut = True
            return {}, []
        taken = {name: column[:count] for name, column in rows.items()}
        if collector.cut and count:
            taken["episode_start"] = taken["episode_start"].copy()
            taken["episode_start"][np.unique(taken["env"], return_index=True)[1]] = True
            collector.cut = False
        if count:
            self._ages.append((age, count))
            self.env_steps += count
            self._random += min(block["random"], count)
            collector.starts = 0
        if rows and count < len(rows["reward"]):
            block["rows"] = {name: column[count:] for name, column in rows.items()}
            block["random"] = max(block["random"] - count, 0)
            ticket = collector.tickets[block["ticket"]]
            ticket.rows, ticket.random = len(block["rows"]["reward"]), block["random"]
            return taken, []
        self._finish(collector, block)
        return taken, [Episode(int(env), ret, int(length)) for env, ret, length in block["episodes"]]

    def _finish(self, collector: _Collector, block: dict[str, Any]) -> None:
        self._collector_wait += block["idle"]
        del collector.blocks[collector.sequence], collector.tickets[block["ticket"]]
        collector.sequence += 1
