"""Whole training beside other SAC libraries, turn by turn in one run.

    make bench

makes .bench-venv with the peers at pinned versions, lets every contestant train in turn (A B C A B C ...),
takes the ratios within each turn, and writes raw numbers, versions and the table to
benchmarks/results/speed.json and speed.md. Run it with nothing else on the machine; it takes about an
hour. `make bench` goes on with update.py, for the update alone, and with profile_step.py. A benchmark is
not a test: nothing here fails because of a time.

    python benchmarks/speed.py --against DIR --out versions

compares this checkout with another one in DIR instead, without installing the peers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
VENV = ROOT / ".bench-venv"
TF_VENV = ROOT / ".bench-venv-tf"  # apart, since SBX's own dependencies stumble over TensorFlow
PEERS = (
    *("stable-baselines3==2.9.2", "sbx-rl==0.28.0", "torchrl==0.14.1"),
    *("rltools==2.2.1", "mkl", "mkl-include", "intel-openmp"),
    *("tyro", "tensorboard"),  # of CleanRL
)
CONTESTANTS: dict[str, list[str]] = {
    "spinup": ["spinup", "--threads", "0"],
    "spinup, eager": ["spinup", "--threads", "2", "--options", '{"engine": "eager"}'],
    "spinup, 1 thread": ["spinup", "--threads", "1"],
    "RLtools, 1 thread": ["rltools", "--threads", "1"],
    "RLtools, 2 threads": ["rltools", "--threads", "2"],
    "SBX": ["sbx", "--threads", "2"],
    "SB3": ["sb3", "--threads", "2"],
    "TorchRL": ["torchrl", "--threads", "2"],
}


def main() -> None:
    """Install, run the turns, write the results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--batch", type=int, nargs="+", default=[64, 100, 256, 512])
    parser.add_argument("--steps", type=int, default=2000, help="timed env steps of each run")
    parser.add_argument("--tf", action="store_true", help="also sac_tf1 (installs TensorFlow)")
    parser.add_argument("--cleanrl", type=Path, metavar="DIR", help="also CleanRL, from its checkout in DIR")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout, instead of the peers")
    parser.add_argument("--out", default="speed", help="name of the results")
    args = parser.parse_args()
    if args.tf:
        CONTESTANTS["spinup, TensorFlow"] = ["spinup_tf1", "--threads", "2"]
    if args.cleanrl:
        CONTESTANTS["CleanRL"] = ["cleanrl", "--threads", "2"]
        os.environ["CLEANRL"] = str(args.cleanrl.resolve())
    if args.against is None:
        install(args.tf)
    else:
        two_versions(args.against.resolve())
    raw: dict[str, Any] = {}
    packages: dict[str, str] = {}
    memory: dict[str, float | None] = {}
    for batch in args.batch:
        turns = []
        for turn in range(args.turns):
            speeds = {}
            for name, command in CONTESTANTS.items():
                options = ["--batch", str(batch), "--steps", str(args.steps)]
                record = run([*command, *options], args.against if name.startswith("before") else None)
                packages[name] = record.get("package", "did not run")
                memory[name] = record.get("bytes_per_transition")
                speeds[name] = record.get("steps_per_second")
            print(f"batch {batch}, turn {turn}: {speeds}", flush=True)
            turns.append(speeds)
        raw[str(batch)] = turns
    record = {"machine": machine(), "packages": packages, "timed_steps": args.steps, "turns": raw}
    record["bytes_per_transition"] = memory
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{args.out}.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / f"{args.out}.md").write_text(table(record))
    print(table(record))


def install(tensorflow: bool) -> None:
    """Make the contestants' environments at the versions that constraints.txt names."""
    wanted = [(VENV, ["torch", *PEERS, "-e", str(ROOT)])]
    if tensorflow:
        wanted.append((TF_VENV, ["-e", f"{ROOT}[tf]"]))
    for venv, packages in wanted:
        if not venv.exists():
            subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
        pip = [str(venv / "bin" / "pip"), "install", "-q", "-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, *packages], check=True)


def two_versions(other: Path) -> None:
    """Make this checkout and another the contestants, engine by engine."""
    CONTESTANTS.clear()
    for name in ("spinup", "before"):
        CONTESTANTS[name] = ["spinup", "--threads", "2"]  # "before" may not know 0
        for engine in ("eager", "native"):
            options = json.dumps({"engine": engine})
            CONTESTANTS[f"{name}, {engine}"] = ["spinup", "--threads", "2", "--options", options]


def run(command: list[str], checkout: Path | None) -> dict[str, Any]:
    """One contestant's record; empty if it failed, which is printed. `checkout` is another one of spinup."""
    venv = TF_VENV if command[0] == "spinup_tf1" else VENV
    python = str(venv / "bin" / "python") if venv.exists() else sys.executable
    root = (checkout or ROOT).resolve()
    done = subprocess.run(
        [python, str(root / "benchmarks" / "peers.py"), *command],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    try:
        record: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError):
        print(f"{command[0]} failed: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return {}
    return record


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    return {"processor": name, "cores": os.cpu_count(), "python": platform.python_version()}


def table(record: dict[str, Any]) -> str:
    """The medians as a Markdown table."""
    lines = [
        "| | "
        + " | ".join(f"steps/s, batch {b} | spinup over it | eager over it" for b in record["turns"])
        + " | replay of 1M steps |",
        "|---|" + "---|---|---|" * len(record["turns"]) + "---|",
    ]
    for name in CONTESTANTS:
        cells = []
        for turns in record["turns"].values():
            speeds = [t[name] for t in turns if t[name]]
            cells.append(f"{statistics.median(speeds):.0f}" if speeds else "did not run")
            cells += [ratios_over(name, ours, turns) for ours in ("spinup", "spinup, eager")]
        size = record["bytes_per_transition"][name]  # bytes each are MB per million
        cells.append("not visible" if size is None else f"{size:.0f} MB")
        lines.append(f"| {name} ({record['packages'][name]}) | " + " | ".join(cells) + " |")
    where = ", ".join(f"{key} {value}" for key, value in record["machine"].items())
    return "\n".join(lines) + f"\n\nMedians over turns; in brackets the range. {where}.\n"


def ratios_over(name: str, ours: str, turns: list[dict[str, float | None]]) -> str:
    """Median and range of the ratios within a turn."""
    ratios = [t[ours] / t[name] for t in turns if t[ours] and t[name]]  # type: ignore[operator]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})" if ratios else ""


if __name__ == "__main__":
    main()
