"""How long `import spinup` takes beside `import torch`.

    python benchmarks/import_time.py --turns 15

A new process each, one after the other within a turn, so that both see the same load of the machine. Printed:
medians, and the median and the range of the ratio within a turn, of elapsed time and of processor time, which
other work on the machine changes less. Times include the start of the interpreter. Stored in
results/import_time.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

MODULES = ("torch", "spinup")
RESULT = Path(__file__).parent / "results" / "import_time.json"


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=15, help="pairs of processes")
    turns = parser.parse_args().turns
    for module in MODULES:  # writes bytecode and fills the file cache
        seconds(module)
    rows = [{module: seconds(module) for module in MODULES} for _ in range(turns)]
    result: dict[str, Any] = {}
    for clock in ("wall", "cpu"):
        ratios = sorted(row["spinup"][clock] / row["torch"][clock] for row in rows)
        result[clock] = {module: statistics.median(row[module][clock] for row in rows) for module in MODULES}
        result[clock] |= {"ratio": statistics.median(ratios), "ratios": [ratios[0], ratios[-1]]}
        times = ", ".join(f"import {module} {result[clock][module]:.2f} s" for module in MODULES)
        ratio = f"ratio {result[clock]['ratio']:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})"
        print(f"{clock}: {times}; {ratio}, {turns} turns")
    result["load_average"] = os.getloadavg()[0]
    result["versions"] = {name: version(name) for name in ("torch", "numpy", "gymnasium")}
    RESULT.write_text(json.dumps(result | {"turns": rows}, indent=2) + "\n")


def seconds(module: str) -> dict[str, float]:
    """Elapsed and processor time of a process that imports the module."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", f"import {module}"])
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    if status:
        sys.exit(f"import {module} failed")
    return {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime}


if __name__ == "__main__":
    main()
