"""Episodes: seeds, lengths, returns, and the transitions of N environments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spinup.config import SACConfig
from spinup.data.replay import Layout
from spinup.data.spaces import ActionSpec, action_spec, flat_observation_space
from spinup.data.vector import EnvFn, OwnVector, Vector, env_function, flatten_batch, make_vector
from spinup.errors import EnvError

Float = NDArray[np.float32]
TRAIN_STREAM, TEST_STREAM = 1, 2
MAX_TEST_ENVS = 10


def episode_seed(seed: int, stream: int, env: int, episode: int) -> int:
    """The seed of one episode, derived without state (CONTRACT: the loop)."""
    return int(np.random.SeedSequence([seed, stream, env, episode]).generate_state(1)[0])


@dataclass(frozen=True)
class Episode:
    """A finished episode."""

    env: int
    ret: float
    length: int


@dataclass
class EpisodeState:
    """The running episode of one environment: enough to run it again from its seed."""

    number: int
    ret: float
    length: int
    actions: list[Float]


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
        self.episodes = [EpisodeState(0, 0.0, 0, []) for _ in range(self.num_envs)]
        _check_own_limit(vector, max_ep_len)

    def start(self, first_episode: int = 0) -> None:
        """Begin episode number `first_episode` in every environment."""
        for episode in self.episodes:
            episode.number = first_episode - 1
        self._begin(np.ones(self.num_envs, np.bool_))

    def step(self, actions: Float) -> tuple[Float, list[Episode]]:
        """Act once in every environment.

        Args:
            actions: (N, act_dim) float32, in the environment's units (indices for discrete actions).

        Returns:
            The rows of the transitions made, (M, layout.width) float32, M = N unless a vector
            environment spent a row on its own reset; and the episodes that ended.
        """
        out = self.vector.step(self.actions.to_env(actions))
        o2, r = self._observe(out.o2), self._check_rewards(out.r)
        finished: list[Episode] = []
        ended = np.zeros(self.num_envs, np.bool_)
        for i in np.flatnonzero(out.valid):
            episode = self.episodes[i]
            episode.length += 1
            episode.ret += float(r[i])
            episode.actions.append(actions[i].copy())
            cut = episode.length >= self.max_ep_len
            ended[i] = out.terminated[i] or out.truncated[i] or cut
            if ended[i]:
                finished.append(Episode(int(i), episode.ret, episode.length))
            if cut and self.vector.resets_itself and not (out.terminated[i] or out.truncated[i]):
                raise EnvError(_CUT_SHORT.format(self.max_ep_len))
        rows = self.layout.rows(self.obs, actions, r, out.terminated.astype(np.float32), o2)[out.valid]
        self._advance(o2, ended)
        return rows, finished

    def close(self) -> None:
        """Close the environments."""
        self.vector.close()

    def _advance(self, o2: Float, ended: NDArray[np.bool_]) -> None:
        if self.vector.resets_itself:
            self.obs = self._observe(self.vector.observations()) if ended.any() else o2
            for i in np.flatnonzero(ended):
                self.episodes[i] = EpisodeState(self.episodes[i].number + 1, 0.0, 0, [])
        else:
            self.obs = o2
            if ended.any():
                self._begin(ended)

    def _begin(self, mask: NDArray[np.bool_]) -> None:
        seeds: list[int | None] = [None] * self.num_envs
        for i in np.flatnonzero(mask):
            number = self.episodes[i].number + 1
            self.episodes[i] = EpisodeState(number, 0.0, 0, [])
            seeds[i] = episode_seed(self.seed, self.stream, int(i), number)
        obs = self._observe(self.vector.reset(mask, seeds))
        self.obs = np.where(mask[:, None], obs, self.obs)

    def _observe(self, observations: Any) -> Float:
        try:
            flat = flatten_batch(self.vector.observation_space, observations, self.num_envs)
        except (ValueError, TypeError, KeyError) as error:
            raise EnvError(
                f"the environment returned an observation that does not fit its space "
                f"{self.vector.observation_space}: {error}; mend the space or the observation"
            ) from None
        if flat.shape != self.obs.shape:
            raise EnvError(
                f"the environment returned observations of {flat.shape[-1]} numbers, but its space "
                f"{self.vector.observation_space} declares {self.layout.obs_dim}: mend one of them"
            )
        if not np.isfinite(flat).all():
            i, j = np.argwhere(~np.isfinite(flat))[0]
            raise EnvError(
                f"environment {i} returned the observation value {flat[i, j]} at index {j}, in step "
                f"{self.episodes[i].length} of episode {self.episodes[i].number}: mend the environment; "
                "what was collected before is kept"
            )
        return flat

    def _check_rewards(self, rewards: NDArray[np.float64]) -> Float:
        with np.errstate(over="ignore"):
            r = rewards.astype(np.float32)
        if r.shape != (self.num_envs,):
            raise EnvError(f"the environment returned rewards of shape {r.shape}: they must be plain numbers")
        if not np.isfinite(r).all():
            i = int(np.flatnonzero(~np.isfinite(r))[0])
            raise EnvError(
                f"environment {i} returned the reward {rewards[i]} in step {self.episodes[i].length} of "
                f"episode {self.episodes[i].number}: mend the environment; what was collected before is kept"
            )
        return r


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
