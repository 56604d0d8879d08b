"""Episodes: seeds, lengths, returns, and the transitions of N environments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.config import SACConfig
from spinup.envs.episode_replay import Statistics
from spinup.envs.local_vector import OwnVector
from spinup.envs.make import EnvFn, env_function, make_vector
from spinup.envs.spaces import ActionSpec, action_spec, flat_observation_space
from spinup.envs.validation import checked_observations, checked_rewards
from spinup.envs.vector import Bools, Stepped, Vector
from spinup.errors import EnvError
from spinup.replay.storage import Layout

Float = NDArray[np.float32]
TRAIN_STREAM, TEST_STREAM = 1, 2
MAX_TEST_ENVS = 10


def episode_seed(seed: int, stream: int, env: int, episode: int) -> int:
    """The seed of one episode, derived without state."""
    return int(np.random.SeedSequence([seed, stream, env, episode]).generate_state(1)[0])


@dataclass(frozen=True)
class Episode:
    """A finished episode."""

    env: int
    ret: float
    length: int


@dataclass
class EpisodeState:
    """The running episode of one environment: enough to run it again from its seed.

    `statistics` is what the environment's wrappers had learned when the episode began.
    """

    number: int
    ret: float = 0.0
    length: int = 0
    actions: list[Float] = field(default_factory=list)
    statistics: Statistics = field(default_factory=dict)


class Collector:
    """Steps N environments and tells transitions from resets.

    `obs` holds the observations (N, obs_dim) float32 to act on. An episode ends where the MDP
    terminates (d = 1), or is cut by the environment or at `max_ep_len` (d = 0, so it bootstraps).

    Args:
        vector: the environments.
        seed: the run's seed; each episode is reset with a seed of its own derived from it.
        stream: TRAIN_STREAM or TEST_STREAM.
        max_ep_len: longest episode.

    Raises:
        EnvError: for spaces SAC cannot work with, values that are not finite, or shapes that do not
            match the declared spaces.
    """

    def __init__(self, vector: Vector, *, seed: int, stream: int, max_ep_len: int) -> None:
        self.vector, self.seed, self.stream, self.max_ep_len = vector, seed, stream, max_ep_len
        self.num_envs = vector.num_envs
        self.observation_space = flat_observation_space(vector.observation_space)
        self.actions: ActionSpec = action_spec(vector.action_space)
        self.layout = Layout(self.observation_space.shape[0], self.actions.dim)
        self.obs: Float = np.zeros((self.num_envs, self.layout.obs_dim), np.float32)
        self.episodes = [EpisodeState(-1) for _ in range(self.num_envs)]
        self.started = False
        self.restarts = 0
        _check_own_limit(vector, max_ep_len)

    def start(self, first_episode: int = 0) -> None:
        """Begin episode number `first_episode` in every environment."""
        for episode in self.episodes:
            episode.number = first_episode - 1
        self.begin(np.ones(self.num_envs, np.bool_))
        self.started = True

    def step(self, actions: Float) -> tuple[Float, list[Episode]]:
        """Act once in every environment.

        Args:
            actions: (N, act_dim) float32, in the environment's units (indices for discrete actions).

        Returns:
            The rows of the transitions made, (M, layout.width) float32, M = N unless a vector
            environment spent a row on its own reset; and the episodes that ended.
        """
        out = self.vector.step(self.actions.to_env(actions))
        o2, r = self.observe(out.o2), checked_rewards(out.r, self.num_envs, self._where)
        rows = self.layout.rows(self.obs, actions, r, out.terminated.astype(np.float32), o2)[out.valid]
        ended = self._ended(out)
        following = self._follow(o2, ended)
        # Nothing fails from here on: an error above leaves the state of before this step.
        finished: list[Episode] = []
        for i, valid in enumerate(out.valid.tolist()):
            if not valid:
                continue
            episode = self.episodes[i]
            episode.length += 1
            episode.ret += float(r[i])
            episode.actions.append(actions[i].copy())
            if ended[i]:
                finished.append(Episode(i, episode.ret, episode.length))
        self._commit(*following)
        return rows, finished

    def close(self) -> None:
        """Close the environments."""
        self.vector.close()

    def seed_of(self, env: int, episode: int) -> int:
        """The seed of an episode of one environment."""
        return episode_seed(self.seed, self.stream, env, episode)

    def observe(self, observations: Any) -> Float:
        """Observations as the vector returned them, flat and checked, (N, obs_dim) float32."""
        return checked_observations(self.vector, observations, self.obs.shape, self._where)

    def begin(self, mask: Bools) -> None:
        """Begin the next episode where mask is set."""
        self._commit(*self._begin(mask, self.obs))

    def _ended(self, out: Stepped) -> Bools:
        over = out.terminated | out.truncated
        cut = np.array([episode.length + 1 >= self.max_ep_len for episode in self.episodes])
        if self.vector.resets_itself and (cut & ~over & out.valid).any():
            raise EnvError(_CUT_SHORT.format(self.max_ep_len))
        ended: Bools = (over | cut) & out.valid
        return ended

    def _follow(self, o2: Float, ended: Bools) -> tuple[Float, dict[int, EpisodeState]]:
        """The observations to act on after o2, and the episodes that begin with them."""
        if not ended.any():
            return o2, {}
        if self.vector.resets_itself:
            begun = {int(i): EpisodeState(self.episodes[i].number + 1) for i in np.flatnonzero(ended)}
            return self.observe(self.vector.observations()), begun
        return self._begin(ended, o2)

    def _begin(self, mask: Bools, obs: Float) -> tuple[Float, dict[int, EpisodeState]]:
        learned = self.vector.statistics() if self.vector.keeps_statistics else [{}] * self.num_envs
        seeds: list[int | None] = [None] * self.num_envs
        begun: dict[int, EpisodeState] = {}
        for i in map(int, np.flatnonzero(mask)):
            number = self.episodes[i].number + 1
            begun[i] = EpisodeState(number, statistics=learned[min(i, len(learned) - 1)])
            seeds[i] = self.seed_of(i, number)
        observed = self.observe(self.vector.reset(mask, seeds))
        return np.where(mask[:, None], observed, obs), begun

    def _commit(self, obs: Float, begun: dict[int, EpisodeState]) -> None:
        self.obs = obs
        for i, episode in begun.items():
            self.episodes[i] = episode

    def _where(self, i: int) -> str:
        return f"in step {self.episodes[i].length} of episode {self.episodes[i].number}"


def make_collectors(env_fn: EnvFn | str, config: SACConfig) -> tuple[Collector, Collector]:
    """Environments to learn from and others to test on, with seeds of their own.

    Raises:
        EnvError, ConfigError: for what cannot work; nothing is left open then.
    """
    env_fn = env_function(env_fn)
    collectors: list[Collector] = []
    try:
        for stream in (TRAIN_STREAM, TEST_STREAM):
            num_envs = config.num_envs
            if stream == TEST_STREAM and isinstance(collectors[0].vector, OwnVector):
                num_envs = max(1, min(config.num_test_episodes, MAX_TEST_ENVS))
            vector = make_vector(env_fn, num_envs, config.env_workers, config.env_timeout)
            try:
                collectors.append(
                    Collector(vector, seed=config.seed, stream=stream, max_ep_len=config.max_ep_len)
                )
            except BaseException:
                vector.close()
                raise
    except BaseException:
        for collector in collectors:
            collector.close()
        raise
    return collectors[0], collectors[1]


def evaluate(
    collector: Collector, act: Callable[[Float], Float], episodes: int, round_number: int
) -> list[Episode]:
    """Run `episodes` test episodes, shared out evenly over the collector's environments.

    Each environment contributes a fixed number, so that short episodes are not over-represented. Their
    seeds follow from `round_number` alone, so a test neither needs nor leaves any state.
    """
    quota = np.full(collector.num_envs, episodes // collector.num_envs)
    quota[: episodes % collector.num_envs] += 1
    collector.start(round_number * int(quota.max(initial=0)))
    finished: list[Episode] = []
    while quota.any():
        for episode in collector.step(act(collector.obs))[1]:
            if quota[episode.env] > 0:
                quota[episode.env] -= 1
                finished.append(episode)
    return finished


_CUT_SHORT = (
    "max_ep_len={} is shorter than the vector environment's own episodes, which only it can end: "
    "give max_ep_len at least its own limit, or set the limit in the environment"
)


def _check_own_limit(vector: Vector, max_ep_len: int) -> None:
    own = getattr(vector.spec, "max_episode_steps", None)
    if vector.resets_itself and own is not None and max_ep_len < own:
        raise EnvError(_CUT_SHORT.format(max_ep_len))
