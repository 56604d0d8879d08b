"""Environments by id, and the environment of a saved run, made from the spec in its vars.json."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym

from spinup.envs.make import env_function
from spinup.errors import EnvError, RunError, option
from spinup.files import read_json


@dataclass(frozen=True, repr=False)
class MakeEnv:
    """Makes the environment with an id and keyword arguments; picklable.

    Args:
        env_id: such as "Hopper-v5", or "module:Env-v0" to import the module first.
        kwargs: keyword arguments of `gymnasium.make`.

    Raises:
        EnvError: when called, if the id is not registered, its module cannot be imported, or the environment
            cannot be made with these arguments.
    """

    env_id: str
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> gym.Env[Any, Any]:
        return env_function(self.env_id, self.kwargs)()  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        kwargs = f", {self.kwargs!r}" if self.kwargs else ""
        return f"MakeEnv({self.env_id!r}{kwargs})"


def env_flag(env_fn: Any) -> str:
    """The flag ` --env ID` for commands on a saved run if the id contains a module, else an empty string."""
    env_id = env_fn.env_id if isinstance(env_fn, MakeEnv) else env_fn
    return f" --env {shlex.quote(env_id)}" if isinstance(env_id, str) and ":" in env_id else ""


def read_saved_env(folder: Path) -> dict[str, Any] | None:
    """The environment's entry in vars.json, see `describe_env` in runs/launch.py; None if there is none.

    Raises:
        RunError: if the file cannot be read, or an entry is invalid.
    """
    path = folder / "vars.json"
    saved = read_json(path).get("env")
    if saved is None:
        return None
    if not isinstance(saved, dict) or "id" not in saved:
        raise RunError(f"{path} does not describe an environment: {_CORRECT}")
    for name, value in saved.items():
        if name in _VALID and not _VALID[name](value):
            raise RunError(f"{path} gives the environment {name}={value!r}: {_CORRECT}")
    return saved


def wrappers_from_code(saved: dict[str, Any]) -> list[str]:
    """Names of the wrappers that user code added to a saved environment; empty if it was made by its id."""
    return [] if saved.get("by_id") is True else [str(name) for name in saved.get("wrappers") or ()]


def _is_limit(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1)


_CORRECT = "correct the file"
_NOT_KWARGS = ("id", "max_episode_steps", "disable_env_checker")  # parameters of gymnasium.make itself
_VALID: dict[str, Callable[[Any], bool]] = {
    "id": lambda value: isinstance(value, str),
    "kwargs": lambda value: isinstance(value, dict) and not any(name in value for name in _NOT_KWARGS),
    "max_episode_steps": _is_limit,
    "wrappers": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "by_id": lambda value: isinstance(value, bool),
}


def env_of_run(folder: Path, saved: dict[str, Any] | None, given: str | None, otherwise: str) -> MakeEnv:
    """The function that makes the environment of a saved run.

    Only `given` may cause an import; a module named in vars.json is never imported.

    Args:
        folder: the run's folder, for messages.
        saved: the result of `read_saved_env`.
        given: an id from the user, which may name a module; None uses the saved id. The saved keyword
            arguments and step limit apply if both ids agree apart from the module.
        otherwise: another remedy, for messages.

    Raises:
        EnvError: if the id is not registered, or the module in `given` cannot be imported.
    """
    name: str = given or (saved or {})["id"]
    base = name.rpartition(":")[2]
    if given is None and (name != base or name not in gym.registry):
        with_module = name if name != base else f"module:{name}"
        raise EnvError(
            f"environment id {name!r} of {folder} is not registered here, and modules named in files are not "
            f"imported: give {option(f'env={with_module!r}', f'--env {with_module}')}, or {otherwise}"
        )
    env_function(name)
    if saved is None or base != saved["id"].rpartition(":")[2]:
        return MakeEnv(name)
    kwargs = dict(saved.get("kwargs", {}))
    if "max_episode_steps" in saved:
        limit = saved["max_episode_steps"]
        kwargs["max_episode_steps"] = -1 if limit is None else limit  # to gymnasium.make, None means default
    return MakeEnv(name, kwargs)
