"""Where runs go, and grids of them."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from spinup.envs.rebuild import MakeEnv
from spinup.errors import ConfigError, RunError
from spinup.loggers.run_folder import holds_run, refuse_both

Variant = dict[str, Any]


def setup_logger_kwargs(
    exp_name: str, seed: int | None = None, data_dir: str | Path | None = None, datestamp: bool = False
) -> dict[str, Any]:
    """Keyword arguments for EpochLogger that put a run in its place.

    The folder is `<data_dir>/<exp_name>/<exp_name>_s<seed>`; with `datestamp`,
    `<data_dir>/<date>_<exp_name>/<date>_<time>_<exp_name>_s<seed>`. Without a seed the last part is left out.

    Args:
        exp_name: the experiment's name; one folder, so no slashes.
        seed: the run's seed.
        data_dir: "data" in the current folder, unless given.
        datestamp: put the date and time into the names, so that no two runs meet.

    Returns:
        `{"output_dir": ..., "exp_name": ...}`.

    Raises:
        ConfigError: if `exp_name` is no name for a folder.
    """
    if not isinstance(exp_name, str) or not exp_name.strip(". ") or set(exp_name) & set("/\\\0"):
        raise ConfigError(f"exp_name={exp_name!r}: give a name for a folder, without slashes")
    date = time.strftime("%Y-%m-%d_") if datestamp else ""
    moment = time.strftime("%Y-%m-%d_%H-%M-%S_") if datestamp else ""
    folder = Path("data" if data_dir is None else data_dir) / f"{date}{exp_name}"
    if seed is not None:
        folder = folder / f"{moment}{exp_name}_s{seed}"
    return {"output_dir": str(folder), "exp_name": exp_name}


class ExperimentGrid:
    """Every combination of the values given for some parameters, run one after another.

    Example::

        grid = ExperimentGrid("hc")
        grid.add("env_fn", "HalfCheetah-v5")
        grid.add("seed", [0, 10, 20])
        grid.add("ac_kwargs:hidden_sizes", [(64, 64), (256, 256)], "hid")
        grid.run(sac_pytorch)

    Args:
        name: the experiment's name, with which the name of each variant starts.
    """

    def __init__(self, name: str = "") -> None:
        self.name = name
        self._keys: list[str] = []
        self._values: list[list[Any]] = []
        self._shorthands: list[str] = []
        self._in_name: list[bool] = []

    def add(self, key: str, vals: Any, shorthand: str | None = None, in_name: bool = False) -> None:
        """Add a parameter.

        Args:
            key: the parameter's name; `a:b` is the entry b of the dict parameter a.
            vals: a list of values, or one value.
            shorthand: what stands for the key in names; by default the first three letters of each part.
            in_name: name the value even where it is the only one.

        Raises:
            ConfigError: if the key is there already, or there is no value.
        """
        values = list(vals) if isinstance(vals, list) else [vals]
        if key in self._keys:
            raise ConfigError(f"{key} is given twice: give all its values at once")
        if not key or not values:
            raise ConfigError(f"{key or 'a parameter without a name'} has no value: give at least one")
        self._keys.append(key)
        self._values.append(values)
        self._shorthands.append(shorthand or default_shorthand(key))
        self._in_name.append(in_name)

    def variants(self) -> list[Variant]:
        """One dict of keyword arguments per combination; the first key varies slowest."""
        return [
            _nested(dict(zip(self._keys, choice, strict=True))) for choice in itertools.product(*self._values)
        ]

    def variant_name(self, variant: Variant) -> str:
        """The grid's name and the values that tell this variant from the others, all but the seed."""
        name = self.name
        columns = zip(self._keys, self._values, self._shorthands, self._in_name, strict=True)
        for key, values, shorthand, in_name in columns:
            if key == "seed" or (len(values) == 1 and not in_name):
                continue
            value = _entry(variant, key)
            if all(isinstance(v, bool) for v in values):
                name += f"_{shorthand}" if value else ""
            else:
                name += f"_{shorthand}{value_name(value)}"
        return name.lstrip("_")

    def describe(self) -> str:
        """The parameters with their values, and the number of variants."""
        lines = [f"Experiment grid {self.name!r}:" if self.name else "Experiment grid:"]
        for key, values in zip(self._keys, self._values, strict=True):
            lines.append(f"  {key}: {', '.join(map(value_name, values))}")
        count = len(self.variants())
        return "\n".join([*lines, f"  {count} variant{'s' * (count != 1)}"])

    def print(self) -> None:
        """Print `describe()`."""
        print(self.describe())

    def run(
        self,
        thunk: Callable[..., Any],
        num_cpu: int = 1,
        data_dir: str | Path | None = None,
        datestamp: bool = False,
        *,
        overwrite: bool = False,
        after: Callable[[str], None] | None = None,
    ) -> list[str]:
        """Call `thunk` with each variant and its `logger_kwargs`; `env_name` becomes the function `env_fn`.

        Every folder is checked before the first run starts.

        Args:
            thunk: `sac_pytorch` or alike.
            num_cpu: kept for old scripts; only 1 is possible.
            data_dir: see `setup_logger_kwargs`.
            datestamp: see `setup_logger_kwargs`.
            overwrite: replace runs that are there already.
            after: called with the folder of each run when it has ended.

        Returns:
            The folders of the runs.

        Raises:
            ConfigError: if two variants would share a folder, or one is to be both replaced and resumed.
            RunError: if a folder holds a run already.
        """
        if num_cpu != 1:
            raise ConfigError(f"num_cpu={num_cpu!r}: SAC runs in one process; num_envs gives it more to do")
        places = self._places(data_dir, datestamp)
        for variant, place in zip(self.variants(), places, strict=True):
            refuse_both(overwrite, bool(variant.get("resume")))
            if not (overwrite or variant.get("resume")) and holds_run(place["output_dir"]):
                raise RunError(
                    f"{place['output_dir']} already holds a run: continue it with resume, keep both with "
                    "--datestamp, or replace it with --overwrite"
                )
        for variant, place in zip(self.variants(), places, strict=True):
            kwargs = copy.deepcopy(variant)
            if "env_name" in kwargs:
                name = kwargs.pop("env_name")
                kwargs["env_fn"] = MakeEnv(name) if isinstance(name, str) else name
            thunk(**kwargs, logger_kwargs={**place, "overwrite": True} if overwrite else place)
            if after is not None:
                after(place["output_dir"])
        return [place["output_dir"] for place in places]

    def _places(self, data_dir: str | Path | None, datestamp: bool) -> list[dict[str, Any]]:
        places = []
        for variant in self.variants():
            name = self.variant_name(variant)
            places.append(setup_logger_kwargs(name, variant.get("seed", 0), data_dir, datestamp))
        seen: set[str] = set()
        for place in places:
            if place["output_dir"] in seen:
                raise ConfigError(
                    f"two variants would share the folder {place['output_dir']}: drop the value given twice, "
                    "or name the flags apart with --flag[short]"
                )
            seen.add(place["output_dir"])
        return places


def default_shorthand(key: str) -> str:
    """The first three letters or digits of each part of a key: `ac_kwargs:hidden_sizes` gives `ac-hid`."""
    return "-".join("".join(c for c in part[:3] if c.isascii() and c.isalnum()) for part in key.split(":"))


def value_name(value: Any) -> str:
    """A value as a part of a folder's name: lower case letters, digits, dots and dashes."""
    if isinstance(value, (list, tuple)):
        return "-".join(map(value_name, value))
    text = getattr(value, "__name__", None) or str(value)
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in str(text).lower())


def _nested(flat: Variant) -> Variant:
    """`{"a:b": 1}` as `{"a": {"b": 1}}`."""
    variant: Variant = {}
    for key, value in flat.items():
        *outer, last = key.split(":")
        place = variant
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = copy.deepcopy(value)
    return variant


def _entry(variant: Variant, key: str) -> Any:
    for part in key.split(":"):
        variant = variant[part]
    return variant
