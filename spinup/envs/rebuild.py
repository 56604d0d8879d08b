"""Environments by id, and the environment of a run made again from its vars.json."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym

from spinup.envs.make import env_function
from spinup.errors import EnvError


@dataclass(frozen=True, repr=False)
class MakeEnv:
    """A function that makes the environment of an id; picklable.

    Args:
        env_id: such as "Hopper-v5", or "module:Env-v0", whose module is imported first.
        kwargs: for `gymnasium.make`.

    Raises:
        EnvError: when called, if no such id is registered, or the module cannot be imported.
    """

    env_id: str
    kwargs: dict[str, Any] = field(default_factory=dict)

    def __call__(self) -> gym.Env[Any, Any]:
        env_function(self.env_id)
        env: gym.Env[Any, Any] = gym.make(self.env_id, **self.kwargs)
        return env

    def __repr__(self) -> str:
        kwargs = f", {self.kwargs!r}" if self.kwargs else ""
        return f"MakeEnv({self.env_id!r}{kwargs})"


def env_flag(env_fn: Any) -> str:
    """` --env ID` for commands that go on with a run, where its id names a module; else empty."""
    env_id = env_fn.env_id if isinstance(env_fn, MakeEnv) else env_fn
    return f" --env {shlex.quote(env_id)}" if isinstance(env_id, str) and ":" in env_id else ""


def env_of_run(folder: Path, saved: dict[str, Any] | None, given: str | None, otherwise: str) -> MakeEnv:
    """What makes the environment of a run again. No module that a file names is imported.

    Args:
        folder: of the run, for errors.
        saved: what vars.json says of the environment, with its "id"; None if nothing.
        given: the user's id, which may name a module; None takes the saved one. The saved keyword
            arguments and step limit are used where both are the same id, whatever the module.
        otherwise: what else the user could do, for an error.

    Raises:
        EnvError: if the id is not registered, or the module that `given` names cannot be imported.
    """
    name: str = given or (saved or {})["id"]
    base = name.rpartition(":")[2]
    if given is None and (name != base or name not in gym.registry):
        raise EnvError(
            f"environment id {name!r} of {folder} is not registered here, and no file may import it: give "
            f"--env {name if name != base else 'module:' + name}, or {otherwise}"
        )
    env_function(name)
    if saved is None or base != saved["id"].rpartition(":")[2]:
        return MakeEnv(name)
    kwargs = dict(saved.get("kwargs") or {})
    if "max_episode_steps" in saved:
        limit = saved["max_episode_steps"]
        kwargs["max_episode_steps"] = -1 if limit is None else limit  # None would be the registered one
    return MakeEnv(name, kwargs)
