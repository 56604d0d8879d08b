"""Executes runs on a Ray cluster: each is a Ray task that supervises the run's process on its node.

The task starts a `RunProcess`, as for several runs on one machine. Once a second, it sends the reports of
that process to the mailbox, an actor of the submitting process; the answer says whether the run is to stop.
If the mailbox no longer exists, because the submitting process has ended, the task stops its run. A run whose
node or worker process dies, or that is killed from outside, is submitted again and resumes from its last
checkpoint.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import itertools
import math
import os
import pickle
import sys
import threading
from dataclasses import dataclass
from typing import Any

from spinup.errors import ConfigError, RunError, option
from spinup.hints import nearest
from spinup.loggers.display import Report
from spinup.loggers.run_folder import LOG_FILE
from spinup.loggers.runs_display import WAITING
from spinup.loggers.text import error_line
from spinup.ray_connection import connect, import_ray
from spinup.runs.cores import usable_cores
from spinup.runs.jobs import Start, StartedRun
from spinup.runs.ray_task import STOPPED, mailbox_class, supervise
from spinup.runs.run_process import Job, RunProcess, make_job
from spinup.runs.signals import EXIT_CODES

MAX_SUBMITTED = 1000  # maximum number of runs submitted to Ray at a time; the others wait in this process
MAX_RESTARTS = 3  # of a run, in succession without a finished epoch
_POLL_SECONDS = 0.1  # minimum time between two reads of the mailbox by this process
_OBJECT_STORE_BYTES = 100 * 2**20  # of a local Ray; enough, since tasks return a number and a line of text
_KILLED = (*EXIT_CODES, 128 + 9)  # exit codes if a node shuts down, or its memory runs out


@dataclass(frozen=True)
class RayOptions:
    """How runs are executed on Ray.

    Attributes:
        address: address of the cluster; "auto" is the one that runs on this machine, None starts a new one.
        cpus_per_run: CPUs that Ray reserves for each run; None is its number of threads.
        gpus_per_run: GPUs that Ray reserves for each run; None is 1 if its `device` is cuda, else 0.
    """

    address: str | None = None
    cpus_per_run: float | None = None
    gpus_per_run: float | None = None


def ray_options(ray: bool | str, cpus_per_run: Any = None, gpus_per_run: Any = None) -> RayOptions | None:
    """Check the arguments about Ray and return them as options; None if `ray` is False.

    Args:
        ray: True, False or an address.
        cpus_per_run: a number > 0, or None.
        gpus_per_run: a number >= 0, or None.

    Raises:
        ConfigError: for any other value.
    """
    for name, value, low in (("cpus_per_run", cpus_per_run, 0.001), ("gpus_per_run", gpus_per_run, 0.0)):
        if value is None:
            continue
        if ray is False:
            needed = option("ray=True", "--ray")
            raise ConfigError(f"{name}={value!r} has no effect without {needed}: give both, or none")
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value) or value < low:
            raise ConfigError(f"{name}={value!r}: give a number {'>' if low else '>='} 0")
        if value > 1 and value != int(value):
            raise ConfigError(f"{name}={value!r}: give a fraction below 1, or a whole number")
    if ray is False:
        return None
    if ray is not True and (not isinstance(ray, str) or not ray.strip()):
        raise ConfigError(f"ray={ray!r}: give True, 'auto', or the address of a cluster, as in 10.0.0.1:6379")
    if isinstance(ray, str) and ray != "auto" and ":" not in ray:
        hint = nearest(ray, ["auto"]) or ": give 'auto', or an address with a port, as in 10.0.0.1:6379"
        raise ConfigError(f"ray={ray!r}{hint}")
    return RayOptions(None if ray is True else ray, cpus_per_run, gpus_per_run)


class RayRuns:
    """Context manager that connects to Ray and starts runs there.

    If this process is connected to Ray already, that connection is used, and the address is ignored.

    Args:
        options: address of the cluster, and resources of a run.
        process: starts a run on its node; see `RunProcess`.

    Raises:
        MissingExtraError: if Ray is not installed.
        RunError: if the cluster cannot be reached, or Ray cannot be started.
    """

    def __init__(self, options: RayOptions, process: Start = RunProcess) -> None:
        self._options, self._process = options, process
        self._runs: dict[int, _Submitted] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._numbers = itertools.count()
        self._fits: dict[tuple[float, ...], bool] = {}  # by CPUs and GPUs, as of the last check

    def __enter__(self) -> RayRuns:
        self._ray = import_ray()
        self._disconnect = connect(
            self._options.address, {"num_cpus": usable_cores(), "object_store_memory": _OBJECT_STORE_BYTES}
        )
        strategies = importlib.import_module("ray.util.scheduling_strategies")
        here = self._ray.get_runtime_context().get_node_id()
        place = strategies.NodeAffinitySchedulingStrategy(here, soft=False)
        mailbox = self._ray.remote(mailbox_class())
        self._mailbox = mailbox.options(num_cpus=0, scheduling_strategy=place).remote()
        self._task = self._ray.remote(supervise)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._closed.set()
        self._thread.join()
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(self._mailbox)
        if self._disconnect is not None:
            self._disconnect()

    def room(self) -> int:
        """Number of runs that the nodes of the cluster can execute at a time, at least 1."""
        cpus, gpus = self._options.cpus_per_run or 1, self._options.gpus_per_run or 0
        return max(
            1, sum(min(_times(node, "CPU", cpus), _times(node, "GPU", gpus)) for node in self._nodes())
        )

    def start(self, job: Job, report: Report) -> StartedRun:
        """Submit a run; see `RunProcess` for what is reported.

        Raises:
            RunError: if its folder cannot be created, or the connection was lost.
            ConfigError: if the run requests more resources than this machine has, and Ray runs only here.
        """
        try:
            job.folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunError(f"cannot create {job.folder.parent} ({error.strerror}): give another") from None
        run = _Submitted(self, next(self._numbers), job, report, self._resources(job))
        self._check_room(run)
        with self._lock:
            self._runs[run.number] = run
            run.submit()
        if not self._thread.is_alive():
            raise RunError("the connection to Ray was lost: run the command again")
        return run

    def _resources(self, job: Job) -> dict[str, float]:
        """The CPUs and GPUs that Ray reserves for a run."""
        kwargs = pickle.loads(job.call)[1] if job.call else {}
        threads, device = kwargs.get("threads"), kwargs.get("device")
        cpus, gpus = self._options.cpus_per_run, self._options.gpus_per_run
        if cpus is None:
            cpus = threads if isinstance(threads, int) else 1
        if gpus is None:
            gpus = 1 if isinstance(device, str) and device.startswith("cuda") else 0
        return {"num_cpus": cpus, "num_gpus": gpus}

    def _check_room(self, run: _Submitted) -> None:
        """Check whether any node has the resources of a run.

        Raises:
            ConfigError: if none has, and Ray runs only on this machine. For a cluster, the run waits, with a
                report, since a node may join.
        """
        cpus, gpus = resources = tuple(run.resources.values())
        known = resources in self._fits
        if not known:
            nodes = self._nodes()
            self._fits[resources] = any(_times(n, "CPU", cpus) and _times(n, "GPU", gpus) for n in nodes)
        if self._fits[resources]:
            return
        what = f"{cpus:g} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        if self._options.address is None and self._disconnect is not None:
            flags = option("cpus_per_run and gpus_per_run", "--cpus_per_run and --gpus_per_run")
            raise ConfigError(f"a run asks for {what}, which this machine does not have: give other {flags}")
        if not known:
            run.report("state", [WAITING, f"no node of the cluster has {what}: it waits until one joins"])

    def _nodes(self) -> list[dict[str, float]]:
        """The resources of each node that is alive."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def submit(self, run: _Submitted, resumed: bool) -> Any:
        """Submit the task of a run; returns the reference to its result."""
        task = self._task.options(max_retries=0, name=f"spinup {run.job.folder.name}", **run.resources)
        paths = [os.path.abspath(path) for path in sys.path]
        return task.remote(run.job, run.number, resumed, paths, self._mailbox, self._process)

    def stop(self, run: _Submitted) -> None:
        """Stop a run, or prevent it from starting."""
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.get(self._mailbox.stop.remote(run.number))
        if not run.begun:
            self._ray.cancel(run.reference)

    def kill(self, run: _Submitted) -> None:
        """Kill the worker process of a run, which ends the run's process too."""
        self._ray.cancel(run.reference, force=True)

    def _serve(self) -> None:
        """Forward reports and ends of runs, in a thread, until the context ends."""
        try:
            while not self._closed.wait(_POLL_SECONDS):
                self._deliver(0.5)
                self._end_finished()
        except Exception as error:  # the connection to Ray was lost, and so the state of all runs is unknown
            with self._lock:
                runs, self._runs = list(self._runs.values()), {}
            for run in runs:
                run.report("end", [1, f"the connection to Ray was lost ({error_line(error)})"])

    def _deliver(self, seconds: float) -> None:
        for number, kind, value in self._ray.get(self._mailbox.take.remote(seconds)):
            if number in self._runs:
                self._runs[number].receive(kind, value)

    def _end_finished(self) -> None:
        with self._lock:
            runs = {run.reference: run for run in self._runs.values()}
        ended = self._ray.wait(list(runs), num_returns=len(runs), timeout=0)[0] if runs else []
        if ended:
            self._deliver(0.0)  # reports that they sent before they ended
        for reference in ended:
            self._end(runs[reference])

    def _end(self, run: _Submitted) -> None:
        errors = self._ray.exceptions
        try:
            end = self._ray.get(run.reference)
        except errors.TaskCancelledError:
            end = STOPPED
        except errors.RayTaskError as error:
            cause = error_line(error.cause or error)
            end = [1, f"its task failed on its node ({cause}): is this version of spinup installed there?"]
        except errors.RayError as error:
            end = run.lost(f"its node or its worker process died ({error_line(error)})")
        else:
            if end[0] in _KILLED:
                end = run.lost(end[1], end)
        with self._lock:
            if end is None:
                run.submit()
            else:
                del self._runs[run.number]
        if end is not None:
            run.report("end", end)


class _Submitted:
    """A run that was submitted to the cluster.

    Attributes:
        number: identifies the run in the mailbox.
        resources: num_cpus and num_gpus.
        reference: reference to the result of its task.
        begun: whether its task has sent a report.
    """

    def __init__(
        self, runs: RayRuns, number: int, job: Job, report: Report, resources: dict[str, float]
    ) -> None:
        self._runs, self.number, self.job, self.report, self.resources = runs, number, job, report, resources
        self.reference: Any = None
        self.begun = False
        self._stopping = self._trained = False
        self._restarts = 0

    def submit(self) -> None:
        """Submit the run, for the first time or again."""
        self.begun = False
        self.reference = self._runs.submit(self, self._restarts > 0)

    def receive(self, kind: str, value: Any) -> None:
        """Forward a report of its process."""
        self.begun = True
        if kind in ("progress", "row"):
            self._trained = True
        if kind == "row":
            self._restarts = 0
        if kind != "begun":
            self.report(kind, value)

    def lost(self, reason: str, end: list[Any] | None = None) -> list[Any] | None:
        """The end to report for a run that was lost, or None if it is to be submitted again."""
        if self._stopping:
            return STOPPED
        if self._restarts == MAX_RESTARTS:
            times = f"{MAX_RESTARTS + 1} times without a finished epoch in between"
            return [end[0] if end else 1, f"{reason}, {times}; its output is in {self.job.folder / LOG_FILE}"]
        self._restarts += 1
        self.job = _resuming(self.job, self._trained)
        self.report(
            "state",
            [
                WAITING,
                f"{reason}: it starts again from its last checkpoint ({self._restarts}/{MAX_RESTARTS})",
            ],
        )
        return None

    def stop(self) -> None:
        """See `RunProcess`."""
        self._stopping = True
        self._runs.stop(self)

    def kill(self) -> None:
        """See `RunProcess`; it does not wait for the end."""
        self._stopping = True
        self._runs.kill(self)


def _resuming(job: Job, trained: bool) -> Job:
    """The job that starts a run again.

    Args:
        job: the job that started it.
        trained: whether the run has reported progress. If not, a job with `overwrite` may not have removed
            the earlier run in its folder, and is repeated as it is.
    """
    function, kwargs = pickle.loads(job.call)  # made by `make_job` in this process
    logger_kwargs = dict(kwargs.get("logger_kwargs", {}))
    if "resume" not in inspect.signature(function).parameters:
        return job
    if logger_kwargs.pop("overwrite", False) and not trained:
        return job
    return make_job(job.folder, function, {**kwargs, "logger_kwargs": logger_kwargs, "resume": True})


def _times(resources: dict[str, float], name: str, amount: float) -> int:
    """How many times `amount` of the resource `name` fits into `resources`; MAX_SUBMITTED if it is 0."""
    return int(resources.get(name, 0) // amount) if amount else MAX_SUBMITTED
