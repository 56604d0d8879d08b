"""`--config FILE`: flags of a training command from a YAML or JSON file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spinup.config import field_defaults
from spinup.errors import ConfigError, MissingExtraError, RunError
from spinup.files import read_regular
from spinup.hints import nearest

MAX_BYTES, MAX_CONTAINERS = 2**16, 500  # bounded, since the parsing time of YAML is quadratic in the nesting
_FLAG = "--config"


def with_config(words: Sequence[str], names: dict[str, str]) -> list[str]:
    """Replace `--config FILE` in the words of a command by the settings in that file.

    The file maps names of flags to settings (`lr: 0.001`, `ac_kwargs: {hidden_sizes: [64, 64]}`); or it maps
    environment ids to such mappings, and the mapping for the command's `--env` is used. A list for a flag
    that takes no list is a grid. Flags of the command take precedence over those of the file.

    Args:
        words: the arguments after the subcommand.
        names: maps short flags to parameters, such as hid to ac_kwargs:hidden_sizes.

    Raises:
        ConfigError: if the file is neither YAML nor JSON, or has no settings for the environment.
        MissingExtraError: for a YAML file without PyYAML.
    """
    rest, path = _take_path(words)
    if path is None:
        return rest
    flags = [word[2:].split("=")[0].split("[")[0] for word in rest if word.startswith("--")]
    given = {_parameter(flag, names) for flag in flags}
    settings = _for_env(_load(path), _env(rest), path)
    added: list[str] = []
    for name, value in _flat(settings, ""):
        parameter = _parameter(name, names)
        if not any(_overlap(parameter, other) for other in given):
            values = value if isinstance(value, list) and not _takes_list(parameter, value) else [value]
            added += [f"--{name}", *(v if isinstance(v, str) else repr(v) for v in values)]
    return [*rest, *added]


def _parameter(flag: str, names: dict[str, str]) -> str:
    """The parameter that a flag sets; `env:<name>` is an entry of env_kwargs."""
    return f"env_kwargs:{flag[4:]}" if flag.startswith("env:") else names.get(flag, flag)


def _takes_list(parameter: str, value: list[Any]) -> bool:
    """Whether the list is one value of the parameter, not a grid of values, as a list of lists is."""
    if ":" in parameter:
        return True
    return isinstance(field_defaults().get(parameter), tuple) and not any(isinstance(v, list) for v in value)


def _take_path(words: Sequence[str]) -> tuple[list[str], Path | None]:
    """The words without the flag, and its value."""
    rest = list(words)
    places = [i for i, word in enumerate(rest) if word == _FLAG or word.startswith(f"{_FLAG}=")]
    if not places:
        return rest, None
    if len(places) > 1:
        raise ConfigError(f"{_FLAG} is given twice: give one file")
    word = rest.pop(places[0])
    if word != _FLAG:
        return rest, Path(word.removeprefix(f"{_FLAG}="))
    values = rest[places[0] :]
    count = next((i for i, value in enumerate(values) if value.startswith("--")), len(values))
    if count != 1:
        raise ConfigError(f"{_FLAG} takes one file, not {count}")
    return rest, Path(rest.pop(places[0]))


def _env(words: list[str]) -> str | None:
    """The environment of the command; None if there is not exactly one."""
    for i, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag in ("--env", "--env_name"):
            following = words[i + 1 : i + 3]
            several = len(following) > 1 and not following[1].startswith("--")
            return value or (following[0] if following and not several else None)
    return None


def _load(path: Path) -> dict[str, Any]:
    try:
        data = read_regular(path, MAX_BYTES)
    except RunError as error:
        raise ConfigError(f"{error}: give {_FLAG} a .yaml or .json file") from None
    if data.count(b"[") + data.count(b"{") > MAX_CONTAINERS:
        raise ConfigError(f"{path} cannot be read (more than {MAX_CONTAINERS} lists): correct the file")
    try:
        loaded = json.loads(data) if path.suffix == ".json" else _load_yaml(data)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{path} cannot be read ({reason}): correct the file") from None
    if not isinstance(loaded, dict) or not all(isinstance(key, str) for key in loaded):
        raise ConfigError(f"{path} is not a mapping of flags to values: write lines such as lr: 0.001")
    return loaded


def _load_yaml(data: bytes) -> Any:
    """The value of a YAML text of plain data; raises ValueError for anything else."""
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("YAML files need PyYAML: pip install 'spinup[yaml]', or write JSON") from None
    try:
        # Aliases are refused, since with them a short text can expand without bound.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(data, Loader=yaml.SafeLoader)):
            raise ValueError("aliases are not supported")
        return yaml.safe_load(data)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def _for_env(settings: dict[str, Any], env: str | None, path: Path) -> dict[str, Any]:
    """The settings of one environment, if the file has them by environment."""
    ids = [name for name in settings if "-v" in name]
    if not ids:
        return settings
    if env is None:
        raise ConfigError(f"{path} has settings by environment: give one environment with --env")
    env = env if env in settings else env.rpartition(":")[2]
    if env not in settings:
        hint = nearest(env, ids)
        raise ConfigError(f"{path} has no settings for {env}{hint or ', only for ' + ', '.join(ids)}")
    if not isinstance(settings[env], dict):
        raise ConfigError(
            f"{path} gives {env} no mapping of flags to values: write lines such as lr: 0.001 below it"
        )
    return dict(settings[env])


def _flat(settings: dict[str, Any], prefix: str) -> list[tuple[str, Any]]:
    """Flatten nested dicts of settings; keys are joined as in `ac_kwargs:hidden_sizes`."""
    found: list[tuple[str, Any]] = []
    for name, value in settings.items():
        found += _flat(value, f"{prefix}{name}:") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return found


def _overlap(one: str, other: str) -> bool:
    """Whether two flags set the same parameter, or one sets an entry of the other."""
    return one == other or one.startswith(f"{other}:") or other.startswith(f"{one}:")
