"""Going back to the running episodes: after a crash of an environment, and when a run is resumed."""

from __future__ import annotations

from typing import Any

import numpy as np

from spinup.collect.collector import Collector, EpisodeState
from spinup.envs.episode_replay import Past, Statistics
from spinup.envs.workers import EnvCrash
from spinup.errors import EnvError

MAX_RESTARTS = 5


def collector_state(collector: Collector) -> dict[str, Any]:
    """The running episodes and the observations to act on, as arrays, numbers and strings."""
    episodes = collector.episodes
    dim = collector.actions.dim
    try:
        now = collector.vector.statistics()
    except EnvCrash:  # it is being stopped for that; its episodes will begin anew
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


def restore_collector(collector: Collector, state: dict[str, Any]) -> str:
    """Go back to where `collector_state` was taken.

    Each running episode is run again from its seed. Where that does not lead to the very observation that
    was stored, a new episode begins.

    Returns:
        A line that says where that was so, or nothing.
    """
    saved = [state["episodes"][str(i)] for i in range(collector.num_envs)]
    collector.episodes = [EpisodeState(**{**e, "actions": list(e["actions"])}) for e in saved]
    collector.obs = np.array(state["obs"], np.float32).reshape(collector.obs.shape)
    collector.started = bool(state["started"])
    now = [state["statistics"][str(i)] for i in range(len(state["statistics"]))]
    if not collector.started:
        return ""
    try:
        lost = _rewind(collector, [], now)
    except EnvCrash as crash:
        return restart(collector, crash)
    if not lost:
        return ""
    return f"environment {_list(lost)} cannot repeat its running episode exactly: it begins a new one"


def restart(collector: Collector, crash: EnvCrash) -> str:
    """Rebuild the environments after a crash, and go back to the running episodes.

    The partial episode of a broken environment is discarded: it begins another, with another seed, and
    its wrappers forget what they learned in the discarded one.

    Returns:
        A line that says so.

    Raises:
        EnvError: after MAX_RESTARTS of them.
    """
    broken = set(crash.broken)
    while True:
        rebuild(collector, crash)
        try:
            lost = _rewind(collector, sorted(broken), [e.statistics for e in collector.episodes])
            break
        except EnvCrash as again:  # another broke while it ran its episode again
            crash, broken = again, broken | set(again.broken)
    others = [i for i in lost if i not in broken]
    tail = f"; so is that of environment {_list(others)}, which does not repeat itself" if others else ""
    return f"environment {_list(sorted(broken))} {crash}: restarted, its running episode is discarded{tail}"


def rebuild(collector: Collector, crash: EnvCrash) -> None:
    """Replace the environments by new ones.

    Raises:
        EnvError: after MAX_RESTARTS of them.
    """
    if collector.restarts == MAX_RESTARTS:
        raise EnvError(
            f"environment {_list(crash.broken)} {crash}, after {MAX_RESTARTS} restarts: mend it, then resume "
            "the run"
        ) from crash
    collector.restarts += 1
    collector.vector.rebuild()


def _rewind(collector: Collector, skipped: list[int], now: list[Statistics]) -> list[int]:
    """Run the running episodes again, all but those of `skipped`.

    An environment that is skipped, or does not come back to the observation it had, has its statistics set
    to `now` and begins a new episode. Returns these environments.
    """
    vector, episodes = collector.vector, collector.episodes
    lost = np.isin(np.arange(collector.num_envs), skipped)
    if not lost.all():
        seeds: list[int | None] = [collector.seed_of(i, e.number) for i, e in enumerate(episodes)]
        pasts = [Past(e.statistics, _env_actions(collector, e)) for e in episodes]
        observations, replayed = vector.rewind(~lost, seeds, pasts)
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


def _env_actions(collector: Collector, episode: EpisodeState) -> list[Any]:
    if not episode.actions:
        return []
    return list(collector.actions.to_env(np.array(episode.actions, np.float32)))


def _list(envs: list[int]) -> str:
    return ", ".join(map(str, envs))
