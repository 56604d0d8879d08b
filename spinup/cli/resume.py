"""`spinup resume RUN_DIR`: continues a run, or all unfinished runs in a folder."""

from __future__ import annotations

import shlex
from pathlib import Path

from spinup.cli.parser import Parser
from spinup.cli.values import read_value
from spinup.files import existing_dir, read_json
from spinup.runs.cores import run_count
from spinup.runs.grid import run_calls
from spinup.runs.ray_runs import MAX_SUBMITTED, ray_options
from spinup.runs.resuming import is_complete
from spinup.saved_call import ALGORITHMS, resume_call, saved_logger_kwargs


def main(words: list[str]) -> int:
    """Run `spinup resume`.

    Raises:
        SpinupError: before the first run, see `spinup.saved_call.resume_call`; else see `run_calls`.
    """
    parser = Parser(
        "spinup resume", "Continue a run, or all unfinished runs in a folder, to the planned end."
    )
    add = parser.add_argument
    add("run_dir", metavar="RUN_DIR", help="folder of a run, as data/hc/hc_s0, or of runs, as data/hc")
    add("--epochs", type=int, metavar="N", help="train until epoch N instead of the planned end")
    add("--threads", metavar="N", help="CPU threads of an update from now on; auto: as for a new run")
    add("--env", metavar="ID", help="module:Env-v0, to import the module that registers it")
    add("--jobs", default="1", metavar="N", help="runs at a time; auto: one per usable core")
    add("--ray", nargs="?", const=True, default=False, metavar="ADDRESS", help="execute the runs on Ray")
    add("--cpus_per_run", type=float, metavar="N", help="CPUs that Ray reserves for a run")
    add("--gpus_per_run", type=float, metavar="N", help="GPUs that Ray reserves for a run")
    args = parser.parse(words)
    count = run_count("jobs", read_value(args.jobs))
    cluster = ray_options(args.ray, args.cpus_per_run, args.gpus_per_run)
    if cluster is not None and args.jobs in ("1", "auto"):
        count = MAX_SUBMITTED
    threads = None if args.threads is None else read_value(args.threads)
    threads = 1 if threads is None and count > 1 else threads
    folders = unfinished_runs(existing_dir(args.run_dir), args.epochs)
    calls = [resume_call(folder, args.epochs, args.env, threads) for folder in folders]
    run_calls(calls, count, shlex.join(["spinup", "resume", *words]), ray=cluster)
    return 0


def unfinished_runs(folder: Path, epochs: int | None = None) -> list[Path]:
    """The folders below `folder` with unfinished runs; [folder] if it is a run itself, or has none below it.

    Args:
        folder: an existing folder.
        epochs: the final epoch of the runs; None is the planned one.

    Raises:
        RunError: if the files of a run cannot be read.
    """
    if (folder / "config.json").exists():
        return [folder]
    configs = {path.parent: read_json(path) for path in sorted(folder.rglob("config.json"))}
    runs = {path: config for path, config in configs.items() if config.get("algorithm") in ALGORITHMS}
    if not runs:
        return [folder]
    unfinished = []
    for run, config in runs.items():
        planned = config.get("epochs") if epochs is None else epochs
        rows = saved_logger_kwargs(config).get("output_fname", "progress.txt")
        if isinstance(planned, int) and is_complete(run, planned, rows):
            print(f"{run} is complete: skipped")
        else:
            unfinished.append(run)
    return unfinished
