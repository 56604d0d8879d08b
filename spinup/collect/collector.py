"""Collector: steps N environments and makes transitions from the results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.collect import crash_recovery
from spinup.collect.episodes import EpisodeState
from spinup.envs.spaces import ActionSpec, action_spec, flat_observation_space, image_layout
from spinup.envs.validation import checked_observations, checked_rewards
from spinup.envs.vector import Bools, EnvVector, StepResult
from spinup.envs.workers import EnvCrash
from spinup.errors import EnvError, TrainingDiverged
from spinup.interfaces import Act, Collected, Episode
from spinup.replay.transition import Transitions, transition_fields
from spinup.seeding import episode_seed

Float = NDArray[np.float32]


class EnvCollector:
    """Steps N environments, resets those whose episode ended, and counts steps.

    An episode ends if the MDP terminates, or if it is truncated by the environment or at `max_ep_len`. Only a
    termination sets `terminated`, so targets bootstrap at truncations.

    Args:
        vector: the environments.
        seed: the run's seed; each episode is reset with its own seed derived from it.
        stream: TRAIN_STREAM or TEST_STREAM.
        max_ep_len: maximum episode length in steps.
        first_env: index of the first environment among those of all collectors.

    Attributes:
        obs: the observations to act on, (N, obs_dim) float32; (N, bytes) uint8 if observations have images.
        layout: the layout of observations with images; None without images.
        env_steps: number of steps so far, over all environments.

    Raises:
        EnvError: for unsupported spaces, values that are not finite, or shapes that do not match the
            declared spaces.
    """

    def __init__(
        self, vector: EnvVector, *, seed: int, stream: int, max_ep_len: int, first_env: int = 0
    ) -> None:
        self.vector, self.seed, self.stream, self.max_ep_len = vector, seed, stream, max_ep_len
        self.first_env = first_env
        self.num_envs = vector.num_envs
        self.observation_space = flat_observation_space(vector.original_space)
        self.layout = image_layout(vector.original_space)
        self.actions: ActionSpec = action_spec(vector.action_space)
        (obs_dim,), dtype = self.observation_space.shape, self.observation_space.dtype
        self.fields = transition_fields(obs_dim, self.actions.dim, dtype)
        self.obs: NDArray[Any] = np.zeros((self.num_envs, obs_dim), dtype)
        self.episodes = [EpisodeState(-1) for _ in range(self.num_envs)]
        self.started = False
        self.env_steps = 0
        self.restarts = 0
        self._env_index = np.arange(first_env, first_env + self.num_envs, dtype=np.int32)
        _check_own_limit(vector, max_ep_len)

    def start(self) -> None:
        """Start the first episode in every environment, unless this was done before."""
        if not self.started:
            self.start_at(0)

    def start_at(self, first_episode: int) -> None:
        """Start episode number `first_episode` in every environment."""
        for episode in self.episodes:
            episode.number = first_episode - 1
        self.begin(np.ones(self.num_envs, np.bool_))
        self.started = True

    def collect(self, act: Act) -> Collected:
        """Act once in every environment. After a crash, all are rebuilt and the result has only a note.

        Raises:
            EnvError: after too many restarts, or see `step`.
        """
        actions = self.actions.clip(act(self.obs))
        try:
            return Collected(*self.step(actions))
        except EnvCrash as crash:
            return Collected({}, [], crash_recovery.restart(self, crash))

    def step(self, actions: Float) -> tuple[Transitions, list[Episode]]:
        """Step every environment.

        Args:
            actions: (N, act_dim) float32, in the environment's units (indices for discrete actions).

        Returns:
            The transitions by field (see `transition_fields`), N rows, or fewer if a vector environment used
            the step to reset some environments; and the episodes that ended.

        Raises:
            EnvError, EnvCrash: if an environment fails.
            TrainingDiverged: if an environment fails and an action is NaN or infinite.
        """
        try:
            result = self.vector.step(self.actions.to_env(actions))
            next_obs = self.observe(result.next_obs)
            reward = checked_rewards(result.reward, self.num_envs, self._where)
        except (EnvError, EnvCrash) as error:
            if np.isfinite(actions).all():
                raise
            raise TrainingDiverged(
                f"the policy's action became NaN in env step {self.env_steps + 1}: lower the learning rate, "
                "or scale the rewards; if the actor-critic is your own, check its `act`"
            ) from error
        starts = np.array([episode.length == 0 for episode in self.episodes])
        transitions: Transitions = {
            "obs": self.obs, "action": actions, "reward": reward, "terminated": result.terminated.copy(),
            "next_obs": next_obs, "env": self._env_index, "episode_start": starts,
        }  # fmt: skip
        if not result.valid.all():
            transitions = {name: column[result.valid] for name, column in transitions.items()}
        ended = self._ended(result)
        following = self._follow(next_obs, ended)
        # Nothing can fail from here on, so an error above leaves the collector's state unchanged.
        finished: list[Episode] = []
        for i in np.flatnonzero(result.valid).tolist():
            episode = self.episodes[i]
            episode.length += 1
            episode.ret += float(reward[i])
            episode.actions.append(actions[i].copy())
            if ended[i]:
                finished.append(Episode(self.first_env + i, episode.ret, episode.length))
        self.env_steps += len(transitions["reward"])
        self._commit(*following)
        return transitions, finished

    def state_dict(self) -> dict[str, Any]:
        """The step count, the running episodes and the observations to act on."""
        return {"env_steps": self.env_steps, **crash_recovery.collector_state(self)}

    def load_state_dict(self, state: dict[str, Any]) -> str:
        """Continue where `state` was taken; returns a line about restarted episodes, or ""."""
        self.env_steps = state["env_steps"]
        return crash_recovery.restore_collector(self, state)

    def metrics(self) -> dict[str, float]:
        """Columns of the epoch's row if environments are remote; empty otherwise."""
        return self.vector.metrics()

    def new_epoch(self) -> None:
        """Reset the statistics of `metrics`."""
        self.vector.new_epoch()

    def close(self) -> None:
        """Close the environments."""
        self.vector.close()

    def seed_of(self, env: int, episode: int) -> int:
        """The seed of episode number `episode` of environment `env`."""
        return episode_seed(self.seed, self.stream, self.first_env + env, episode)

    def observe(self, observations: Any) -> Float:
        """Flatten and check observations that the vector returned; shape and dtype are those of `obs`."""
        return checked_observations(self.vector, observations, self.obs.shape, self._where, self.layout)

    def begin(self, mask: Bools) -> None:
        """Start the next episode in each environment for which `mask`, (N,) bool, is True."""
        self._commit(*self._begin(mask, self.obs))

    def _ended(self, result: StepResult) -> Bools:
        over = result.terminated | result.truncated
        cut = np.array([episode.length + 1 >= self.max_ep_len for episode in self.episodes])
        if self.vector.resets_itself and (cut & ~over & result.valid).any():
            raise EnvError(_CUT_SHORT.format(self.max_ep_len))
        ended: Bools = (over | cut) & result.valid
        return ended

    def _follow(self, next_obs: Float, ended: Bools) -> tuple[Float, dict[int, EpisodeState]]:
        """The observations to act on after `next_obs`, and the episodes that begin with them."""
        if not ended.any():
            return next_obs, {}
        if self.vector.resets_itself:
            begun = {int(i): EpisodeState(self.episodes[i].number + 1) for i in np.flatnonzero(ended)}
            return self.observe(self.vector.next_observations()), begun
        return self._begin(ended, next_obs)

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
        episode = self.episodes[i]
        if episode.number < 0:
            return "in the first reset"
        return f"in step {episode.length} of episode {episode.number}"


def random_then_policy(
    obs: Float, at_random: int, actions: ActionSpec, rng: Generator, policy: Callable[[Float], Float]
) -> Float:
    """Actions (N, act_dim) for `obs` (N, obs_dim): random for the first `at_random`, then the policy's."""
    if at_random >= len(obs):
        return actions.sample(rng, len(obs))
    chosen = policy(obs)
    if at_random > 0:
        chosen = chosen.copy()
        chosen[:at_random] = actions.sample(rng, at_random)
    return chosen


_CUT_SHORT = (
    "max_ep_len={} is shorter than the vector environment's own episodes, which only it can end: "
    "give max_ep_len at least its own limit, or set the limit in the environment"
)


def _check_own_limit(vector: EnvVector, max_ep_len: int) -> None:
    own = None if vector.spec is None else vector.spec.max_episode_steps
    if own is not None:  # the limit given to gymnasium.make_vec is among the keyword arguments
        own = vector.spec.kwargs.get("max_episode_steps", own)
    if vector.resets_itself and own is not None and max_ep_len < own:
        raise EnvError(_CUT_SHORT.format(max_ep_len))
