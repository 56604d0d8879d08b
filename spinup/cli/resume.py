"""`spinup resume RUN_DIR`: the call of a run made again, from its files."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import spinup
from spinup.cli.values import activation
from spinup.config import field_defaults
from spinup.envs.rebuild import env_of_run
from spinup.errors import RunError
from spinup.files import existing_dir, read_json
from spinup.pytorch.model_file import registered
from spinup.runs.launch import KEPT_LOGGING
from spinup.runs.resuming import DEFAULT_ACTOR_CRITIC, needs_same_call

_ACTIVATION = re.compile(r"torch\.nn\.modules\.activation\.(\w+)|torch\.nn\.(\w+)")
_REMEDY = "call again with resume=True, as when the run began"


def resume_run(
    run_dir: str, epochs: int | None = None, env: str | None = None, threads: int | None = None
) -> None:
    """Continue a run to its planned end, or to the end of epoch `epochs`.

    Nothing that a file names is imported or called, but for environments and actor-critics that are
    registered in this process.

    Args:
        run_dir: the folder of the run.
        epochs: instead of the planned number.
        env: the environment's id; needed where it must be imported from a module ("module:Env-v0").
        threads: instead of as many as before.

    Raises:
        RunError: if the folder holds no run, or one that its files do not describe wholly.
        EnvError: if its environment is not registered, or the module of `env` cannot be imported.
    """
    folder = existing_dir(run_dir)
    config = read_json(folder / "config.json")
    algorithm = config.get("algorithm")
    if algorithm not in ("sac_pytorch", "sac_tf1"):
        raise RunError(f"{folder} holds no run of SAC: its config.json names the algorithm {algorithm!r}")
    described = read_json(folder / "vars.json").get("env")
    if why_not := needs_same_call({"env": described}):
        raise RunError(f"{folder} cannot be resumed from its files, since {why_not}: {_REMEDY}")
    env_fn = env_of_run(folder, described, env, _REMEDY)
    function: Callable[..., Any] = getattr(spinup, algorithm)
    taken = inspect.signature(function).parameters
    settings = {name: config[name] for name in field_defaults() if name in config and name in taken}
    changed = {"epochs": epochs, "threads": threads}
    settings |= {name: value for name, value in changed.items() if value is not None}
    logger_kwargs = {**_logging(config), "output_dir": str(folder), "exp_name": config.get("exp_name")}
    function(
        env_fn,
        ac_kwargs=_decoded(config.get("ac_kwargs", {})),
        logger_kwargs=logger_kwargs,
        resume=True,
        **_actor_critic(config.get("actor_critic", "")),
        **settings,
    )


def _logging(config: dict[str, Any]) -> dict[str, Any]:
    """How the run logged, as far as its config.json says so; a name that leads out of the folder does not."""
    said = config.get("logger_kwargs")
    kept = {k: v for k, v in said.items() if k in KEPT_LOGGING} if isinstance(said, dict) else {}
    name = kept.get("output_fname", "progress.txt")
    if not isinstance(name, str) or set(name) & set("/\\\0") or not name.strip("."):
        raise RunError(f"its config.json names the file of rows {name!r}: {_REMEDY}")
    return kept


def _actor_critic(name: Any) -> dict[str, Any]:
    """The keyword argument for an actor-critic that is not the default."""
    if name in ("", DEFAULT_ACTOR_CRITIC):
        return {}
    if constructor := registered(str(name)):
        return {"actor_critic": constructor}
    raise RunError(f"its actor-critic {name!r} is not registered here: {_REMEDY}")


def _decoded(value: Any) -> Any:
    """Arguments as they were given; a file holds activations by name."""
    if isinstance(value, str) and (match := _ACTIVATION.fullmatch(value)):
        return activation(match[1] or match[2], value)
    if isinstance(value, list):
        return [_decoded(v) for v in value]
    if isinstance(value, dict):
        return {key: _decoded(v) for key, v in value.items()}
    return value
