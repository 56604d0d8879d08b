"""A trained policy in its environment: measured, watched, or filmed."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from spinup.cli.parser import Parser
from spinup.envs.rebuild import env_of_run
from spinup.envs.spaces import action_spec, flat_observation_space
from spinup.errors import EnvError, RunError
from spinup.files import existing_dir, read_json
from spinup.loggers.display import plain_table
from spinup.loggers.statistics import RunningStats
from spinup.playback.policies import Act, has_model, load_policy
from spinup.playback.viewer import GL_REMEDY, Viewer, draw_without_display, renderable, short_reason

GetAction = Callable[[Any], Any]


def load_policy_and_env(
    fpath: str | Path,
    itr: int | str = "last",
    deterministic: bool = True,
    env: Any = None,
) -> tuple[Any, GetAction]:
    """Load a run's policy and the environment it was trained in. No code from the folder is run.

    Args:
        fpath: the folder of the run.
        itr: "last", "best" (by test return), or the number of a save kept apart.
        deterministic: the mean action, as SAC is tested; False samples.
        env: an environment, a function that makes one, or an id, in place of the saved one; the same id
            with a module ("module:Env-v0") keeps the saved keyword arguments and step limit.

    Returns:
        The environment, and `get_action(observation)`: an observation as the environment returns it
        to an action as the environment takes it.

    Raises:
        RunError: if the folder, the model or the environment's description is missing or damaged.
        EnvError: if the environment is not registered, or cannot be told from the files alone.
    """
    folder = _run_folder(fpath)
    environment = _load_env(folder, env)
    act = load_policy(folder, itr, deterministic)
    actions = action_spec(environment.action_space)
    _check_fit(act, environment, actions.dim)

    def get_action(observation: Any) -> Any:
        flat = gym.spaces.utils.flatten(environment.observation_space, observation)
        with np.errstate(over="ignore"):
            row = np.asarray(flat, dtype=np.float32)[None]
        return actions.to_env(act(row).reshape(1, actions.dim))[0]

    return environment, get_action


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
    """Play episodes, and print the return and length of each and their statistics.

    Args:
        env: a Gymnasium environment; to render, a twin of it is made from its spec.
        get_action: from `load_policy_and_env`, or any function of an observation.
        max_ep_len: longest episode; None or 0 leaves it to the environment.
        num_episodes: how many.
        render: show a window, where there is a display.
        video: an .mp4 or .gif file to film into, instead of a window.
        seed: seed of the first reset.

    Returns:
        Returns, float64 (num_episodes,), and lengths, int64 (num_episodes,).

    Raises:
        EnvError: if the environment cannot be rendered here.
        MissingExtraError: if a video is asked for without the package that writes it.
    """
    returns, lengths = [], []
    with renderable(env, render, video) as viewer:
        for episode in range(num_episodes):
            first_seed = seed if episode == 0 else None
            ret, length = _play(viewer, get_action, max_ep_len, first_seed)
            returns.append(ret)
            lengths.append(length)
            print(f"Episode {episode}  EpRet {ret:.3f}  EpLen {length}", flush=True)
    _print_summary(returns, lengths)
    return np.array(returns, dtype=np.float64), np.array(lengths, dtype=np.int64)


def _play(
    viewer: Viewer, get_action: GetAction, max_ep_len: int | None, seed: int | None
) -> tuple[float, int]:
    observation = viewer.reset(seed)
    ret, length, ended = 0.0, 0, False
    while not ended and not (max_ep_len and length >= max_ep_len):
        observation, reward, ended = viewer.step(get_action(observation))
        ret += reward
        length += 1
    return ret, length


def _print_summary(returns: list[float], lengths: list[int]) -> None:
    stats = {"EpRet": RunningStats(), "EpLen": RunningStats()}
    stats["EpRet"].add(returns)
    stats["EpLen"].add(lengths)
    mean, std, low, high = stats["EpRet"].summary()
    row = {"AverageEpRet": mean, "StdEpRet": std, "MaxEpRet": high, "MinEpRet": low}
    print(plain_table({**row, "EpLen": stats["EpLen"].mean}), flush=True)


def _check_fit(act: Act, env: Any, act_dim: int) -> None:
    """Refuse an environment whose observations or actions are not those of the policy."""
    (obs_dim,) = flat_observation_space(env.observation_space).shape
    try:
        fits = act(np.zeros((1, obs_dim), dtype=np.float32)).size == act_dim
    except (RuntimeError, ValueError):  # how the frameworks report shapes that do not match
        fits = False
    if not fits:
        name = env.spec.id if env.spec else env
        raise EnvError(
            f"the policy does not fit {name}, with {obs_dim} observations and {act_dim} actions: "
            "give the environment it was trained in"
        )


def _run_folder(fpath: str | Path) -> Path:
    folder = existing_dir(fpath)
    if has_model(folder):
        return folder
    inside = [path for path in sorted(folder.iterdir()) if path.is_dir() and has_model(path)]
    hint = f": did you mean {inside[0]}?" if inside else ": has the run saved one yet?"
    raise RunError(f"{folder} holds no saved model{hint}")


def _load_env(folder: Path, given: Any) -> Any:
    if given is not None and not isinstance(given, str):
        return given() if not isinstance(given, gym.Env) else given
    path = folder / "vars.json"
    saved = read_json(path).get("env") if path.exists() else None
    saved = saved if isinstance(saved, dict) and isinstance(saved.get("id"), str) else None
    if given is None and saved is None:
        raise EnvError(f"{folder} does not say which environment it was trained in: give it with --env")
    if given is None and saved and saved.get("wrappers"):
        names = ", ".join(map(str, saved["wrappers"]))
        raise EnvError(
            f"this run's environment was wrapped in {names}, which a file cannot rebuild: call "
            "load_policy_and_env(path, env=...) with yours, or give --env to go without"
        )
    make = env_of_run(folder, saved, given, "call load_policy_and_env(path, env=...) with yours")
    try:
        return make()
    except Exception as error:  # a constructor may raise anything, and so may MuJoCo's import of its GL
        remedy = f"; {GL_REMEDY}" if "MUJOCO_GL" in os.environ else ""
        raise EnvError(
            f"environment {make.env_id!r} cannot be made ({short_reason(error)}){remedy}"
        ) from None


def main(words: Sequence[str]) -> int:
    """`spinup test_policy`.

    Raises:
        SpinupError: see `load_policy_and_env` and `run_policy`.
    """
    parser = Parser(
        "spinup test_policy",
        "Watch a trained policy, or measure it.",
        "example:\n  spinup test_policy data/hc/hc_s0 -n 10 --video hc.mp4",
    )
    add = parser.add_argument
    add("path", metavar="PATH", help="folder of the run, such as data/hc/hc_s0")
    add("-l", "--len", type=int, default=0, metavar="LEN", help="longest episode (default: as in training)")
    add("-n", "--episodes", type=int, metavar="EPISODES", help="how many (default 100; 1 with --video)")
    add("-nr", "--norender", action="store_true", help="no window")
    add(
        "-i",
        "--itr",
        default="last",
        metavar="ITR",
        help="last, best, or the number of a save (default last)",
    )
    add("-d", "--deterministic", action="store_true", help="the mean action; this is the default")
    add("--stochastic", action="store_true", help="sample actions instead")
    add("--env", metavar="ID", help="environment, if another, or module:Env-v0 to import it")
    add("--video", metavar="FILE", help="film into an .mp4 or .gif file instead of a window")
    add("--seed", type=int, metavar="S", help="seed of the first episode")
    args = parser.parse(words)
    if args.deterministic and args.stochastic:
        parser.error("-d and --stochastic exclude each other: give one of them")
    if args.len < 0 or (args.episodes is not None and args.episodes < 1):
        parser.error("-n must be at least 1, and -l at least 0")
    if args.video:
        draw_without_display()
    env, get_action = load_policy_and_env(args.path, args.itr, not args.stochastic, args.env)
    try:
        episodes = args.episodes or (1 if args.video else 100)
        longest = args.len or _trained_length(Path(args.path))
        run_policy(env, get_action, longest, episodes, not args.norender, args.video, seed=args.seed)
    finally:
        env.close()
    if args.video:
        print(f"saved {args.video}")
    return 0


def _trained_length(folder: Path) -> int | None:
    path = folder / "config.json"
    length = read_json(path).get("max_ep_len") if path.exists() else None
    return length if isinstance(length, int) else None
