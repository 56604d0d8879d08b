"""model.pt: a working actor-critic under torch.load's safe default.

The file holds only data: the constructor's registered name, spaces, keyword arguments and tensors.
Loading it calls one allow-listed function, which looks up the name; a file never causes an import.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from spinup.errors import ConfigError, RunError
from spinup.pytorch.activations import ACTIVATIONS

_REGISTRY: dict[str, Any] = {}
_PLAIN = (bool, int, float, str, type(None))
_INSTANCE = " instance"  # suffix of the class name of an argument that is an instance of a class
for _name in ACTIVATIONS:
    _REGISTRY[f"torch.nn.{_name}"] = getattr(nn, _name)


def qualified_name(thing: Any) -> str:
    """The name under which a class or function is written into model.pt."""
    for name, known in _REGISTRY.items():
        if known is thing:
            return name
    named = thing if hasattr(thing, "__qualname__") else type(thing)  # a functools.partial, for instance
    return f"{named.__module__}.{named.__qualname__}"


def register_actor_critic(constructor: Callable[..., Any], name: str | None = None) -> Callable[..., Any]:
    """Allow `torch.load` to rebuild actor-critics made by `constructor`; usable as a class decorator.

    Custom classes inside `ac_kwargs`, such as an activation, must be registered too.

    Args:
        constructor: the class or function given to `sac_pytorch` as `actor_critic`.
        name: the name in the file; by default the module and name of the constructor.

    Returns:
        `constructor`, unchanged.

    Raises:
        ConfigError: if it cannot be called.
    """
    if not callable(constructor):
        raise ConfigError(f"actor-critic {constructor!r}: give the class or function that makes it")
    _REGISTRY[name or qualified_name(constructor)] = constructor
    return constructor


def registered(name: str) -> Any:
    """The constructor registered under that name, or None."""
    return _REGISTRY.get(name)


class SavedActorCritic:
    """What `torch.save` pickles: an actor-critic as plain data, and the function that rebuilds it."""

    def __init__(
        self, ac: nn.Module, constructor: Callable[..., Any], spaces: tuple[Any, Any], kwargs: Any
    ) -> None:
        self.data = {
            "constructor": qualified_name(constructor),
            "observation_space": _space_data(spaces[0]),
            "action_space": _space_data(spaces[1]),
            "kwargs": _encode(kwargs),
            "state": {k: v.detach().cpu().clone().contiguous() for k, v in ac.state_dict().items()},
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild_actor_critic, (self.data,)


def rebuild_actor_critic(data: dict[str, Any]) -> nn.Module:
    """The actor-critic that `data` describes, on the CPU.

    Raises:
        RunError: if its constructor, or a class among its arguments, is not registered, or if `data` does not
            describe an actor-critic.
    """
    try:
        constructor = _look_up(data["constructor"])
        spaces = _space(data["observation_space"]), _space(data["action_space"])
        with torch.random.fork_rng(devices=[]):
            ac: nn.Module = constructor(*spaces, **_decode(data["kwargs"]))
        ac.load_state_dict(data["state"])
    except RunError:
        raise
    except Exception as error:  # a file may hold any data, and any of these calls may fail on it
        cause = " ".join(str(error).split())
        raise RunError(
            f"this model file does not describe an actor-critic that spinup saved: {cause}"
        ) from None
    return ac


def save_model(ac: nn.Module, path: Path, constructor: Any, spaces: tuple[Any, Any], kwargs: Any) -> None:
    """Write model.pt atomically."""
    from spinup.files import atomic_write  # lazy, to keep `import spinup` small

    buffer = io.BytesIO()
    torch.save(SavedActorCritic(ac, constructor, spaces, kwargs), buffer)
    atomic_write(path, buffer.getvalue())


def _look_up(name: str) -> Any:
    if name not in _REGISTRY:
        raise RunError(
            f"this model was made by {name!r}, which is not registered: import it and call "
            "spinup.register_actor_critic on it before torch.load"
        )
    return _REGISTRY[name]


def load_warnings(constructor: Callable[..., Any], ac_kwargs: dict[str, Any]) -> tuple[str, ...]:
    """Log lines about arguments that cannot be loaded from model.pt, and classes to register before."""
    lines = []
    names = [qualified_name(constructor)]
    for key, value in ac_kwargs.items():
        found = sorted(set(_names(_encode(value))))
        names += [name for name in found if not name.endswith(_INSTANCE)]
        if objects := [name.removesuffix(_INSTANCE) for name in found if name.endswith(_INSTANCE)]:
            lines.append(
                f"model.pt of this run will not load, since ac_kwargs[{key!r}] holds a "
                f"{', a '.join(objects)}: give numbers, text, arrays or tensors, or a function or class"
            )
    if unknown := [name for name in dict.fromkeys(names) if name not in _REGISTRY]:
        lines.append(
            "torch.load of this run's model.pt needs spinup.register_actor_critic(...) first, for "
            f"{', '.join(unknown)}"
        )
    return tuple(lines)


def _names(data: Any) -> list[str]:
    """The names of classes, functions and instances in encoded arguments."""
    if isinstance(data, list):
        return [name for item in data for name in _names(item)]
    if isinstance(data, dict) and "dict" in data:
        return _names(list(data["dict"].values()))
    return [data["name"]] if isinstance(data, dict) and "name" in data else []


def _encode(value: Any) -> Any:
    """Arguments as plain data: arrays and tensors as tensors, all else by name."""
    if isinstance(value, np.generic):  # before float, the base class of np.float64
        value = value.item()
    if type(value) in _PLAIN:
        return value
    if isinstance(value, (tuple, list)):
        return [_encode(v) for v in value]
    if isinstance(value, dict):
        return {"dict": {k if type(k) in _PLAIN else str(k): _encode(v) for k, v in value.items()}}
    if isinstance(value, torch.Tensor):
        return {"tensor": value.detach().cpu().clone()}
    if type(value) is np.ndarray and (tensor := _as_tensor(value)) is not None:
        return {"array": tensor}
    if hasattr(value, "__qualname__"):
        return {"name": qualified_name(value)}
    return {"name": qualified_name(type(value)) + _INSTANCE}


def _as_tensor(array: np.ndarray[Any, Any]) -> torch.Tensor | None:
    """A copy as a tensor; None for dtypes that torch lacks, such as strings."""
    try:
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="), order="C"))
    except TypeError:
        return None


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(v) for v in value]
    if not isinstance(value, dict):
        return value
    ((kind, held),) = value.items()
    if kind == "array":
        return held.numpy()
    if kind == "tensor":
        return held
    return _look_up(held) if kind == "name" else {k: _decode(v) for k, v in held.items()}


def _space_data(space: Box | Discrete) -> dict[str, Any]:
    if isinstance(space, Discrete):
        return {"n": int(space.n)}
    return {"low": torch.from_numpy(space.low.copy()), "high": torch.from_numpy(space.high.copy())}


def _space(data: dict[str, Any]) -> Box | Discrete:
    if "n" in data:
        return Discrete(data["n"])
    low, high = data["low"].numpy(), data["high"].numpy()
    return Box(low, high, dtype=np.uint8 if low.dtype == np.uint8 else np.float32)


torch.serialization.add_safe_globals(
    [rebuild_actor_critic, (rebuild_actor_critic, "spinup.pytorch.saved.rebuild_actor_critic")]  # of 0.1.0
)
