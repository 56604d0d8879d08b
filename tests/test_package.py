"""What pip installs: the wheel's files, the extras that messages name, the types that a program sees."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

PROGRAM = """
from pathlib import Path
from typing import Any

import gymnasium as gym
import torch

import spinup
from spinup.utils.logx import EpochLogger
from spinup.utils.run_utils import ExperimentGrid, setup_logger_kwargs
from spinup.utils.test_policy import load_policy_and_env, run_policy


class Wide(spinup.MLPActorCritic):
    pass


spinup.register_actor_critic(Wide)
ac: torch.nn.Module = spinup.sac_pytorch(
    lambda: gym.make("Pendulum-v1"),
    actor_critic=Wide,
    ac_kwargs=dict(hidden_sizes=(32, 32), activation=torch.nn.ReLU),
    gamma=0.99,
    alpha="auto",
    logger_kwargs=setup_logger_kwargs("pendulum", 0, data_dir=str(Path("data"))),
)
env, get_action = load_policy_and_env("data/pendulum/pendulum_s0")
if env is not None:
    run_policy(env, get_action, num_episodes=1, render=False)
grid = ExperimentGrid(name="grid")
grid.add("seed", [0, 1])
folders: list[str] = grid.run(spinup.sac_pytorch, num_cpu="auto")


def stop(row: dict[str, Any], ac: torch.nn.Module) -> bool:
    return bool(row["AverageTestEpRet"] < -200)


spinup.sac_pytorch("Pendulum-v1", callback=stop, callback_every=500, threads=1)
model: spinup.SAC = spinup.SAC("Pendulum-v1", alpha="auto", callback=stop).learn(1000)
action, state = model.predict(gym.make("Pendulum-v1").reset()[0])
model.save(Path("data") / "saved")
steps: int = spinup.SAC.load("data/saved").learn(1000, callback=lambda row, ac: True).steps
logger = EpochLogger(output_dir="data/own", exp_name="own")
logger.store(Loss=1.0)
logger.log_tabular("Loss", average_only=True)
logger.dump_tabular()
"""
WRONG = {
    "spinup.sac_pytorch(lambda: 1, gama=0.9)": "call-arg",
    "spinup.sac_pytorch(lambda: 1, gamma='0.9')": "arg-type",
    "spinup.sac_pytorch('Pendulum-v1', callback=3)": "arg-type",
    "spinup.SAC('Pendulum-v1').learn('1000')": "arg-type",
    "spinup.SAC('Pendulum-v1').folder.name": "union-attr",
}


def test_the_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(ROOT / "spinup", source / "spinup", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    build = "import setuptools.build_meta as backend; backend.build_wheel('..')"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    files = {path.relative_to(source).as_posix() for path in (source / "spinup").rglob("*") if path.is_file()}
    assert {name for name in names if ".dist-info/" not in name} == files
    assert "spinup/py.typed" in files
    assert any(name.startswith("spinup/pytorch/engines/csrc/") for name in files)
    for extra in PROJECT["optional-dependencies"]:
        assert f"Provides-Extra: {extra}" in metadata
    assert f"Version: {PROJECT['version']}" in metadata


def test_the_version_is_stated_once() -> None:
    from spinup import __version__

    assert PROJECT["version"] == __version__
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_pip_commands_name_this_distribution_and_its_extras() -> None:
    pages = [*(ROOT / "spinup").rglob("*.py"), ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    found = [
        (page, name, extra)
        for page in pages
        for name, extras in re.findall(r"pip install[^\n`)]*?['\"]?([\w-]+)\[([\w,-]+)\]", page.read_text())
        for extra in extras.split(",")
        if name.startswith("spinup")
    ]
    assert len(found) >= 5
    for page, name, extra in found:
        assert name == PROJECT["name"], f"{page}: {name}"
        assert extra in PROJECT["optional-dependencies"], f"{page}: {extra}"


@pytest.mark.slow
def test_a_typed_program_passes_mypy_strict(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    for number, line in enumerate(WRONG):
        (tmp_path / f"wrong{number}.py").write_text(f"import spinup\n\n{line}\n")
    files = [str(path) for path in sorted(tmp_path.glob("*.py"))]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent"]
    environment = {"MYPYPATH": str(ROOT), "PATH": "", "MYPY_CACHE_DIR": str(ROOT / ".mypy_cache" / "user")}
    done = subprocess.run([*command, *files], env=environment, cwd=tmp_path, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert not [line for line in errors if "program.py" in line], done.stdout
    for number, code in enumerate(WRONG.values()):
        assert [line for line in errors if f"wrong{number}.py" in line and f"[{code}]" in line], done.stdout
