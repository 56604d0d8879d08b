"""The commands and Python blocks of README and docs/ run. Needs the extras `tf`, `tune`, `minari`, `yaml`.

The blocks of a page run in their order, in one empty folder and one namespace, by these rules:

- Lines of a command's synopsis, `[-n EPISODES]` or `spinup resume RUN_DIR`, are no commands;
  tests/test_docs.py compares them with the parser.
- Training is short: `SHORT` replaces these flags and arguments, and the defaults of `sac_pytorch`; of several
  seeds the first is kept; what `STAND_INS` lists is replaced.
- A run that a page takes for granted, `data/hc/hc_s0`, is made first.
- What `NOT_RUN` lists is not run, for the reason beside it.
"""

from __future__ import annotations

import inspect
import itertools
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import spinup
from spinup.cli.main import main

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
FENCE = re.compile(r"^```(python|sh|bash|console|)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROGRAMS = ("spinup", "python", "pip", "make", "srun", "export")
SYNOPSIS = re.compile(r"\[-|\.\.\.|\b(PATH|RUN|RUN_DIR|FOLDER|LOGDIR|FILE|ID)\b")
NOT_RUN = {
    "pip install": "needs a network",
    "make ": "makes an environment, and trains for minutes; CI runs `make test`",
    "#SBATCH": "needs Slurm",
    "10.0.0.1": "needs a cluster; tests/runs/test_ray_runs.py and tests/collect/test_ray.py start their own",
    "--collectors": "starts Ray with eight CPUs; tests/collect/test_ray.py has two",
    "--track": "tests/loggers/ runs all trackers, offline",
    'trackers=["wandb"]': "tests/loggers/ runs all trackers, offline",
    "benchmarks/": "trains for hours; stored results name their command",
    "export PYTHONPATH=tests": "belongs to benchmarks/learning.py",
    "spinup record data/learning/": "records from the run of an hour before it",
    "examples/robot.py": "tests/examples/test_robot.py runs it",
    "sac_pytorch(env_fn, ...,": "is an outline: `...` stands for the reader's arguments",
    "checkpoint/manifest": "is a list of files",
    "engine: ": "is output",
}
SHORT = {
    "steps_per_epoch": 60, "epochs": 2, "start_steps": 30, "update_after": 30, "num_test_episodes": 1,
    "max_ep_len": 30, "batch_size": 8,
}  # fmt: skip
STAND_INS = [
    ("module:Env-v0 --critic_keys state", "goals:PointReach-v0 --critic_keys desired_goal"),
    ("mymodule:MyPixels-v0", "images:Noise-v0"),  # of tests/images.py
    ("module:Env-v0", "goals:PointReach-v0"),  # of tests/goals.py
    ("--recipe droq", "--recipe droq --updates_per_step 1"),
    ('recipe="redq"', 'recipe="redq", updates_per_step=1'),
    ('"[256,256]" --seed', '"[8,8]" --seed'),
    ("[256,256]", "[8,8]"),
    ("(256, 256)", "(8, 8)"),
    ("--jobs auto", "--jobs 2"),
    ("--trials 40", "--trials 2"),
    ("--trials 20", "--trials 2"),
    ("space, 40,", "space, 2,"),
    ('"epochs": 5}', '"epochs": 2, "steps_per_epoch": 60}'),
    ("learn(20_000)", "learn(100)"),
    ("learn(100_000)", "learn(100)"),
    ("steps_per_epoch=2000", "steps_per_epoch=60"),
    ("epochs=200", "epochs=2"),
    ("episodes 50", "episodes 2"),
    ("spinup test_policy data", "spinup test_policy -nr -n 1 data"),
]
# Pages with runs in processes of their own, with TensorFlow, or on the eager engine.
SLOW = {"README.md", "cluster.md", "commands.md", "recipes.md", "scale.md", "tensorflow.md", "tuning.md"}


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of the blocks that are to run."""
    found = []
    for language, text in FENCE.findall(page.read_text()):
        if language or text.split(maxsplit=1)[0] in PROGRAMS:
            found.append((language or "sh", text))
    return found


def reason(text: str) -> str | None:
    """Why a command or block is not run."""
    return next((why for part, why in NOT_RUN.items() if part in text), None)


def stand_in(text: str) -> str:
    for old, new in STAND_INS:
        text = text.replace(old, new)
    return text


def joined(text: str) -> str:
    """Commands that are continued on the next line as one line."""
    return re.sub(r" *\\\n *", " ", text)


def words_of(line: str) -> list[str]:
    """The arguments of `spinup` for a line of a page."""
    words = shlex.split(stand_in(line), comments=True)[1:]
    if words[0] == "plot" and "--save" not in words:  # a test has no display
        return [*words, "--save", "curve.png"]
    if words[0] not in ("sac", "sac_tf1", "tune", "resume"):
        return words
    if words[0] == "resume":
        return [
            "3" if before == "--epochs" else word for before, word in zip(["", *words], words, strict=False)
        ]
    kept, skip = [words[0]], False
    for before, word in itertools.pairwise(words):
        if word.startswith("--"):
            skip = word[2:] in SHORT
        elif before != "--seed" and not before.startswith("--") and "--seed" in kept and kept[-2] == "--seed":
            continue  # a further seed
        if not skip:
            kept.append(word)
    short = {name: value for name, value in SHORT.items() if f"{name}=" not in " ".join(kept)}
    if "--exp_name" not in kept and words[0] != "tune":  # several commands of a page share the default folder
        kept.append("--overwrite")
    return [*kept, *(w for name, value in short.items() for w in (f"--{name}", str(value))), "--threads", "1"]


def prepare(line: str) -> None:
    """Make the runs that a line takes for granted."""
    for name, env in (("hc", "HalfCheetah-v5"), ("hop", "Hopper-v5")):
        if f"data/{name}" in line and not Path(f"data/{name}").exists():
            assert main(words_of(f"spinup sac --env {env} --exp_name {name} --hid [8,8]")) == 0


def run_command(line: str) -> None:
    if reason(line) is not None or SYNOPSIS.search(line) or not line.strip() or line.startswith("#"):
        return
    program = line.split()[0]
    assert program == "spinup", f"{line}: neither run nor listed in NOT_RUN"
    prepare(line)
    assert main(words_of(line)) in (0, None), line


def run_python(text: str, names: dict[str, Any]) -> None:
    for name, value in SHORT.items():
        text = re.sub(rf"\b{name}=\d+", f"{name}={value}", text)
    exec(stand_in(text), names)


@pytest.mark.usefixtures("new_environments")
@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=pytest.mark.slow if p.name in SLOW else ()) for p in PAGES],
    ids=lambda p: p.name,
)
def test_blocks(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = blocks(page)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    shutil.copytree(ROOT / "configs", "configs")
    function: Any = inspect.unwrap(spinup.sac_pytorch)
    parameters = inspect.signature(function).parameters.values()
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is not p.empty]
    monkeypatch.setattr(function, "__defaults__", tuple(SHORT.get(p.name, p.default) for p in positional))
    observed = np.zeros((1, 17), np.float32)
    names: dict[str, Any] = {"spinup": spinup, "torch": torch, "obs": observed, "observations": observed}
    for language, text in found:
        if language == "python":
            if reason(text) is None:
                run_python(text, names)
                if "class Cart" in text:  # which the page asks to put into a module
                    module = text.partition("\nspinup.")[0]
                    Path("cart.py").write_text(
                        f'{module}\ngym.register("Cart-v0", Cart, max_episode_steps=100)\n'
                    )
        elif reason(text) is None or "#SBATCH" not in text:
            for line in joined(text).splitlines():
                run_command(line)


def test_what_is_not_run_is_on_a_page() -> None:
    text = joined("\n".join(page.read_text() for page in PAGES))
    assert [part for part in [*NOT_RUN, *(old for old, _ in STAND_INS)] if part not in text] == []
