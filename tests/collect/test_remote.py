"""Asynchronous collectors over a transport that reorders, repeats, holds back and loses messages."""

from __future__ import annotations

import itertools
import math
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_transport import FakeTransport
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import NormalizeObservation
from helpers import (
    Diary,
    FourCalls,
    Point,
    check_diary,
    joined,
    parameters,
    replay_buffer,
    rows_of,
    train,
    without_timing,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from spinup.collect import remote
from spinup.collect.make import make_collectors
from spinup.collect.messages import pack, unpack
from spinup.collect.remote import RemoteCollector
from spinup.collect.transport import Message, PolicySource
from spinup.collect.update_schedule import UpdateSchedule
from spinup.config import SACConfig
from spinup.errors import ConfigError, EnvError
from spinup.pytorch.variants.register import RESERVED_COLUMNS

STEP = 2.0**-14  # the policy's action is -(version + 1) * STEP, exactly


@dataclass
class VersionPolicy:
    """Acts by its version, so that a stored action tells which policy chose it."""

    version: int = -1

    def load(self, arrays: dict[str, Any]) -> None:
        self.version = int(arrays["version"])

    def seed(self, entropy: list[int]) -> None:
        self.entropy = entropy

    def act(self, obs: Any) -> Any:
        return np.full((len(obs), 1), -(self.version + 1) * STEP, np.float32)


class Learner:
    """The loop's part: admits what the collectors bring, and makes the updates that fall due."""

    def __init__(self, env_fn: Any = Diary, transport: Any = None, **changes: Any) -> None:
        given = {
            "collectors": 3, "num_envs": 2, "steps_per_epoch": 50, "epochs": 10, "start_steps": 20,
            "update_after": 20, "update_every": 5, "num_test_episodes": 1, "max_staleness": 40, **changes,
        }  # fmt: skip
        self.config = SACConfig(**given)
        self.schedule = UpdateSchedule(self.config)
        self.transport = transport or FakeTransport(manual=True)
        made, tests = make_collectors(env_fn, self.config, self.transport, self.schedule)
        tests.close()
        assert isinstance(made, RemoteCollector)
        self.collector: RemoteCollector = made
        source = PolicySource(VersionPolicy, lambda: {"version": np.array(self.schedule.updates)})
        self.collector.act_by(source)
        self.replay = replay_buffer(self.config.total_steps, n_step=3)
        self.parts: list[Any] = []
        self.ages: list[int] = []
        self.finished: list[Any] = []
        self.notes: list[str] = []

    def turn(self) -> int:
        """One turn of the loop; returns the number of transitions that it admitted."""
        before, updates = self.collector.env_steps, self.schedule.updates
        collected = self.collector.collect(lambda obs: pytest.fail("the learner does not act"))
        count = self.collector.env_steps - before
        if collected.note:
            self.notes.append(collected.note)
        if count:
            rows = collected.transitions
            assert len(rows["reward"]) == count
            self.parts.append(rows)
            self.replay.add(rows)
            versions = np.round(-rows["action"][:, 0] / STEP - 1)
            chosen = rows["action"][:, 0] == -(versions + 1) * STEP
            self.ages += [updates - int(version) for version in versions[chosen]]
        self.finished += collected.episodes
        for block in self.schedule.add_steps(count):
            self.schedule.add_updates(block)
        return count

    def run(self, answer: Any = None) -> Learner:
        """Turn until the run's last step; all workers answer, unless `answer` does it."""
        idle = 0
        while self.collector.env_steps < self.config.total_steps:
            for i in range(len(self.transport.workers)):
                self.transport.answer(i) if answer is None else answer(i)
            idle = 0 if self.turn() else idle + 1
            assert idle < 20, "nothing is admitted any more"
        return self

    def check(self) -> None:
        """All rows are those of Diaries, whole from their beginning, and all counts are exact."""
        rows = joined(self.parts)
        assert len(rows["reward"]) == self.collector.env_steps == self.schedule.steps == self.replay.total
        assert self.schedule.updates == self.config.updates_by(self.schedule.steps)
        assert max(self.ages, default=0) <= self.config.max_staleness
        for env in range(self.config.total_envs):
            mine = rows_of(rows, env)
            begins = np.flatnonzero(
                (mine["obs"] == 0).all(axis=1)
            )  # of an incarnation: Diaries count from there
            assert begins[0] == 0
            for start, stop in zip(begins, [*begins[1:], len(mine["reward"])], strict=True):
                check_diary({name: column[start:stop] for name, column in mine.items()})

    def drawn_at_random(self) -> int:
        """How many of the admitted actions were no policy's."""
        actions = joined(self.parts)["action"][:, 0]
        return int((np.round(actions / STEP) * STEP != actions).sum())


def test_a_run_without_trouble() -> None:
    learner = Learner()
    learner.collector.start()
    learner.run().check()
    assert learner.drawn_at_random() == 20
    assert learner.config.total_steps == learner.collector.env_steps == 500
    rows = joined(learner.parts)
    assert set(rows["env"]) == set(range(6))
    for env in range(6):  # every finished episode is reported once, with its return and length
        ended = [(e.ret, e.length) for e in learner.finished if e.env == env]
        lengths = [3, 5, 1, 4] * 10
        wanted = [(100.0 * k * n + n * (n + 1) / 2, n) for k, n in enumerate(lengths[: len(ended)])]
        assert ended == wanted
    row = learner.collector.metrics()
    assert set(row) <= RESERVED_COLUMNS
    assert (row["BlocksRefused"], row["CollectorRestarts"]) == (0, 0)
    assert row["MaxStaleness"] <= 40
    assert learner.collector.metrics() == row  # the live screen reads them within an epoch
    learner.collector.new_epoch()
    assert math.isnan(learner.collector.metrics()["Staleness"])


@pytest.mark.parametrize("changes", [
    {}, {"collectors": 1, "num_envs": 1}, {"max_staleness": 11}, {"updates_per_step": 0.3},
    {"updates_per_step": 3.0, "max_staleness": 60}, {"num_envs": 7, "max_staleness": 30},
    {"update_every": 1, "max_staleness": 7}, {"start_steps": 0, "update_after": 0}, {"steps_per_epoch": 7},
])  # fmt: skip
def test_every_configuration_reaches_its_end_within_the_bound(changes: dict[str, Any]) -> None:
    learner = Learner(**changes)
    learner.collector.start()
    learner.run().check()
    assert learner.drawn_at_random() == learner.config.start_steps


def test_epochs_end_exactly() -> None:
    learner = Learner(steps_per_epoch=33)
    learner.collector.start()
    learner.run()
    ends = np.cumsum([len(part["reward"]) for part in learner.parts])
    assert {33 * k for k in range(1, 11)} <= set(ends.tolist())
    learner.check()


def test_a_slow_collector_makes_the_others_wait_in_the_end() -> None:
    learner = Learner()
    learner.collector.start()
    for _ in range(20):
        learner.turn()
    for _ in range(200):
        learner.transport.answer(0)
        learner.transport.answer(1)
        learner.turn()
    stuck = learner.collector.env_steps
    assert learner.turn() == 0
    assert stuck < 200
    (version,) = {t.version for t in learner.collector._collectors[2].tickets.values()}
    assert learner.schedule.updates - version <= 40
    learner.run().check()


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["answer"] * 6 + ["turn"] * 4 + ["repeat", "hold", "reverse", "kill", "drop dead"]),
        st.integers(0, 10**6),
    ),
    max_size=120,
)


@given(OPERATIONS, st.sampled_from([11, 20, 40]), st.sampled_from([0.5, 1.0, 2.0]))
@settings(max_examples=20)
def test_whatever_the_transport_does_all_is_admitted_once_and_in_order(
    operations: list[tuple[str, int]], max_staleness: int, ratio: float
) -> None:
    config = SACConfig(collectors=3, num_envs=2, update_every=5, updates_per_step=ratio)
    least = math.ceil(ratio * (config.total_envs + 5))
    learner = Learner(max_staleness=max(max_staleness, least), updates_per_step=ratio, epochs=6)
    wire, held = learner.transport, []
    learner.collector.start()
    killed = 0
    for what, number in operations:
        i = number % 3
        if what == "answer":
            wire.answer(i)
        elif what == "turn":
            learner.turn()
        elif what == "repeat" and wire.delivered:
            wire.inbox.append(wire.delivered[number % len(wire.delivered)])
        elif what == "hold" and wire.inbox:
            held.append(wire.inbox.pop(number % len(wire.inbox)))
        elif what == "reverse":
            wire.inbox.reverse()
        elif what in ("kill", "drop dead") and killed < 4:  # else too often in a row
            if what == "drop dead":  # and what it had sent is lost too
                wire.inbox = [m for m in wire.inbox if m.collector != i]
            wire.kill(i)
            killed += 1
    wire.inbox += held
    learner.run().check()
    assert learner.drawn_at_random() == 20


def test_messages_of_the_dead_and_duplicates_are_refused_and_counted() -> None:
    learner = Learner()
    wire = learner.transport
    learner.collector.start()
    learner.turn()
    for _ in range(2):
        wire.answer(0)
    old = list(wire.inbox)
    learner.turn()
    wire.inbox += old  # twice
    learner.turn()
    assert learner.collector.refused == 2
    wire.answer(1)
    late, wire.inbox = wire.inbox, []
    wire.kill(1)
    learner.turn()
    wire.inbox += late  # of an incarnation that is over
    learner.turn()
    assert learner.collector.refused == 3
    assert learner.notes == ["collector 1 was lost (killed): restarted, its running episodes are discarded"]
    learner.run().check()


def test_n_step_windows_end_where_a_collector_died() -> None:
    learner = Learner(Point, start_steps=0, update_after=0)
    learner.collector.start()
    for k in range(60):
        for i in range(3):
            learner.transport.answer(i)
        if k % 4 == 3:
            learner.transport.kill(k % 3)
        learner.turn()
    rows = learner.replay.read(0, learner.replay.total)
    sampler: Any = learner.replay.sampler
    cuts = 0
    for env in range(6):
        mine = np.flatnonzero(rows["env"] == env)
        for row, following in itertools.pairwise(mine.tolist()):
            joined_rows = sampler.builder._to_next[row] > 0
            continues = np.array_equal(rows["next_obs"][row], rows["obs"][following])
            assert joined_rows == continues == (not rows["episode_start"][following])
        starts = np.flatnonzero(rows["episode_start"][mine])
        cuts += int((np.diff(starts) < 15).sum())  # Points that nobody cuts last 15 steps
    assert cuts > 10


class Breaks(Diary):
    """Raises in its 4th step."""

    def step(self, action: Any) -> Any:
        if len(self.actions) == 3:
            raise ValueError("the arm is\nbroken")
        return super().step(action)


def test_an_environment_that_raises_is_restarted_a_few_times_then_named() -> None:
    learner = Learner(Breaks, collectors=1, num_envs=1)
    learner.collector.start()
    with pytest.raises(
        EnvError, match=r"^collector 0 failed: raised ValueError: broken, after 5 restarts: [^\n]*$"
    ):
        learner.run()
    assert (
        learner.notes[0]
        == "collector 0 failed (raised ValueError: broken): restarted, its running episodes are discarded"
    )
    assert learner.collector.restarts == 5


class Infinite(Diary):
    """Rewards infinity."""

    def step(self, action: Any) -> Any:
        obs, _, *rest = super().step(action)
        return obs, math.inf, *rest


def test_values_that_are_not_finite_end_the_run_at_once() -> None:
    learner = Learner(Infinite)
    learner.collector.start()
    with pytest.raises(EnvError, match=r"^collector \d: environment 0 returned the reward inf[^\n]*$"):
        learner.run()


def test_a_collector_that_always_dies_ends_the_run() -> None:
    learner = Learner()
    learner.collector.start()

    def answer(i: int) -> None:
        learner.transport.kill(i) if i == 1 else learner.transport.answer(i)

    with pytest.raises(
        EnvError, match=r"^collector 1 was lost \(killed\), after 5 restarts without a transition: fix"
    ):
        learner.run(answer)


def test_a_silent_collector_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(remote.time, "monotonic", lambda: now[0])
    learner = Learner(env_timeout=5.0)
    learner.collector.start()
    for _ in range(100):
        learner.turn()
    now[0] += 1000.0  # of an update, which is not its fault
    learner.turn()
    assert learner.collector.restarts == 0
    for _ in range(12):
        now[0] += 1.0
        learner.turn()
    assert learner.collector.restarts == 3
    assert "collector 2 gave no answer within 11 seconds" in learner.notes[0]
    learner.run().check()


def test_the_log_says_when_no_collector_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(remote.time, "monotonic", lambda: now[0])
    learner = Learner()
    monkeypatch.setattr(learner.transport, "send", lambda *args: None)
    learner.collector.start()
    for _ in range(25):
        now[0] += 1.0
        learner.turn()
    assert learner.notes == ["none of 3 collectors runs yet: in a cluster, each needs a free CPU"]


@pytest.mark.parametrize("spoil", [
    lambda rows: {**rows, "reward": rows["reward"].astype(np.float64)},
    lambda rows: {**rows, "obs": rows["obs"][:, :1]},
    lambda rows: {**rows, "env": rows["env"] + 6},
    lambda rows: {name: column for name, column in rows.items() if name != "action"},
])  # fmt: skip
def test_a_block_that_does_not_fit_is_not_stored(spoil: Any) -> None:
    learner = Learner()
    learner.collector.start()
    learner.turn()
    learner.transport.answer(0)
    (message,) = learner.transport.inbox
    block = unpack(message.body)
    learner.transport.inbox = [message._replace(body=pack({**block, "rows": spoil(block["rows"])}))]
    assert learner.turn() == 0
    assert "sent an invalid block" in learner.notes[0]
    learner.transport.inbox.append(Message(1, 0, b"\x80\x04garbage"))
    assert learner.turn() == 0
    assert "collector 1 sent an invalid block" in learner.notes[1]
    learner.run().check()


def test_state_continues_counts_and_never_an_incarnation_or_a_seed() -> None:
    learner = Learner()
    learner.collector.start()
    for _ in range(10):
        for i in range(3):
            learner.transport.answer(i)
        learner.turn()
    learner.transport.kill(2)
    learner.turn()
    state = learner.collector.state_dict()
    again = Learner()
    assert "new episodes" in again.collector.load_state_dict(state)
    again.schedule.resume(again.collector.env_steps)
    again.replay = learner.replay
    again.parts = learner.parts
    before = again.schedule.updates
    assert before == learner.schedule.updates
    again.collector.start()
    assert again.transport.incarnations == {0: 1, 1: 1, 2: 2}
    again.turn()
    assert again.schedule.updates == before  # no burst
    again.run().check()
    assert again.drawn_at_random() == 20
    seeds = [
        env.unwrapped.seeds
        for run in (learner, again)
        for worker in (*run.transport.ended, *run.transport.workers.values())
        if worker.envs is not None
        for env in worker.envs.vector.envs.envs
    ]
    flat = [seed for each in seeds for seed in each if seed is not None]
    assert len(flat) == len(set(flat)) > 50


def test_tickets_draw_their_noise_from_their_number() -> None:
    entropies = []
    for _ in range(2):
        learner = Learner()
        learner.collector.start()
        learner.turn()
        learner.transport.answer(1)
        entropies.append(learner.transport.workers[1].policy.entropy)
    assert entropies[0] == entropies[1] == [0, 5, 1]


def test_a_run_with_remote_collectors(tmp_path: Path) -> None:
    """A whole run with the package's agent: updates equal steps, columns follow, and it resumes."""
    wire = FakeTransport()
    fixed: dict[str, Any] = {
        "env_fn": Point, "collectors": 2, "num_envs": 2, "transport": wire, "max_staleness": 100,
        "steps_per_epoch": 100, "n_step": 3,
    }  # fmt: skip
    ac, rows = train(tmp_path / "a", epochs=2, **fixed)
    assert wire.closed
    assert [row["TotalEnvInteracts"] for row in rows] == ["100", "200"]
    assert float(rows[1]["UpdatesPerStep"]) == float(rows[1]["AskedUpdatesPerStep"]) == 1.0
    names = list(rows[0])
    after = names.index("StepsPerSecond") + 1
    assert names[after : after + 9] == [
        "AskedUpdatesPerStep", "UpdatesPerStep", "Staleness", "MaxStaleness", "LearnerWait", "CollectorWait",
        "BlocksRefused", "CollectorRestarts", "SaturatedActions",
    ]  # fmt: skip
    assert names[-1] == "GradNormQ"
    assert 0 < float(rows[1]["MaxStaleness"]) <= 100
    # The fake answers at once, so that two runs are the same.
    other, _ = train(tmp_path / "b", epochs=2, **{**fixed, "transport": FakeTransport()})
    assert parameters(ac).equal(parameters(other))
    ac, rows = train(tmp_path / "a", epochs=4, resume=True, **{**fixed, "transport": FakeTransport()})
    assert [row["TotalEnvInteracts"] for row in rows] == ["100", "200", "300", "400"]
    assert float(rows[3]["UpdatesPerStep"]) == 1.0


def test_lockstep_equals_local_bit_for_bit(tmp_path: Path) -> None:
    fixed: dict[str, Any] = {"env_fn": Point, "alpha": "auto", "n_step": 2, "steps_per_epoch": 60}
    fixed |= {"hold_noise": 4, "normalize_rewards": True}
    local, rows = train(tmp_path / "local", num_envs=6, epochs=3, **fixed)
    apart = {"num_envs": 2, "collectors": 3, "collect": "lockstep", **fixed}
    remote_ac, remote_rows = train(tmp_path / "remote", epochs=3, transport=FakeTransport(), **apart)
    assert parameters(local).equal(parameters(remote_ac))
    known = list(without_timing(rows)[0])
    assert [{k: row[k] for k in known} for row in remote_rows] == without_timing(rows)
    # ... also when it is stopped and resumed
    train(tmp_path / "half", epochs=1, transport=FakeTransport(), **apart)
    resumed, _ = train(tmp_path / "half", epochs=3, resume=True, transport=FakeTransport(), **apart)
    assert parameters(local).equal(parameters(resumed))


class ReversedTransport(FakeTransport):
    """Answers arrive in the opposite order, each twice, one at a time, after one of an earlier start."""

    def receive(self, timeout: float) -> list[Message]:
        """The newest answer, twice."""
        if not self.inbox:
            return []
        message = self.inbox.pop()
        return [message._replace(incarnation=message.incarnation - 1), message, message]


def test_lockstep_merges_in_the_order_of_collectors_whatever_the_order_of_arrival(tmp_path: Path) -> None:
    apart: dict[str, Any] = {"env_fn": Point, "num_envs": 2, "collectors": 3, "collect": "lockstep"}
    apart |= {"steps_per_epoch": 60, "epochs": 1}
    one, _ = train(tmp_path / "a", transport=FakeTransport(), **apart)
    other, _ = train(tmp_path / "b", transport=ReversedTransport(), **apart)
    assert parameters(one).equal(parameters(other))


def normalizing() -> Any:
    """An environment that normalizes by running statistics."""
    return NormalizeObservation(Point())


def test_lockstep_keeps_statistics_of_wrappers(tmp_path: Path) -> None:
    fixed: dict[str, Any] = {"env_fn": normalizing, "steps_per_epoch": 60, "num_test_episodes": 0}
    local, _ = train(tmp_path / "local", num_envs=2, epochs=2, **fixed)
    apart = {"collectors": 2, "collect": "lockstep", **fixed}
    train(tmp_path / "remote", epochs=1, transport=FakeTransport(), **apart)
    resumed, _ = train(tmp_path / "remote", epochs=2, resume=True, transport=FakeTransport(), **apart)
    assert parameters(local).equal(parameters(resumed))


class DyingTransport(FakeTransport):
    """Loses collector 1 in its 20th request of the run, once."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def send(self, collector: int, request: bytes, policy: bytes = b"") -> None:
        """Queue a request, or lose the collector."""
        self.count += collector == 1
        if collector == 1 and self.count == 20:
            self.kill(1)
        else:
            super().send(collector, request, policy)


def test_lockstep_restarts_a_lost_collector(tmp_path: Path) -> None:
    wire = DyingTransport()
    apart: dict[str, Any] = {"env_fn": Point, "collectors": 3, "collect": "lockstep", "epochs": 1}
    _, rows = train(tmp_path, transport=wire, steps_per_epoch=60, **apart)
    assert rows[0]["TotalEnvInteracts"] == "60"
    assert rows[0]["CollectorRestarts"] == "3"
    assert wire.incarnations == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize(("changes", "line"), [
    ({"collectors": 0}, r"^collectors=0: give a whole number >= 1 and < 2\*\*20$"),
    ({"collectors": 1.5}, r"^collectors=1.5: give a whole number"),
    ({"collect": "lockstep"}, r"^collect='lockstep' has no effect without collectors: give their number"),
    ({"max_staleness": 5}, r"^max_staleness=5 has no effect without collectors"),
    ({"ray": "auto"}, r"^ray='auto' has no effect without collectors"),
    ({"collectors": 2, "ray": ""}, r"^ray='': give the address of a Ray cluster"),
    ({"collectors": 2, "collect": "sync"}, r"^collect='sync': give one of async, lockstep"),
    ({"collectors": 2, "max_staleness": 0}, r"^max_staleness=0: give a whole number >= 1"),
    ({"collectors": 8, "max_staleness": 57}, r"^max_staleness=57 is less than [^\n]* max_staleness=58$"),
    ({"collectors": 3, "collect": "lockstep"}, r"^collectors=3 times num_envs=1 must divide steps"),
])  # fmt: skip
def test_settings_that_do_not_fit_are_named(changes: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigError, match=line):
        SACConfig(**changes)


def test_async_collectors_need_not_divide_an_epoch() -> None:
    assert SACConfig(collectors=3, num_envs=7).total_envs == 21


def test_a_transport_without_collectors_and_a_vector_with_them_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^transport is used only with collectors: give their number"):
        train(tmp_path / "a", transport=FakeTransport())
    with pytest.raises(ConfigError, match=r"^env_fn returned a vector of environments, and each collector"):
        train(tmp_path / "b", lambda: SyncVectorEnv([Point] * 3), collectors=2, transport=FakeTransport())


@pytest.mark.parametrize("collect", ["async", "lockstep"])
def test_an_env_fn_that_cannot_be_sent_is_refused(tmp_path: Path, collect: str) -> None:
    lock = threading.Lock()

    def make() -> Any:
        return Point() if lock else None

    with pytest.raises(
        ConfigError, match=r"^env_fn or actor_critic cannot be sent to collectors \(TypeError: [^\n]*$"
    ):
        train(tmp_path, make, collectors=2, collect=collect, steps_per_epoch=100, transport=FakeTransport())


@pytest.mark.parametrize("collect", ["async", "lockstep"])
def test_an_env_fn_that_raises_in_a_collector_is_named(
    tmp_path: Path, collect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ElsewhereTransport(FakeTransport):
        def start(self, collector: int, incarnation: int) -> None:
            monkeypatch.setenv("ELSEWHERE", "1")
            super().start(collector, incarnation)

    def make() -> Any:
        if os.environ.get("ELSEWHERE"):
            raise OSError("no display")
        return Point()

    with pytest.raises(EnvError, match=r"^[^\n]*raised OSError: no display[^\n]*$"):
        train(tmp_path, make, collectors=2, collect=collect, transport=ElsewhereTransport())


def test_a_user_module_acts_in_collectors(tmp_path: Path) -> None:
    fixed: dict[str, Any] = {"env_fn": Point, "collectors": 2, "actor_critic": FourCalls, "epochs": 1}
    one, rows = train(tmp_path / "a", transport=FakeTransport(), **fixed)
    other, _ = train(tmp_path / "b", transport=FakeTransport(), **fixed)
    assert rows[0]["TotalEnvInteracts"] == "100"
    assert parameters(one).equal(parameters(other))
