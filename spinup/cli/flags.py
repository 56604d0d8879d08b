"""Flags of a training command, derived from the signature of the function it calls."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spinup.cli.values import cast_like, read_value
from spinup.config import SACConfig, field_defaults
from spinup.errors import ConfigError
from spinup.hints import nearest, renamed_argument
from spinup.loggers.trackers import check_trackers
from spinup.pytorch.activations import activation
from spinup.runs.cores import run_count

# Parameters without a flag: the command line sets them, or their values cannot be written as text.
_NO_FLAG = ("env_fn", "actor_critic", "logger_kwargs", "callback", "callback_every", "transport")
SHORTCUTS = {
    "hid": "ac_kwargs:hidden_sizes", "act": "ac_kwargs:activation", "dt": "datestamp", "env_name": "env",
    "num_cpu": "jobs",
}  # fmt: skip
_OUTPUT_SWITCHES = ("datestamp", "overwrite")
_OUTPUT_FLAGS = {
    "exp_name": "name of the experiment and of its folder; plots group seeds by it",
    "data_dir": "parent folder of all experiments",
    "datestamp": "add the date and time to the folder's name",
    "overwrite": "replace the run in the folder",
    "track": "trackers that receive the rows: tensorboard (always on), wandb, trackio, mlflow",
    "config": "YAML or JSON file with flags, or flags by environment id; flags in the command override it",
    "jobs": "runs at a time, each in its own process; auto: one per usable core (default 1: in this one)",
    "ray": "execute the runs, or with --collectors their collectors, on Ray: on this machine, or on the "
    "cluster at this address (auto finds it)",
    "cpus_per_run": "CPUs that Ray reserves for a run (default: its threads)",
    "gpus_per_run": "GPUs that Ray reserves for a run (default: 1 with --device cuda, else 0)",
}
# Descriptions of flags of sac_tf1 that have another meaning there than in sac_pytorch.
_OF_TENSORFLOW = {
    "ray": "execute the runs on Ray: on this machine, or on the cluster at this address (auto finds it)",
    "gpus_per_run": "GPUs that Ray reserves for a run (default 0)",
    "threads": "TensorFlow threads; auto: two if the process may use two cores, else one",
    "num_envs": "environments stepped together",
    "target_entropy": "target of a learned alpha, in nats; auto: -act_dim; auto_0.5: half of that",
}
_ENV_KWARGS = "env_kwargs"
_ENV_FLAGS = {
    "env": "environment, such as HalfCheetah-v5, or module:Env-v0; required",
    _ENV_KWARGS: "keyword arguments of the environment; --env:<name> sets a single one",
}
_AC_KWARGS = "arguments of the networks; --ac_kwargs:<name> sets a single one"
_RESUME = "continue the run in the folder, or start it if there is none; of a grid, skip complete runs"
# The first flag of each group. Flags are in the order of SACConfig; each belongs to the group before it.
_GROUPS = {
    "env": "environment and folder",
    "jobs": "several runs",
    "ac_kwargs": "training",
    "engine": "engine, environments, threads",
    "variant": "variants, optimizers, recipes",
    "critic_keys": "observations and rewards",
    "sampler": "replay and prior data",
    "test_every": "tests, saved models, videos",
    "collectors": "remote collectors",
    "checkpoint_every": "checkpoints",
}


@dataclass
class TrainFlags:
    """Parsed flags of a training command.

    Attributes:
        env: environment ids.
        params: values by parameter; the key `a:b` is the entry b of the dict parameter a. The keyword
            arguments of the environment are the parameter `env_kwargs`.
        shorthands: names of parameters in folder names, as given by --flag[short].
        output: values of exp_name, data_dir, datestamp, overwrite, track, jobs, ray, cpus_per_run and
            gpus_per_run, if given; with collectors, ray is among the parameters instead.
    """

    env: list[str] = field(default_factory=list)
    params: dict[str, list[Any]] = field(default_factory=dict)
    shorthands: dict[str, str] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=dict)


def flag_defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The parameters of a training function that have a flag, with their defaults."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.name not in _NO_FLAG}


def parse_flags(words: Sequence[str], function: Callable[..., Any]) -> TrainFlags:
    """Parse the arguments after the subcommand.

    Raises:
        ConfigError: for the first invalid flag or value, naming the closest valid one.
    """
    defaults = flag_defaults(function)
    networks = _network_parameters(function)
    parsed = TrainFlags()
    seen: set[str] = set()
    for flag, shorthand, given in split_flags(words):
        name = _parameter_name(flag, given, defaults, networks)
        if name in seen:
            raise ConfigError(f"--{flag} is given twice: give all its values after one flag")
        seen.add(name)
        if shorthand is not None and name not in _OUTPUT_SWITCHES:
            parsed.shorthands[name] = shorthand
        default = False if name in _OUTPUT_SWITCHES else defaults.get(name.split(":")[0])
        if not given and not isinstance(default, bool) and name != "ray":
            raise ConfigError(f"--{flag} needs a value: --help lists the flags with their defaults")
        if name in _OUTPUT_FLAGS:
            parsed.output[name] = _read_output(flag, name, given)
        elif name == "env":
            parsed.env = given
        elif name == SHORTCUTS["act"]:
            parsed.params[name] = [_read_activation(w) for w in given] if _uses_torch(networks) else given
        elif isinstance(default, bool):
            parsed.params[name] = [_read_bool(flag, word) for word in given] or [True]
        else:
            like = None if ":" in name else default
            parsed.params[name] = [cast_like(read_value(word), like) for word in given]
            if name == _ENV_KWARGS:
                _check_env_kwargs(parsed.params[name])
    for name in parsed.params:
        if ":" in name and name.split(":")[0] in parsed.params:
            raise ConfigError(f"--{name} and --{name.split(':')[0]} are both given: give one of them")
    if "ray" in parsed.output and "collectors" in parsed.params:
        address = parsed.output.pop("ray")
        parsed.params["ray"] = ["local" if address is True else address]
    return parsed


def _read_output(flag: str, name: str, given: list[str]) -> Any:
    if name == "track":
        return check_trackers(given)
    if len(given) > 1:
        raise ConfigError(f"--{flag} takes one value, not {len(given)}: {' '.join(given)}")
    if name in _OUTPUT_SWITCHES:
        return _read_bool(flag, given[0]) if given else True
    if name == "ray":
        return given[0] if given else True
    if name == "jobs":
        return run_count("jobs", read_value(given[0]))
    return read_value(given[0]) if name.endswith("_per_run") else given[0]


def _check_env_kwargs(values: list[Any]) -> None:
    for value in values:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise ConfigError(f'env_kwargs={value!r}: give a dict, such as "dict(gravity=9.81)"')


def _read_bool(flag: str, word: str) -> bool:
    value = cast_like(read_value(word), False)
    if not isinstance(value, bool):
        raise ConfigError(f"--{flag} {word}: give True or False, or no value for True")
    return value


def _read_activation(word: str) -> Any:
    """An activation of torch.nn, with or without its module."""
    value = activation(word, word) if word.isidentifier() else read_value(word)
    return activation(word.rsplit(".", 1)[-1], word) if isinstance(value, str) else value


def split_flags(words: Sequence[str]) -> list[tuple[str, str | None, list[str]]]:
    """(flag, shorthand or None, values) for each flag.

    Raises:
        ConfigError: for a word that is neither a flag nor a value of one.
    """
    flags: list[tuple[str, str | None, list[str]]] = []
    for word in words:
        match = re.fullmatch(r"--([^\[\]=]+)(?:\[([^\]]*)\])?(?:=(.*))?", word, re.DOTALL)
        if match:
            flag, shorthand, value = match.groups()
            if shorthand is not None and not re.fullmatch(r"[\w.-]+", shorthand, re.ASCII):
                raise ConfigError(f"{word!r}: a shorthand may have letters, digits, '.', '-' and '_'")
            flags.append((flag, shorthand, [] if value is None else [value]))
        elif word.startswith("--"):
            raise ConfigError(f"{word!r} is not a valid flag: write --flag value, or --flag[short] value")
        elif re.match(r"-[a-zA-Z]", word) and word.lower() not in ("-inf", "-nan"):
            raise ConfigError(f"unknown flag {word!r}: flags begin with two dashes, as in -{word}")
        elif not flags:
            raise ConfigError(f"unexpected {word!r}: every value follows a flag, as in --env {word}")
        else:
            flags[-1][2].append(word)
    return flags


def _parameter_name(
    flag: str, given: list[str], defaults: dict[str, Any], networks: Mapping[str, inspect.Parameter]
) -> str:
    """The parameter that a flag sets, with shortcuts resolved; `given` are its values, for error messages."""
    name = SHORTCUTS.get(flag, flag)
    outer, _, inner = name.partition(":")
    if inner and SHORTCUTS.get(outer, outer) in ("env", _ENV_KWARGS):
        return f"{_ENV_KWARGS}:{inner}"
    if not inner and (name in defaults or name in _OUTPUT_FLAGS or name in ("env", _ENV_KWARGS)):
        return name
    entries = _entries(networks)
    if inner and isinstance(defaults.get(outer), dict):
        known = entries if outer == "ac_kwargs" else []
        if known and inner not in known:
            hint = nearest(inner, known).replace("'", f"'--{outer}:", 1)
            raise ConfigError(f"unknown flag --{flag}: {outer} has no {inner!r}{hint}")
        return name
    dicts = [_ENV_KWARGS, *(f"ac_kwargs:{entry}" for entry in entries)]
    flags = [*defaults, *_OUTPUT_FLAGS, *SHORTCUTS, "env", *dicts]
    hint = renamed_argument(flag, *given[:1])
    hint = hint or nearest(flag, flags).replace("'", "'--", 1)
    raise ConfigError(f"unknown flag --{flag}{hint or '; --help lists them all'}")


def _network_parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """The parameters of a training function's default actor-critic."""
    constructor = inspect.signature(function).parameters["actor_critic"].default
    return inspect.signature(constructor).parameters if callable(constructor) else {}


def _uses_torch(networks: Mapping[str, inspect.Parameter]) -> bool:
    """Whether activations are classes of torch.nn; the TensorFlow version takes their names."""
    return "activation" in networks and isinstance(networks["activation"].default, type)


def _entries(networks: Mapping[str, inspect.Parameter]) -> list[str]:
    """The valid entries of ac_kwargs; empty if every entry is valid."""
    if any(p.kind is p.VAR_KEYWORD for p in networks.values()):
        return []
    entries = [p.name for p in networks.values() if p.default is not p.empty]
    return [*entries, "encoder"] if _uses_torch(networks) else entries  # of images, see docs/images.md


def flag_groups(function: Callable[..., Any]) -> dict[str, dict[str, str]]:
    """The flags of a training command, as {title of the group: {name: description}}."""
    own = {**_ENV_FLAGS, **_OUTPUT_FLAGS}
    parameters = {name: text for name, text in _parameter_docs().items() if name not in own}
    known = {*own, *flag_defaults(function)}
    groups: dict[str, dict[str, str]] = {}
    title = ""
    texts = own | parameters
    if "engine" not in known:
        texts |= {name: text for name, text in _OF_TENSORFLOW.items() if name in texts}
    for name, text in texts.items():
        title = _GROUPS.get(name, title)
        if name in known:
            groups.setdefault(title, {})[name] = text
    return groups


def describe_flags(function: Callable[..., Any]) -> str:
    """The flags of a training command by groups, one per line, with their defaults and descriptions."""
    defaults = {name: value for name, value in flag_defaults(function).items() if name not in _OUTPUT_FLAGS}
    groups: dict[str, dict[str, str]] = {}
    for title, flags in flag_groups(function).items():
        rows = groups[title] = {}
        for name, text in flags.items():
            value = {"env": " ID", _ENV_KWARGS: " DICT"}.get(name, "")
            shown = name in defaults and not isinstance(defaults[name], dict)
            rows[f"--{name}{value}"] = f"{text} (default {defaults[name]})" if shown else text
    groups["short forms"] = {f"--{short}": f"short for --{name}" for short, name in SHORTCUTS.items()} | {
        "--a:b VALUE": "the entry b of the dict parameter a, as in --ac_kwargs:hidden_sizes",
        "--flag[short] VALUE": "use `short` for the flag in the name of the run's folder",
    }
    width = max(len(flag) for rows in groups.values() for flag in rows)
    return "\n\n".join(
        "\n".join([f"{title}:", *(f"  {flag:<{width}}  {text}" for flag, text in rows.items())])
        for title, rows in groups.items()
    )


def _parameter_docs() -> dict[str, str]:
    """A line for each parameter: the comment after its field in SACConfig, if the source is available."""
    docs = {"ac_kwargs": _AC_KWARGS, **dict.fromkeys(field_defaults(), ""), "resume": _RESUME}
    try:
        source = inspect.getsource(SACConfig)
    except OSError:
        return docs
    return docs | dict(re.findall(r"^    (\w+): .*  # (.+)$", source, re.MULTILINE))
