"""Environments in other processes that step together; results are bitwise equal to local environments.

The learner computes all actions; collectors only step their environments. Answers are merged in the order of
the collectors, regardless of the order in which they arrive.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from spinup.collect.messages import MessageError, pack, unpack
from spinup.collect.remote_worker import described
from spinup.collect.transport import Transport, pickled_program
from spinup.config import SACConfig
from spinup.envs.episode_replay import EpisodeHistory, Statistics
from spinup.envs.local_vector import LocalVector
from spinup.envs.make import EnvFactory, EnvFn
from spinup.envs.vector import Bools, EnvVector, StepResult
from spinup.envs.workers import EnvCrash
from spinup.errors import EnvError

START_SECONDS = 300.0  # for all collectors to start


@dataclass(frozen=True)
class VectorProgram:
    """Makes the worker that steps the environments of one collector; see CollectorProgram."""

    env_fn: Callable[[], gym.Env[Any, Any]]
    num_envs: int
    workers: str
    timeout: float

    def __call__(self, collector: int, incarnation: int) -> VectorWorker:
        return VectorWorker(self, collector, incarnation)


class VectorWorker:
    """Answers the requests of a `RemoteVector`, each of which calls a method of a LocalVector."""

    def __init__(self, program: VectorProgram, collector: int, incarnation: int) -> None:
        self.program, self.collector, self.incarnation = program, collector, incarnation
        self.vector: LocalVector | None = None
        self._idle_since = time.perf_counter()

    def run(self, request: bytes, policy: bytes) -> bytes:
        """Answer one request; an exception of an environment becomes an answer of kind "error"."""
        idle = time.perf_counter() - self._idle_since
        number = -1
        answer: dict[str, Any]
        try:
            asked = unpack(request)
            number = asked["number"]
            answer = {"kind": "result", **getattr(self, f"_{asked['call']}")(**asked["arguments"])}
        except EnvCrash as crash:
            answer = {"kind": "error", "error": str(crash), "final": False, "broken": crash.broken}
        except Exception as error:
            broken = list(range(self.program.num_envs))
            answer = {"kind": "error", "broken": broken, **described(error)}
        self._idle_since = time.perf_counter()
        return pack(
            {
                **answer,
                "number": number,
                "collector": self.collector,
                "incarnation": self.incarnation,
                "idle": idle,
            }
        )

    def _open(self) -> dict[str, Any]:
        if self.vector is None:
            p = self.program
            self.vector = LocalVector(p.env_fn, p.num_envs, p.workers, p.timeout)
        return {}

    def _step(self, actions: NDArray[Any]) -> dict[str, Any]:
        assert self.vector is not None
        return vars(self.vector.step(actions))

    def _reset(self, mask: Bools, seeds: list[int | None]) -> dict[str, Any]:
        assert self.vector is not None
        return {"observations": self.vector.reset(mask, seeds)}

    def _statistics(self) -> dict[str, Any]:
        assert self.vector is not None
        return {"statistics": self.vector.statistics()}

    def _restore_statistics(self, values: list[Statistics | None]) -> dict[str, Any]:
        assert self.vector is not None
        self.vector.restore_statistics(values)
        return {}

    def _replay_episodes(
        self, mask: Bools, seeds: list[int | None], histories: list[dict[str, Any]]
    ) -> dict[str, Any]:
        assert self.vector is not None
        past = [EpisodeHistory(h["statistics"], list(h["actions"])) for h in histories]
        observations, replayed = self.vector.replay_episodes(mask, seeds, past)
        return {"observations": observations, "replayed": replayed}


@final
class RemoteVector(EnvVector):
    """Environments in `collectors` processes, `num_envs` in each.

    Args:
        env_fn: returns an environment.
        config: the run's hyperparameters.
        transport: connection to the collectors.
        like: a local vector of the same environments, which provides their spaces and spec.

    Raises:
        ConfigError: if `env_fn` cannot be pickled.
        EnvError: if a collector cannot make the environments.
        EnvCrash: if a collector was lost.
    """

    resets_itself = False

    def __init__(self, env_fn: EnvFn, config: SACConfig, transport: Transport, like: EnvVector) -> None:
        assert config.collectors is not None
        self.config, self.transport = config, transport
        self.num_envs = config.total_envs
        self.observation_space, self.action_space = like.observation_space, like.action_space
        self.spec, self.original_space = like.spec, like.original_space
        self._incarnation = self._number = -1
        self._restarts = self._refused = 0
        self._learner_wait = self._collector_wait = 0.0
        self._parts = [slice(i, i + config.num_envs) for i in range(0, self.num_envs, config.num_envs)]
        program = VectorProgram(EnvFactory(env_fn), config.num_envs, config.env_workers, config.env_timeout)
        transport.open(pickled_program(program), config.collectors)
        self._start()
        self.keeps_statistics = any(self.statistics())

    def reset(self, mask: Bools, seeds: list[int | None]) -> Any:
        answers = self._call("reset", {
            i: {"mask": mask[part], "seeds": seeds[part]}
            for i, part in enumerate(self._parts) if mask[part].any()
        })  # fmt: skip
        return self._observations(answers)

    def step(self, actions: NDArray[Any]) -> StepResult:
        answers = self._call("step", {i: {"actions": actions[part]} for i, part in enumerate(self._parts)})
        names = ("next_obs", "reward", "terminated", "truncated", "valid")
        return StepResult(*(np.concatenate([answers[i][name] for i in sorted(answers)]) for name in names))

    def next_observations(self) -> Any:
        raise AssertionError("a vector without autoreset returns observations from reset")

    def statistics(self) -> list[Statistics]:
        answers = self._call("statistics", {i: {} for i in range(len(self._parts))})
        return [values for i in sorted(answers) for values in answers[i]["statistics"]]

    def restore_statistics(self, values: list[Statistics | None]) -> None:
        parts = enumerate(self._parts)
        self._call("restore_statistics", {i: {"values": list(values[part])} for i, part in parts})

    def replay_episodes(
        self, mask: Bools, seeds: list[int | None], histories: list[EpisodeHistory]
    ) -> tuple[Any, list[int]]:
        past = [{"statistics": h.statistics, "actions": np.array(h.actions)} for h in histories]
        longest = max(len(history.actions) for history in histories)
        answers = self._call("replay_episodes", {
            i: {"mask": mask[part], "seeds": seeds[part], "histories": past[part]}
            for i, part in enumerate(self._parts) if mask[part].any()
        }, 1 + longest)  # fmt: skip
        replayed = [-1] * self.num_envs
        for i, answer in answers.items():
            replayed[self._parts[i]] = answer["replayed"]
        return self._observations(answers), replayed

    def rebuild(self) -> None:
        self._restarts += len(self._parts)
        self._start()

    def metrics(self) -> dict[str, float]:
        return {
            "Staleness": 0.0, "MaxStaleness": 0.0, "LearnerWait": self._learner_wait,
            "CollectorWait": self._collector_wait / len(self._parts), "BlocksRefused": self._refused,
            "CollectorRestarts": self._restarts,
        }  # fmt: skip

    def new_epoch(self) -> None:
        self._learner_wait = self._collector_wait = 0.0

    def close(self) -> None:
        self.transport.close()

    def _start(self) -> None:
        self._incarnation += 1
        for i in range(len(self._parts)):
            self.transport.start(i, self._incarnation)
        self._call("open", {i: {} for i in range(len(self._parts))}, timeout=START_SECONDS)

    def _observations(self, answers: dict[int, dict[str, Any]]) -> Any:
        """The observations in `answers`, with zeros for the environments of collectors without an answer."""
        shape, dtype = self.observation_space.shape, self.observation_space.dtype
        assert shape is not None
        observations = np.zeros((self.num_envs, *shape), dtype)
        for i, answer in answers.items():
            observations[self._parts[i]] = answer["observations"]
        return observations

    def _call(
        self, call: str, arguments: dict[int, dict[str, Any]], steps: int = 1, timeout: float | None = None
    ) -> dict[int, dict[str, Any]]:
        """Call a method of the collectors' vectors; returns the answers by collector.

        Args:
            call: name of the method.
            arguments: keyword arguments of the call, by collector.
            steps: number of environment steps in the call.
            timeout: seconds; by default `env_timeout` for each step.

        Raises:
            EnvError: if an environment failed with an error that would recur after a restart.
            EnvCrash: if an environment raised, or a collector was lost or does not answer.
        """
        self._number += 1
        for i, kwargs in arguments.items():
            self.transport.send(i, pack({"call": call, "number": self._number, "arguments": kwargs}))
        answers: dict[int, dict[str, Any]] = {}
        limit = self.config.env_timeout * steps if timeout is None else timeout
        began = time.monotonic()
        while len(answers) < len(arguments):
            left = began + limit - time.monotonic()
            messages = self.transport.receive(min(max(left, 0.0), 1.0))
            if not messages and left <= 0:
                silent = [i for i in arguments if i not in answers]
                raise EnvCrash(f"gave no answer within {limit:g} seconds", self._envs(silent))
            for message in messages:
                if message.incarnation != self._incarnation:
                    self._refused += message.body is not None
                elif message.body is None:
                    raise EnvCrash(f"was lost ({message.reason})", self._envs([message.collector]))
                else:
                    self._take(message.body, answers)
        self._learner_wait += time.monotonic() - began
        self._collector_wait += sum(answer["idle"] for answer in answers.values())
        return answers

    def _take(self, body: bytes, answers: dict[int, dict[str, Any]]) -> None:
        try:
            answer = unpack(body)
            i, kind = answer["collector"], answer["kind"]
            if (answer["incarnation"], answer["number"]) != (self._incarnation, self._number) or i in answers:
                self._refused += 1
                return
        except (MessageError, KeyError) as error:
            raise EnvCrash(f"sent an invalid answer ({error})", list(range(self.num_envs))) from None
        if kind == "error" and answer["final"]:
            raise EnvError(f"collector {i}: {answer['error']}")
        if kind == "error":
            first = self._parts[i].start
            raise EnvCrash(answer["error"], [first + env for env in answer["broken"]])
        answers[i] = answer

    def _envs(self, collectors: list[int]) -> list[int]:
        return [env for i in collectors for env in range(self.num_envs)[self._parts[i]]]
