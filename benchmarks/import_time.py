"""How long `import spinup` takes beside `import torch`.

    python benchmarks/import_time.py --turns 15

A new process each, one after the other within a turn, so that both see the same load of the machine. Printed:
the medians in seconds, and the median and the range of the ratio within a turn. Times include the start of
the interpreter. Stored in results/import_time.json.
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

RESULT = Path(__file__).parent / "results" / "import_time.json"


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--turns", type=int, default=15, help="pairs of processes")
    turns = parser.parse_args().turns
    for module in ("torch", "spinup"):  # writes bytecode and fills the file cache
        seconds(module)
    rows = [{"torch": seconds("torch"), "spinup": seconds("spinup")} for _ in range(turns)]
    ratios = sorted(row["spinup"] / row["torch"] for row in rows)
    result = {
        "torch": statistics.median(row["torch"] for row in rows),
        "spinup": statistics.median(row["spinup"] for row in rows),
        "ratio": statistics.median(ratios),
        "ratios": [ratios[0], ratios[-1]],
        "turns": rows,
        "load_average": os.getloadavg()[0],
        "versions": {name: version(name) for name in ("torch", "numpy", "gymnasium")},
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(f"import torch {result['torch']:.2f} s, import spinup {result['spinup']:.2f} s; ", end="")
    print(f"ratio {result['ratio']:.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f}) in {turns} turns")


def seconds(module: str) -> float:
    """The wall-clock time of a process that imports the module."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
