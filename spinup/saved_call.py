"""Rebuilds the call that started a run from the run's files, so that the run can be continued."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spinup
from spinup.config import BUILT_IN_VARIANTS, field_defaults
from spinup.envs.saved_spec import env_of_run, read_saved_env
from spinup.errors import RunError
from spinup.files import read_json
from spinup.loggers.run_folder import CHECKPOINT_FOLDER
from spinup.pytorch.activations import activation
from spinup.pytorch.model_file import registered
from spinup.pytorch.variants.registry import VARIANTS
from spinup.runs.grid import Call
from spinup.runs.launch import KEPT_LOGGING
from spinup.runs.manifest import newest_settings
from spinup.runs.resuming import DEFAULT_ACTOR_CRITIC, changes, needs_same_call

ALGORITHMS = ("sac_pytorch", "sac_tf1")
_ACTIVATION = re.compile(r"torch\.nn\.modules\.activation\.(\w+)|torch\.nn\.(\w+)")
_REMEDY = "call again with resume=True and the original arguments"


def resume_call(
    folder: Path,
    epochs: int | None = None,
    env: Any = None,
    threads: int | str | None = None,
    actor_critic: Callable[..., Any] | None = None,
    remedy: str = _REMEDY,
) -> Call:
    """The call that continues a run to its planned end, or to the end of epoch `epochs`.

    Modules named in the files are never imported; the environment and the actor-critic must be registered.

    Args:
        folder: the run's folder.
        epochs: total number of epochs; None keeps the planned number.
        env: replaces the environment named in the files: an id, required if it must be imported from a module
            ("module:Env-v0"), or a function that makes environments.
        threads: CPU threads of an update, or "auto"; None keeps the previous number.
        actor_critic: replaces the constructor named in the files.
        remedy: the remedy in messages about an environment or an actor-critic that the files do not describe.

    Raises:
        RunError: if the folder holds no run, or its files are damaged or do not describe the call completely.
        ConfigError: if config.json contradicts the newest checkpoint.
        EnvError: if its environment is not registered, or the module of `env` cannot be imported.
    """
    config = read_json(folder / "config.json")
    saved_settings = newest_settings(folder / CHECKPOINT_FOLDER)  # refuses checkpoints of an older version
    algorithm = config.get("algorithm")
    if algorithm not in ALGORITHMS:
        raise RunError(f"{folder} holds no run of SAC: its config.json names the algorithm {algorithm!r}")
    own_env = callable(env)
    saved_env = None if own_env else read_saved_env(folder)
    # Checked before anything is built, since contradictory files could require any amount of memory.
    changes(saved_settings, {name: value for name, value in config.items() if name in saved_settings})
    if not own_env and (reason := needs_same_call({"env": saved_env})):
        raise RunError(f"{folder} cannot be resumed from its files, since {reason}: {remedy}")
    function: Callable[..., Any] = getattr(spinup, algorithm)
    parameters = inspect.signature(function).parameters
    settings = {name: config[name] for name in field_defaults() if name in config and name in parameters}
    changed = {"epochs": epochs, "threads": threads}
    settings |= {name: value for name, value in changed.items() if value is not None}
    kwargs: dict[str, Any] = {
        "env_fn": env if own_env else env_of_run(folder, saved_env, env, remedy),
        "ac_kwargs": _decode(config.get("ac_kwargs", {})),
        "logger_kwargs": {
            **saved_logger_kwargs(config),
            "output_dir": str(folder),
            "exp_name": config.get("exp_name"),
        },
        "resume": True,
        **({} if actor_critic else _actor_critic(config.get("actor_critic", ""), remedy)),
        **settings,
    }
    if (variant := settings.get("variant", "sac")) not in BUILT_IN_VARIANTS:
        kwargs["variant"] = _own_variant(variant, env, remedy)
    return Call(str(folder), function, kwargs)


def _own_variant(name: Any, env: Any, remedy: str) -> str:
    """The `variant` argument for the name of a variant that user code registered.

    If the user gave the environment as "module:id", the module is added to the variant's name, since it may
    register the variant, and other processes must import it too.

    Raises:
        RunError: if the variant is not registered in this process.
    """
    if name not in [variant.selected_by for variant in VARIANTS]:
        raise RunError(f"its variant {name!r} is not registered here: {remedy}")
    module = env.rpartition(":")[0] if isinstance(env, str) else ""
    return f"{module}:{name}" if module else str(name)


def saved_logger_kwargs(config: dict[str, Any]) -> dict[str, Any]:
    """The logger's settings in config.json.

    Raises:
        RunError: if a setting is invalid, such as a file name that is a path.
    """
    saved = config.get("logger_kwargs", {})
    if not isinstance(saved, dict):
        raise RunError(f"config.json gives logger_kwargs={saved!r}: {_REMEDY}")
    kept = {k: v for k, v in saved.items() if k in KEPT_LOGGING}
    for name, value in kept.items():
        valid = _is_file_name(value) if name == "output_fname" else isinstance(value, bool)
        if name == "trackers":
            valid = isinstance(value, list) and all(isinstance(tracker, str) for tracker in value)
        if not valid:
            raise RunError(f"config.json gives the logger {name}={value!r}: {_REMEDY}")
    return kept


def _is_file_name(name: Any) -> bool:
    """Whether `name` is a printable file name of at most 255 bytes, without a path."""
    if not isinstance(name, str) or not name.isprintable() or set(name) & set("/\\"):
        return False
    return bool(name.strip(".")) and len(name.encode()) <= 255


def _actor_critic(name: Any, remedy: str) -> dict[str, Any]:
    """The `actor_critic` argument; empty for the default one."""
    if name in ("", DEFAULT_ACTOR_CRITIC):
        return {}
    if constructor := registered(str(name)):
        return {"actor_critic": constructor}
    raise RunError(f"its actor-critic {name!r} is not registered here: {remedy}")


def _decode(value: Any) -> Any:
    """Decode arguments from config.json, where activations are stored by name."""
    if isinstance(value, str) and (match := _ACTIVATION.fullmatch(value)):
        return activation(match[1] or match[2], value)
    if isinstance(value, list):
        return [_decode(v) for v in value]
    if isinstance(value, dict):
        return {key: _decode(v) for key, v in value.items()}
    return value
