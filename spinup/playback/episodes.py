"""Loads a saved policy with its environment, and runs episodes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from spinup.envs.saved_spec import env_of_run, read_saved_env, wrappers_from_code
from spinup.envs.spaces import action_spec, flat_observation_space, flatten_observation, image_layout
from spinup.errors import EnvError, RunError, option
from spinup.files import enclosing_run, existing_dir, read_json
from spinup.loggers.statistics import RunningStats
from spinup.loggers.text import plain_table
from spinup.playback.policies import Act, has_model, load_policy
from spinup.playback.viewer import GL_REMEDY, Viewer, open_viewer

GetAction = Callable[[Any], Any]
_OWN_ENV = "give your environment as env=..."


def load_policy_and_env(
    fpath: str | Path,
    itr: int | str = "last",
    deterministic: bool = True,
    env: Any = None,
) -> tuple[Any, GetAction]:
    """Load a run's policy and the environment it was trained in. No code from the folder is executed.

    Args:
        fpath: the folder of the run.
        itr: "last" (also -1), "best" (by test return), or the number of a numbered save.
        deterministic: True for the mean action, as in SAC's test episodes; False to sample.
        env: replaces the saved environment: an environment, a function that makes one, or an id; the same id
            with a module ("module:Env-v0") keeps the saved keyword arguments and step limit.

    Returns:
        The environment, and `get_action(observation)`, which maps an observation as the environment returns
        it to an action as the environment takes it. If no `env` is given and the saved one cannot be made
        from the files, the environment is None, after a warning with the reason; `get_action` then maps an
        array to the policy's action, for discrete actions an index from 0.

    Raises:
        RunError: if the folder or the model is missing or damaged.
        EnvError: if `env` is not registered or cannot be made, or an environment does not fit the policy.
    """
    folder = folder_with_model(fpath)
    act = load_policy(folder, itr, deterministic)
    try:
        environment = load_env(folder, env)
    except (EnvError, RunError) as error:
        if env is not None:
            raise
        warnings.warn(f"env is None: {error}", stacklevel=2)
        return None, lambda observation: act(_flat_row(observation))[0]
    check_fit(act, environment, action_spec(environment.action_space).dim)
    return environment, action_function(act, environment)


def action_function(act: Act, env: Any) -> GetAction:
    """The function that maps an observation of `env` to an action of `env`.

    Args:
        act: maps rows of observations (1, obs_dim) to actions (1, act_dim), or indices of discrete actions.
        env: an environment with these observations and actions.
    """
    space, actions = env.observation_space, action_spec(env.action_space)
    layout = image_layout(space)

    def get_action(observation: Any) -> Any:
        flat = flatten_observation(space, layout, observation)
        row = _flat_row(flat) if layout is None else flat[None]
        return actions.to_env(act(row).reshape(1, actions.dim))[0]

    return get_action


def run_policy(
    env: Any,
    get_action: GetAction,
    max_ep_len: int | None = None,
    num_episodes: int = 100,
    render: bool = True,
    video: str | Path | None = None,
    *,
    seed: int | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Run episodes, and print the return and length of each and their statistics.

    Args:
        env: a Gymnasium environment; rendering uses a copy of it, made from its spec.
        get_action: from `load_policy_and_env`, or any function of an observation.
        max_ep_len: maximum episode length in steps; None or 0 uses only the environment's limit.
        num_episodes: number of episodes.
        render: open a window, if there is a display.
        video: an .mp4 or .gif file to record, instead of a window.
        seed: seed of the first reset.

    Returns:
        Returns, float64 (num_episodes,), and lengths, int64 (num_episodes,).

    Raises:
        ConfigError: for a video file of another type, or in a folder that does not exist.
        EnvError: if `env` is None, or cannot be rendered.
        MissingExtraError: if `video` is given and imageio is not installed.
        RunError: if the video cannot be written.
    """
    if env is None:
        raise EnvError(
            "there is no environment to run the policy in: call load_policy_and_env(path, env=...) with your "
            "environment"
        )
    returns, lengths = [], []
    try:
        with open_viewer(env, render, video) as viewer:
            for episode in range(num_episodes):
                ep_ret, ep_len = run_episode(viewer, get_action, max_ep_len, seed if episode == 0 else None)
                returns.append(ep_ret)
                lengths.append(ep_len)
                print(f"Episode {episode}  EpRet {ep_ret:.3f}  EpLen {ep_len}", flush=True)
    except OSError as error:
        if video is None:
            raise
        raise RunError(f"cannot write {video} ({error.strerror or error}): give another file") from error
    _print_summary(returns, lengths)
    return np.array(returns, dtype=np.float64), np.array(lengths, dtype=np.int64)


def load_env(fpath: str | Path, given: Any = None) -> Any:
    """The environment of a run, made from its files, or the `given` one: see `load_policy_and_env`.

    Raises:
        RunError: if the folder holds no model, or the environment's description is damaged.
        EnvError: if the environment is not registered, or cannot be made from the files.
    """
    folder = folder_with_model(fpath)
    if given is not None and not isinstance(given, str):
        return given if isinstance(given, gym.Env) else given()
    try:
        saved = read_saved_env(folder) if os.path.lexists(folder / "vars.json") else None
    except RunError as error:
        if given is None:
            raise EnvError(f"{error}, or {option(_OWN_ENV, 'give the environment with --env')}") from None
        saved = None
    if given is None and saved is None:
        remedy = option(_OWN_ENV, "give it with --env")
        raise EnvError(f"{folder} does not name the environment it was trained in: {remedy}")
    if given is None and saved and (wrappers := wrappers_from_code(saved)):
        names = ", ".join(wrappers)
        raise EnvError(
            f"this run's environment was wrapped in {names}, which a file cannot rebuild: "
            f"{option(_OWN_ENV, 'in Python, give it as env=...')}, or {option('env=ID', '--env ID')} runs "
            "without the wrappers"
        )
    make = env_of_run(folder, saved, given, option(_OWN_ENV, "in Python, your environment as env=..."))
    try:
        return make()
    except EnvError as error:
        remedy = f"; {GL_REMEDY}" if "MUJOCO_GL" in os.environ else ""  # MuJoCo loads OpenGL at import
        raise EnvError(f"{error}{remedy}") from None


def _flat_row(observation: Any) -> NDArray[Any]:
    array = np.asarray(observation)
    if array.dtype == np.uint8 and array.ndim > 1:  # an image: the policy takes its pixels as uint8
        return array.reshape(1, -1)
    with np.errstate(over="ignore"):
        return array.astype(np.float32).reshape(1, -1)


def run_episode(
    viewer: Viewer, get_action: GetAction, max_ep_len: int | None, seed: int | None
) -> tuple[float, int]:
    """Run one episode; returns its return and length. Raises EnvError if the environment fails."""
    observation = viewer.reset(seed)
    ep_ret, ep_len, ended = 0.0, 0, False
    while not ended and not (max_ep_len and ep_len >= max_ep_len):
        observation, reward, ended = viewer.step(get_action(observation))
        ep_ret += reward
        ep_len += 1
    return ep_ret, ep_len


def _print_summary(returns: list[float], lengths: list[int]) -> None:
    return_stats, length_stats = RunningStats(), RunningStats()
    return_stats.add(returns)
    length_stats.add(lengths)
    mean, std, low, high = return_stats.summary()
    row = {"AverageEpRet": mean, "StdEpRet": std, "MaxEpRet": high, "MinEpRet": low}
    print(plain_table({**row, "EpLen": length_stats.mean}), flush=True)


def check_fit(act: Act, env: Any, act_dim: int) -> None:
    """Check that the sizes of an environment's observations and actions fit a policy.

    Raises:
        EnvError: if they do not.
    """
    flat = flat_observation_space(env.observation_space)
    (obs_dim,) = flat.shape
    try:
        fits = act(np.zeros((1, obs_dim), dtype=flat.dtype)).size == act_dim
    except Exception:  # the frameworks raise several types for mismatched shapes, and a file's model any
        fits = False
    if not fits:
        name = env.spec.id if env.spec else env
        raise EnvError(
            f"the policy does not fit {name}, with observations of {obs_dim} numbers and the action space "
            f"{env.action_space}: give the environment it was trained in"
        )


def trained_max_ep_len(folder: str | Path) -> int | None:
    """`max_ep_len` in the configuration of the run in the folder, or None.

    Raises:
        RunError: if it is not a number of steps.
    """
    path = Path(folder) / "config.json"
    length = read_json(path).get("max_ep_len") if os.path.lexists(path) else None
    if length is not None and (not isinstance(length, int) or isinstance(length, bool) or length < 1):
        raise RunError(f"{path} gives max_ep_len={length!r}: write the maximum length of an episode there")
    return length


def folder_with_model(fpath: str | Path) -> Path:
    """The folder of a run that has saved a model.

    Raises:
        RunError: if the folder holds no saved model; the message names a run inside it, if any.
    """
    folder = existing_dir(fpath)
    if has_model(folder):
        return folder
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and has_model(path)]
    meant = inside[0] if inside else enclosing_run(folder)
    hint = f": did you mean {meant}?" if meant else ": has the run saved one yet?"
    raise RunError(f"{folder} holds no saved model{hint}")
