"""Folders of runs, and grids of experiments."""

from __future__ import annotations

import copy
import inspect
import itertools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from spinup import user_config
from spinup.checks import check_switch
from spinup.config import SACConfig
from spinup.envs.saved_spec import MakeEnv
from spinup.errors import ConfigError, option
from spinup.loggers.run_folder import already_holds_run, holds_run, refuse_both
from spinup.recipes import with_recipe
from spinup.runs.cores import run_count
from spinup.runs.jobs import run_jobs
from spinup.runs.ray_runs import MAX_SUBMITTED, RayOptions, RayRuns, ray_options
from spinup.runs.resuming import check_settings, is_complete
from spinup.runs.run_process import Job, make_job

Variant = dict[str, Any]


class Call(NamedTuple):
    """The call of a training function for one run, and the folder that the run writes to."""

    folder: str
    function: Callable[..., Any]
    kwargs: dict[str, Any]


def setup_logger_kwargs(
    exp_name: str, seed: int | None = None, data_dir: str | Path | None = None, datestamp: bool = False
) -> dict[str, Any]:
    """Keyword arguments for EpochLogger that set the folder of a run.

    The folder is `<data_dir>/<exp_name>/<exp_name>_s<seed>`; with `datestamp`,
    `<data_dir>/<date>_<exp_name>/<date>_<time>_<exp_name>_s<seed>`. Without a seed the last part is left out.

    Args:
        exp_name: name of the experiment, without slashes.
        seed: seed of the run.
        data_dir: parent folder; by default `user_config.DEFAULT_DATA_DIR`, "data" in the current folder.
        datestamp: put date and time into the names, so that runs do not share a folder.

    Returns:
        `{"output_dir": ..., "exp_name": ...}`.

    Raises:
        ConfigError: if `exp_name` is not a valid folder name.
    """
    if not isinstance(exp_name, str) or not exp_name.strip(". ") or set(exp_name) & set("/\\\0"):
        raise ConfigError(f"exp_name={exp_name!r} is not a valid folder name: use a name without slashes")
    check_switch("datestamp", datestamp)
    datestamp = datestamp or user_config.FORCE_DATESTAMP
    date = time.strftime("%Y-%m-%d_") if datestamp else ""
    moment = time.strftime("%Y-%m-%d_%H-%M-%S_") if datestamp else ""
    folder = Path(user_config.DEFAULT_DATA_DIR if data_dir is None else data_dir) / f"{date}{exp_name}"
    if seed is not None:
        folder = folder / f"{moment}{exp_name}_s{seed}"
    return {"output_dir": str(folder), "exp_name": exp_name}


class ExperimentGrid:
    """Runs all combinations of given parameter values, one after another or several at a time.

    ```python
    grid = ExperimentGrid("hc")
    grid.add("env_fn", "HalfCheetah-v5")
    grid.add("seed", [0, 10, 20])
    grid.add("ac_kwargs:hidden_sizes", [(64, 64), (256, 256)], "hid")
    grid.run(sac_pytorch)
    ```

    Args:
        name: name of the experiment; the name of each variant starts with it.
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
            key: name of the parameter; `a:b` is the entry b of the dict parameter a.
            vals: a list of values, or one value.
            shorthand: replaces the key in names, "" leaves it out; by default the first three letters of each
                part, or the key if `user_config.DEFAULT_SHORTHAND` is false.
            in_name: include the value in names even if it is the only one.

        Raises:
            ConfigError: if the key, its dict or an entry of it was added before, or there is no value.
        """
        values = list(vals) if isinstance(vals, list) else [vals]
        if not isinstance(key, str):
            raise ConfigError(f"{key!r} is not the name of a parameter: give a string, then its values")
        if key in self._keys:
            raise ConfigError(f"{key} is given twice: give all its values at once")
        for other in self._keys:
            if key.startswith(f"{other}:") or other.startswith(f"{key}:"):
                raise ConfigError(f"{other} and {key} are both given: give one of them")
        if not key or not values:
            raise ConfigError(f"{key or 'a parameter without a name'} has no value: give at least one")
        self._keys.append(key)
        self._values.append(values)
        self._shorthands.append(default_shorthand(key) if shorthand is None else shorthand)
        self._in_name.append(in_name)

    def variants(self) -> list[Variant]:
        """One dict of keyword arguments per combination; the first key varies slowest."""
        return [
            _unflatten(dict(zip(self._keys, choice, strict=True)))
            for choice in itertools.product(*self._values)
        ]

    def variant_name(self, variant: Variant) -> str:
        """The grid's name followed by the values that differ between variants, except the seed."""
        name = self.name
        columns = zip(self._keys, self._values, self._shorthands, self._in_name, strict=True)
        for key, values, shorthand, in_name in columns:
            if key == "seed" or (len(values) == 1 and not in_name):
                continue
            value = _get(variant, key)
            if shorthand and all(isinstance(v, bool) for v in values):
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
        thunk: Callable[..., Any] | str,
        num_cpu: int | str = 1,
        data_dir: str | Path | None = None,
        datestamp: bool = False,
        *,
        overwrite: bool = False,
        after: Callable[[str, Variant], None] | None = None,
        how_to_continue: str = "run the grid again with the parameter resume=True",
        ray: bool | str = False,
        cpus_per_run: float | None = None,
        gpus_per_run: float | None = None,
    ) -> list[str]:
        """Call `thunk` with each variant (see `call_kwargs`) and its `logger_kwargs`.

        Every folder is checked before the first run starts. If several runs have `resume`, complete ones are
        skipped.

        Args:
            thunk: `sac_pytorch`, or another function with these keyword arguments; or the name of a parameter
                of the grid whose values are such functions.
            num_cpu: number of runs at a time. With 1, runs are executed one after another in this process,
                and the first failure ends the grid. With more, or "auto" (one per usable core), each run has
                its own process, with one thread if `thunk` has a parameter `threads` that the grid does not
                set. The output of a run then goes to `log.txt` in its folder, and a failure does not stop the
                other runs.
            data_dir: see `setup_logger_kwargs`.
            datestamp: see `setup_logger_kwargs`.
            overwrite: replace existing runs.
            after: called with the folder and the variant of each run once it is complete.
            how_to_continue: what to do to continue interrupted runs, for the message if `num_cpu` is not 1.
            ray: execute the runs on Ray (docs/scale.md): True starts Ray on this machine, "auto" or an
                address connects to a cluster, whose nodes must share the folders of the runs. Each run has
                its own process; a `num_cpu` > 1 limits the number of runs at a time.
            cpus_per_run: CPUs that Ray reserves for each run; by default its number of threads.
            gpus_per_run: GPUs that Ray reserves for each run; by default 1 if `device` is cuda, else 0.

        Returns:
            The folders of the runs.

        Raises:
            ConfigError: if two variants would share a folder, or both `overwrite` and `resume` are set; if
                `num_cpu` is not 1, also for arguments that cannot be pickled.
            RunError: if a folder holds a run already, or Ray cannot be reached.
            RunsFailed: if `num_cpu` is not 1 and a run failed, once all others have ended.
            MissingExtraError: if `ray` is given and Ray is not installed.
            KeyboardInterrupt, SystemExit: after SIGINT, and after SIGTERM or SIGUSR1; checkpoints are written
                first.
        """
        count = run_count("num_cpu", num_cpu)
        cluster = ray_options(ray, cpus_per_run, gpus_per_run)
        if cluster is not None and num_cpu in (1, "auto"):
            count = MAX_SUBMITTED
        if isinstance(thunk, str):
            self._check_functions(thunk)
        runs = list(zip(self.variants(), self._logger_kwargs(data_dir, datestamp), strict=True))
        folders: list[str] = [logger_kwargs["output_dir"] for _, logger_kwargs in runs]
        for (variant, _), folder in zip(runs, folders, strict=True):
            refuse_both(overwrite, bool(variant.get("resume")))
            if not (overwrite or variant.get("resume")) and holds_run(folder):
                raise already_holds_run(folder)
        calls: list[Call] = []
        for variant, logger_kwargs in runs:
            folder = logger_kwargs["output_dir"]
            kwargs = call_kwargs(variant)
            function = kwargs.pop(thunk) if isinstance(thunk, str) else thunk
            if len(runs) > 1 and variant.get("resume") and _has_completed(kwargs, folder):
                print(f"{folder} is complete: skipped")
                continue
            given = kwargs.get("logger_kwargs", {})
            kwargs["logger_kwargs"] = given | logger_kwargs | ({"overwrite": True} if overwrite else {})
            calls.append(Call(folder, function, kwargs))
        variants = dict(zip(map(os.path.abspath, folders), (variant for variant, _ in runs), strict=True))

        def finished(folder: str) -> None:
            if after is not None:
                after(folder, variants[os.path.abspath(folder)])

        run_calls(calls, count, how_to_continue, finished, cluster)
        return folders

    def _check_functions(self, key: str) -> None:
        if key not in self._keys:
            raise ConfigError(f"{key!r} is not a parameter of the grid: give a function, or the name of one")
        for value in self._values[self._keys.index(key)]:
            if not callable(value):
                raise ConfigError(f"{key}={value!r} is not a function: the grid calls it for each variant")

    def _logger_kwargs(self, data_dir: str | Path | None, datestamp: bool) -> list[dict[str, Any]]:
        found = []
        for variant in self.variants():
            name = self.variant_name(variant)
            found.append(setup_logger_kwargs(name, variant.get("seed", 0), data_dir, datestamp))
        folders = [kwargs["output_dir"] for kwargs in found]
        for i, folder in enumerate(folders):
            if folder in folders[:i]:
                raise ConfigError(
                    f"two variants would share the folder {folder}: remove the repeated value, or give the "
                    + option("parameters distinct shorthands", "flags distinct names with --flag[short]")
                )
        return found


def run_calls(
    calls: list[Call],
    count: int,
    how_to_continue: str,
    after: Callable[[str], None] | None = None,
    ray: RayOptions | None = None,
) -> None:
    """Make the calls: one after another in this process if `count` is 1 without Ray, else in processes.

    Args:
        calls: the runs.
        count: runs at a time.
        how_to_continue: see `ExperimentGrid.run`.
        after: see `ExperimentGrid.run`; with Ray it receives the absolute path.
        ray: options of Ray, if the runs are executed there; None executes them on this machine.

    Raises:
        ConfigError: for arguments that cannot be pickled, unless `count` is 1 without Ray.
        RunsFailed: see `run_jobs`, unless `count` is 1 without Ray.
    """
    if not calls:
        return
    if ray is not None:
        jobs = [make_run_job(_with_absolute_folder(call)) for call in calls]
        with RayRuns(ray) as runs:
            run_jobs(jobs, count, how_to_continue, after, runs.start)
    elif count == 1:
        for call in calls:
            call.function(**call.kwargs)
            if after is not None:
                after(call.folder)
    else:
        run_jobs([make_run_job(call) for call in calls], count, how_to_continue, after)


def make_run_job(call: Call) -> Job:
    """A job that makes the call in a separate process, with one thread unless the call sets `threads`.

    Raises:
        ConfigError: for arguments that cannot be pickled.
    """
    return make_job(call.folder, call.function, {**_one_thread(call.function), **call.kwargs})


def _with_absolute_folder(call: Call) -> Call:
    """The call with absolute paths, for a process with another working directory."""
    logger_kwargs = call.kwargs.get("logger_kwargs", {})
    folder = str(Path(call.folder).absolute())
    return Call(
        folder, call.function, {**call.kwargs, "logger_kwargs": {**logger_kwargs, "output_dir": folder}}
    )


def _one_thread(function: Callable[..., Any]) -> dict[str, int]:
    return {"threads": 1} if "threads" in inspect.signature(function).parameters else {}


def _has_completed(kwargs: dict[str, Any], folder: str) -> bool:
    """Whether the folder holds the complete run of these arguments.

    Raises:
        ConfigError: if it holds a run with other settings.
    """
    if not holds_run(folder):
        return False
    kwargs = with_recipe(kwargs)
    config = SACConfig.from_settings(kwargs)
    check_settings(Path(folder), config, kwargs.get("ac_kwargs", {}), kwargs.get("env_fn"))
    output_fname = kwargs.get("logger_kwargs", {}).get("output_fname", "progress.txt")
    return is_complete(Path(folder), config.epochs, output_fname)


def call_experiment(
    exp_name: str,
    thunk: Callable[..., Any],
    seed: int = 0,
    num_cpu: int = 1,
    data_dir: str | Path | None = None,
    datestamp: bool = False,
    **kwargs: Any,
) -> None:
    """Run one experiment: an ExperimentGrid of a single variant.

    Args:
        exp_name, data_dir, datestamp: see `setup_logger_kwargs`.
        thunk: `sac_pytorch`, or another function with these keyword arguments.
        seed: the run's seed.
        num_cpu: see `ExperimentGrid.run`.
        kwargs: other keyword arguments of `thunk`, and arguments that `call_kwargs` converts.

    Raises:
        ConfigError, RunError: see `ExperimentGrid.run`.
    """
    grid = ExperimentGrid(exp_name)
    for key, value in {**kwargs, "seed": seed}.items():
        grid.add(key, [value])
    grid.run(thunk, num_cpu, data_dir, datestamp)


def call_kwargs(variant: Variant) -> dict[str, Any]:
    """The keyword arguments of a variant's call: `env_name` and `env_kwargs` are replaced by `env_fn`."""
    kwargs = copy.deepcopy(variant)
    env = kwargs.get("env_name", kwargs.get("env_fn"))
    if isinstance(env, str) and ("env_name" in kwargs or "env_kwargs" in kwargs):
        env = MakeEnv(env, kwargs.pop("env_kwargs", {}))
    kwargs.pop("env_name", None)
    return kwargs if env is None else {**kwargs, "env_fn": env}


def default_shorthand(key: str) -> str:
    """The first three characters of each part of a key: `ac_kwargs:hidden_sizes` becomes `ac-hid`."""
    if not user_config.DEFAULT_SHORTHAND:
        return key.replace(":", "-")
    return "-".join("".join(c for c in part[:3] if c.isascii() and c.isalnum()) for part in key.split(":"))


def value_name(value: Any) -> str:
    """A value as part of a folder name: lower-case letters, digits, dots, dashes and underscores."""
    if isinstance(value, (list, tuple)):
        return "-".join(map(value_name, value))
    text = getattr(value, "__name__", None) or str(value)
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in str(text).lower())


def _unflatten(flat: Variant) -> Variant:
    """`{"a:b": 1}` as `{"a": {"b": 1}}`."""
    variant: Variant = {}
    for key, value in flat.items():
        *outer, last = key.split(":")
        target = variant
        for part in outer:
            target = target.setdefault(part, {})
        target[last] = copy.deepcopy(value)
    return variant


def _get(variant: Variant, key: str) -> Any:
    for part in key.split(":"):
        variant = variant[part]
    return variant
