"""Flags of a training command, taken from the signature of the function that it calls."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from spinup.cli.values import activation, fit, read_value
from spinup.config import SACConfig, nearest
from spinup.errors import ConfigError

# Parameters that a word cannot give; the command line fills them itself or leaves them alone.
_NO_FLAGS = ("env_fn", "actor_critic", "logger_kwargs", "callback")
SHORTCUTS = {"hid": "ac_kwargs:hidden_sizes", "act": "ac_kwargs:activation", "dt": "datestamp"}
SWITCHES = ("datestamp", "overwrite")
_PLACES = {
    "exp_name": "name of the experiment, and of its folder; seeds of one name are plotted together",
    "data_dir": "folder that all experiments go into",
    "datestamp": "put the date and time into the folder's name, so that no two runs meet",
    "overwrite": "replace the run that the folder holds",
}
_DOCS = {
    "ac_kwargs": "settings of the networks, one by one with --ac_kwargs:<name>",
    "resume": "continue the run that the folder holds, if it does",
}


@dataclass
class Command:
    """What the flags of a training command ask for.

    Attributes:
        env: environment ids.
        params: values by parameter; `a:b` is an entry of the dict parameter a.
        shorthands: names for parameters in folders, where --flag[short] gave them.
        places: exp_name, data_dir, datestamp and overwrite, as far as given.
    """

    env: list[str] = field(default_factory=list)
    params: dict[str, list[Any]] = field(default_factory=dict)
    shorthands: dict[str, str] = field(default_factory=dict)
    places: dict[str, Any] = field(default_factory=dict)


def flag_defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of a training function that are flags, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in _NO_FLAGS}


def parse(words: Sequence[str], function: Callable[..., Any]) -> Command:
    """Read the words after the subcommand.

    Raises:
        ConfigError: naming the first flag or value that cannot be, and the nearest that can.
    """
    defaults = flag_defaults(function)
    entries = _entries(function)
    command = Command()
    seen: set[str] = set()
    for flag, shorthand, given in _split(words):
        name = _resolve(flag, defaults, entries)
        if name in seen:
            raise ConfigError(f"--{flag} is given twice: give all its values after one flag")
        seen.add(name)
        if shorthand is not None and name not in SWITCHES:
            command.shorthands[name] = shorthand
        _take(command, flag, name, given, defaults, _uses_torch(function))
    for name in command.params:
        if ":" in name and name.split(":")[0] in command.params:
            raise ConfigError(f"--{name} and --{name.split(':')[0]} are both given: give one of them")
    return command


def _take(
    command: Command, flag: str, name: str, given: list[str], defaults: dict[str, Any], torch_names: bool
) -> None:
    default = False if name in SWITCHES else defaults.get(name.split(":")[0])
    if not given and not isinstance(default, bool):
        raise ConfigError(f"--{flag} needs a value: --help lists the flags with their defaults")
    if name in SWITCHES or name in _PLACES:
        if len(given) > 1:
            raise ConfigError(f"--{flag} takes one value, not {len(given)}: {' '.join(given)}")
        command.places[name] = _switch(flag, given) if name in SWITCHES else given[0]
    elif name == "env":
        command.env = given
    elif name == SHORTCUTS["act"]:
        command.params[name] = [_read_activation(word) for word in given] if torch_names else given
    elif isinstance(default, bool):
        command.params[name] = [_switch(flag, [word]) for word in given] or [True]
    else:
        command.params[name] = [fit(read_value(word), None if ":" in name else default) for word in given]


def _switch(flag: str, given: list[str]) -> bool:
    value = fit(read_value(given[0]), False) if given else True
    if not isinstance(value, bool):
        raise ConfigError(f"--{flag} {given[0]}: give True or False, or nothing for True")
    return value


def _read_activation(word: str) -> Any:
    """An activation of torch.nn, with or without its module."""
    value = activation(word, word) if word.isidentifier() else read_value(word)
    return activation(word.rsplit(".", 1)[-1], word) if isinstance(value, str) else value


def _split(words: Sequence[str]) -> list[tuple[str, str | None, list[str]]]:
    """(flag, shorthand or None, words) of each flag."""
    flags: list[tuple[str, str | None, list[str]]] = []
    for word in words:
        match = re.fullmatch(r"--([^\[\]=]+)(?:\[([^\]]*)\])?(?:=(.*))?", word, re.DOTALL)
        if match:
            flag, shorthand, value = match.groups()
            if shorthand is not None and not re.fullmatch(r"[\w.-]+", shorthand, re.ASCII):
                raise ConfigError(f"{word!r}: a shorthand is letters, digits, dots and dashes")
            flags.append((flag, shorthand, [] if value is None else [value]))
        elif word.startswith("--"):
            raise ConfigError(f"{word!r} is no flag: write --flag value, or --flag[short] value")
        elif not flags:
            raise ConfigError(f"unexpected {word!r}: every value follows a flag, as in --env {word}")
        elif re.match(r"-[a-zA-Z]", word) and word.lower() not in ("-inf", "-nan"):
            raise ConfigError(f"unknown flag {word!r}: flags begin with two dashes, as in -{word}")
        else:
            flags[-1][2].append(word)
    return flags


def _resolve(flag: str, defaults: dict[str, Any], entries: dict[str, list[str]]) -> str:
    """The parameter that a flag means."""
    name = SHORTCUTS.get(flag, flag)
    outer, _, inner = name.partition(":")
    if not inner and (name in defaults or name in _PLACES or name == "env"):
        return name
    if inner and isinstance(defaults.get(outer), dict):
        known = entries.get(outer, [])
        if known and inner not in known:
            hint = nearest(inner, known).replace("'", f"'--{outer}:", 1)
            raise ConfigError(f"unknown flag --{flag}: {outer} has no {inner!r}{hint}")
        return name
    flags = [*defaults, *_PLACES, *SHORTCUTS, "env"]
    flags += [f"{key}:{part}" for key, parts in entries.items() for part in parts]
    hint = nearest(flag, flags).replace("'", "'--", 1)
    raise ConfigError(f"unknown flag --{flag}{hint or '; --help lists them all'}")


def _uses_torch(function: Callable[..., Any]) -> bool:
    """Whether the networks take classes of torch.nn; another backend reads the words itself."""
    constructor = inspect.signature(function).parameters["actor_critic"].default
    parameters = inspect.signature(constructor).parameters if callable(constructor) else {}
    return "activation" in parameters and isinstance(parameters["activation"].default, type)


def _entries(function: Callable[..., Any]) -> dict[str, list[str]]:
    """The entries that ac_kwargs can have, from the signature of the default actor-critic."""
    constructor = inspect.signature(function).parameters["actor_critic"].default
    if not callable(constructor):
        return {}
    parameters = inspect.signature(constructor).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return {}
    return {"ac_kwargs": [p.name for p in parameters if p.default is not p.empty]}


def describe(function: Callable[..., Any]) -> str:
    """The flags, one per line, with defaults and what they do."""
    docs = {**field_docs(), **_DOCS}
    rows = [("--env ID", "environment, such as HalfCheetah-v5, or module:Env-v0; needed")]
    rows += [(f"--{name}", text) for name, text in _PLACES.items()]
    for name, default in flag_defaults(function).items():
        text = docs.get(name, "")
        rows.append((f"--{name}", text if isinstance(default, dict) else f"{text} (default {default})"))
    rows += [(f"--{short}", f"short for --{name}") for short, name in SHORTCUTS.items()]
    rows.append(("--a:b VALUE", "the entry b of the dict parameter a, as in --ac_kwargs:hidden_sizes"))
    rows.append(("--flag[short] VALUE", "the same, with the name that stands for it in the run's folder"))
    width = max(len(flag) for flag, _ in rows)
    return "\n".join(f"  {flag:<{width}}  {text}" for flag, text in rows)


def field_docs() -> dict[str, str]:
    """What each field of SACConfig is, from the comment beside it; empty where the source is not at hand."""
    try:
        source = inspect.getsource(SACConfig)
    except OSError:
        return {}
    return dict(re.findall(r"^    (\w+): .*  # (.+)$", source, re.MULTILINE))
