"""Records episodes of a policy as a Minari dataset."""

from __future__ import annotations

import copy
import importlib.util
import re
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from spinup.errors import ConfigError, MissingExtraError
from spinup.playback.viewer import Viewer
from spinup.version import __version__

_ID = re.compile(r"([-_\w]+/)*[-_\w]+-v\d+")


def check_dataset_id(dataset_id: str) -> None:
    """Check that a dataset can be written under this id.

    Raises:
        ConfigError: if the id is not valid, or a dataset with this id exists.
        MissingExtraError: if minari or h5py is not installed.
    """
    if not _ID.fullmatch(dataset_id):
        raise ConfigError(f"dataset id {dataset_id!r}: give one like 'hopper/medium-v0', with its version")
    if not all(map(importlib.util.find_spec, ("minari", "h5py"))):
        raise MissingExtraError("recording a dataset needs Minari: pip install 'spinup[minari]'")
    from minari.storage import get_dataset_path

    if get_dataset_path(dataset_id).exists():
        raise ConfigError(
            f"a dataset {dataset_id!r} exists in {get_dataset_path()}: give another version, or delete it "
            f"with `minari delete {dataset_id}`"
        )


def record_episodes(
    env: Any,
    get_action: Callable[[Any], Any],
    dataset_id: str,
    num_episodes: int,
    max_ep_len: int | None = None,
    seed: int | None = None,
) -> tuple[int, float]:
    """Run episodes and write them as a Minari dataset, in Minari's folder of datasets.

    An episode that reaches `max_ep_len` is recorded as truncated.

    Args:
        env: a Gymnasium environment.
        get_action: from `load_policy_and_env`, or any function of an observation.
        dataset_id: such as "hopper/medium-v0".
        num_episodes: at least 1.
        max_ep_len: maximum episode length in steps; None uses only the environment's limit.
        seed: seed of the first reset.

    Returns:
        The number of steps, and the mean return.

    Raises:
        ConfigError, MissingExtraError: see `check_dataset_id`.
        EnvError: if the environment fails.
    """
    check_dataset_id(dataset_id)
    from minari import create_dataset_from_buffers
    from minari.data_collector import EpisodeBuffer

    viewer, episodes = Viewer(env), []
    for number in range(num_episodes):
        episode = _run_episode(viewer, get_action, max_ep_len, seed if number == 0 else None)
        spaces = {"observations": env.observation_space, "actions": env.action_space}
        stacked = {name: _stack(space, episode.pop(name)) for name, space in spaces.items()}
        episodes.append(EpisodeBuffer(id=number, **stacked, **episode))
    with warnings.catch_warnings():
        # Minari warns about missing metadata, such as author and permalink, which a run does not have.
        warnings.simplefilter("ignore")
        create_dataset_from_buffers(
            dataset_id,
            episodes,
            env=_portable_spec(env),
            observation_space=env.observation_space,
            action_space=env.action_space,
            algorithm_name=f"spinup {__version__}, SAC",
            jpeg_encoding=False,
        )
    return sum(map(len, episodes)), float(np.mean([sum(episode.rewards) for episode in episodes]))


def _portable_spec(env: Any) -> Any:
    """The environment's spec; None if JSON cannot represent it, as with a class for its entry point."""
    try:
        env.spec.to_json()
    except (AttributeError, TypeError, ValueError):
        return None
    return env.spec


def _run_episode(
    viewer: Viewer, get_action: Callable[[Any], Any], max_ep_len: int | None, seed: int | None
) -> dict[str, list[Any]]:
    """The steps of one episode by Minari's names; there is one more observation than there are steps."""
    names = ("observations", "actions", "rewards", "terminations", "truncations")
    found: dict[str, list[Any]] = {name: [] for name in names}
    observation, over = viewer.reset(seed), False
    found["observations"].append(copy.deepcopy(observation))  # an environment may reuse its arrays
    while not over:
        action = get_action(observation)
        observation, reward, terminated, truncated = viewer.transition(action)
        cut = bool(max_ep_len) and len(found["rewards"]) + 1 >= (max_ep_len or 0)
        step = (observation, action, reward, terminated, truncated or (cut and not terminated))
        for name, value in zip(names, step, strict=True):
            found[name].append(copy.deepcopy(value))
        over = terminated or truncated or cut
    return found


def _stack(space: Any, values: list[Any]) -> Any:
    """Stack values of a space along a leading time axis, keeping its nested structure."""
    if isinstance(values[0], dict):
        return {key: _stack(space[key], [value[key] for value in values]) for key in space.spaces}
    if isinstance(values[0], tuple):
        return tuple(_stack(part, [value[i] for value in values]) for i, part in enumerate(space.spaces))
    return np.array(values, space.dtype)
