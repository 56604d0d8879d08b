"""Build the source distribution and the wheel, and try the wheel in an empty environment: `make wheel`.

    python tools/check_wheel.py [--constraint constraints.txt] [--python python3.13]

Leaves both in dist/. Fails if `twine check` has a complaint, if the wheel misses a file of the package, or if
the call that README documents does not train with the engine `native`, compiled from the installed wheel, or
a command does not work on that run.
Prints the sizes of the wheel and of the environment.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
PROGRAM = """
import json, sys
import gymnasium as gym
import spinup
import torch

assert spinup.__file__.startswith(sys.prefix), spinup.__file__
spinup.sac_pytorch(
    lambda: gym.make("HalfCheetah-v5"), ac_kwargs=dict(hidden_sizes=(32, 32), activation=torch.nn.ReLU),
    steps_per_epoch=400, epochs=2, start_steps=100, update_after=100, max_ep_len=100, num_test_episodes=1,
    logger_kwargs=dict(output_dir="run", exp_name="wheel"), engine="native",
)
assert json.load(open("run/config.json"))["engine"] == "native"
ac = torch.load("run/pyt_save/model.pt")
assert ac.act(torch.zeros(17), deterministic=True).shape == (6,)
"""
COMMANDS = [
    "--version", "plot run --save curve.png", "report run", "watch run --once", "export run --to torchscript",
    "test_policy run -nr -n 1",
]  # fmt: skip


def main() -> None:
    """Build, check, install, train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--constraint", type=Path, help="install no other versions than these")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the environments")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        wheel = build(args.python, Path(folder) / "build")
        check_files(wheel)
        try_wheel(args.python, Path(folder), wheel, args.constraint)


def build(python: str, environment: Path) -> Path:
    """The wheel, built by way of the source distribution with `python -m build`, after `twine check`."""
    for old in (ROOT / "dist").glob("spinup*"):
        old.unlink()
    tool = make_environment(python, environment)
    subprocess.run([tool, "-m", "pip", "install", "-q", "build", "twine"], check=True)
    subprocess.run([tool, "-m", "build", str(ROOT)], check=True, stdout=subprocess.DEVNULL)
    files = sorted((ROOT / "dist").glob("spinup*"))
    subprocess.run([tool, "-m", "twine", "check", "--strict", *files], check=True)
    (wheel,) = (ROOT / "dist").glob("spinup*.whl")
    return wheel


def check_files(wheel: Path) -> None:
    """Exit with the names if the wheel's files of the package are not those of spinup/."""
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    paths = [path.relative_to(ROOT) for path in (ROOT / "spinup").rglob("*") if path.is_file()]
    if different := packed ^ {path.as_posix() for path in paths if "__pycache__" not in path.parts}:
        sys.exit(f"{wheel.name} and spinup/ differ: {', '.join(sorted(different))}")
    print(f"{wheel.name}: {len(packed)} files, {wheel.stat().st_size / 1e6:.2f} MB")


def try_wheel(python: str, folder: Path, wheel: Path, constraint: Path | None) -> None:
    """Train with the wheel, in an environment that has only it and what it depends on."""
    tool = make_environment(python, folder / "user")
    empty = size(folder / "user")
    versions = ["-c", str(constraint)] if constraint else []
    subprocess.run([tool, "-m", "pip", "install", "-q", *versions, str(wheel)], check=True)
    subprocess.run([tool, "-m", "pip", "check"], check=True)
    cache = {"XDG_CACHE_HOME": str(folder / "cache")}  # no library compiled earlier
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    work = folder / "work"
    work.mkdir()
    for command in (["-c", PROGRAM], *(["-m", "spinup", *words.split()] for words in COMMANDS)):
        subprocess.run([tool, *command], check=True, cwd=work, env=inherited | cache)
    installed = sum(size(path) for path in (folder / "user").glob("lib/*/site-packages/spinup"))
    print(f"installed: spinup {installed / 1e6:.1f} MB, with all it depends on ", end="")
    print(f"{(size(folder / 'user') - empty) / 1e6:,.0f} MB")


def make_environment(python: str, folder: Path) -> str:
    """The interpreter of a new virtual environment."""
    subprocess.run([python, "-m", "venv", folder], check=True)
    return str(folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))


def size(folder: Path) -> int:
    """Bytes of the files in a folder; a link counts as itself."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_symlink() or path.is_file())


if __name__ == "__main__":
    main()
