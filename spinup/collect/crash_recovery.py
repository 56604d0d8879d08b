"""Restoring running episodes: after a crash of an environment, and when a run is resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from spinup.collect.episodes import EpisodeState
from spinup.envs.episode_replay import EpisodeHistory, Statistics
from spinup.envs.workers import EnvCrash
from spinup.errors import EnvError

if TYPE_CHECKING:
    from spinup.collect.collector import EnvCollector

MAX_RESTARTS = 5


def collector_state(collector: EnvCollector) -> dict[str, Any]:
    """The running episodes and the observations to act on, as arrays, numbers and strings."""
    episodes, dim = collector.episodes, collector.actions.dim
    try:
        now = collector.vector.statistics()
    except EnvCrash:  # the run stops because of a crash; the resumed run starts new episodes
        now = [e.statistics for e in episodes]
    return {
        "started": collector.started,
        "obs": collector.obs.copy(),
        "episodes": {
            str(i): {**vars(e), "actions": np.array(e.actions, np.float32).reshape(len(e.actions), dim)}
            for i, e in enumerate(episodes)
        },
        "statistics": {str(i): values for i, values in enumerate(now)},
    }


def restore_collector(collector: EnvCollector, state: dict[str, Any]) -> str:
    """Continue where `collector_state` was taken.

    Each running episode is replayed from its seed. If the replay does not reproduce the stored observation
    exactly, a new episode begins in that environment.

    Returns:
        A line that names the environments with a new episode, or an empty string.
    """
    saved = [state["episodes"][str(i)] for i in range(collector.num_envs)]
    collector.episodes = [EpisodeState(**{**e, "actions": list(e["actions"])}) for e in saved]
    collector.obs = np.array(state["obs"], collector.obs.dtype).reshape(collector.obs.shape)
    collector.started = bool(state["started"])
    now = [state["statistics"][str(i)] for i in range(len(state["statistics"]))]
    if not collector.started:
        return ""
    try:
        lost = _replay(collector, [], now)
    except EnvCrash as crash:
        return restart(collector, crash)
    if not lost:
        return ""
    return f"environment {_list(lost)} cannot replay its running episode exactly: it begins a new one"


def restart(collector: EnvCollector, crash: EnvCrash) -> str:
    """Rebuild the environments after a crash, and replay the running episodes.

    The running episode of a broken environment is discarded: a new one with another seed starts, and its
    wrappers lose the statistics from the discarded one.

    Returns:
        A line for the log.

    Raises:
        EnvError: after MAX_RESTARTS restarts.
    """
    broken = set(crash.broken)
    while True:
        try:
            rebuild(collector, crash)
            lost = _replay(collector, sorted(broken), [e.statistics for e in collector.episodes])
            break
        except EnvCrash as again:  # another environment crashed while it was made, or during its replay
            crash, broken = again, broken | set(again.broken)
    others = [i for i in lost if i not in broken]
    tail = f"; so is that of environment {_list(others)}, whose replay differs" if others else ""
    return f"environment {_list(sorted(broken))} {crash}: restarted, its running episode is discarded{tail}"


def rebuild(collector: EnvCollector, crash: EnvCrash) -> None:
    """Replace the environments by new ones.

    Raises:
        EnvError: after MAX_RESTARTS restarts.
    """
    if collector.restarts == MAX_RESTARTS:
        raise EnvError(
            f"environment {_list(crash.broken)} {crash}, after {MAX_RESTARTS} restarts: fix the environment "
            "and resume the run"
        ) from crash
    collector.restarts += 1
    collector.vector.rebuild()


def _replay(collector: EnvCollector, skipped: list[int], now: list[Statistics]) -> list[int]:
    """Replay the running episodes, except in the environments `skipped`.

    If an environment is skipped, or its replay ends in a different observation, its statistics are set to
    `now` and a new episode starts. Returns the indices of the environments with a new episode.
    """
    vector, episodes = collector.vector, collector.episodes
    lost = np.isin(np.arange(collector.num_envs), skipped)
    if not lost.all():
        seeds: list[int | None] = [collector.seed_of(i, e.number) for i, e in enumerate(episodes)]
        histories = [EpisodeHistory(e.statistics, _env_actions(collector, e)) for e in episodes]
        observations, replayed = vector.replay_episodes(~lost, seeds, histories)
        for i, count in enumerate(replayed):
            lost[i] |= count != episodes[i].length
        if not lost.all():
            lost |= (collector.observe(observations) != collector.obs).any(axis=1)
    if lost.any():
        for i in skipped:
            episodes[i].number += 1  # its reset to the next episode may be what failed
        vector.restore_statistics([n if lost.all() or lost[i] else None for i, n in enumerate(now)])
        collector.begin(lost)
    return [int(i) for i in np.flatnonzero(lost)]


def _env_actions(collector: EnvCollector, episode: EpisodeState) -> list[Any]:
    if not episode.actions:
        return []
    return list(collector.actions.to_env(np.array(episode.actions, np.float32)))


def _list(envs: list[int]) -> str:
    return ", ".join(map(str, envs))
