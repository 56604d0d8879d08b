"""What thousands of runs on Ray cost the process that starts them.

    python benchmarks/many_runs.py --runs 200 2000

Starts Ray on this machine and submits runs that do nothing: their tasks report a row and end, without a
process of their own. For each number of runs, in a process of its own, it measures the time and the memory
that this process needs beyond what it has once Ray is connected. Writes benchmarks/results/many_runs.json.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from speed import machine

from spinup.runs.jobs import run_jobs
from spinup.runs.ray_runs import RayOptions, RayRuns
from spinup.runs.run_process import Job, make_job

RESULTS = Path(__file__).parent / "results"


class Nothing:
    """A run that is done when it starts."""

    def __init__(self, job: Job, report: Any) -> None:
        report("state", ["starting", ""])
        report("progress", [100, 100])
        report("row", {"Epoch": 1, "AverageTestEpRet": 0.0})
        report("end", [0, ""])

    def stop(self) -> None:
        """It has ended."""

    kill = stop


def main() -> None:
    """Measure each number of runs in a process of its own, and store the numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, nargs="+", default=[200, 2000])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "many_runs.json")
    args = parser.parse_args()
    if args.child:
        print("\n" + json.dumps(measure(args.runs[0])))
        return
    rows = []
    for count in args.runs:
        command = [sys.executable, __file__, "--child", "--runs", str(count)]
        out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        rows.append(json.loads(out.splitlines()[-1]))
        print(rows[-1])
    packages = {name: version(name) for name in ("ray", "torch")}
    record = {"machine": machine(), "packages": packages, "measured": rows}
    args.out.write_text(json.dumps(record, indent=1) + "\n")


def measure(count: int) -> dict[str, Any]:
    """Seconds from the first submission to the last end, and mebibytes."""
    with tempfile.TemporaryDirectory() as folder, RayRuns(RayOptions(), Nothing) as runs:
        before, began = peak(), time.perf_counter()
        jobs = [make_job(Path(folder) / f"x_s{i}", print, {"end": ""}) for i in range(count)]
        run_jobs(jobs, 1000, "", start=runs.start)
        seconds = time.perf_counter() - began
    more = round(peak() - before)
    return {"runs": count, "seconds": round(seconds, 1), "MiB before": round(before), "MiB more": more}


def peak() -> float:
    """The largest resident set of this process so far, in mebibytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
