"""The native engine's machine code: sizes that fill no vector, two threads, and how it comes to be built."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from admission import compare
from helpers import make, random_block, small_ac, train

from spinup.errors import ConfigError
from spinup.pytorch.engines import native_build
from spinup.pytorch.engines.native_build import build, compiler
from spinup.replay.storage import Layout


@pytest.mark.parametrize(
    ("obs_dim", "act_dim", "hidden", "batch"),
    [(1, 1, (1,), 1), (17, 6, (50, 33), 13), (3, 17, (100,), 31), (40, 2, (64, 130, 3), 2)],
)
def test_sizes_that_fill_no_vector(obs_dim: int, act_dim: int, hidden: Any, batch: int) -> None:
    ac = small_ac(obs_dim, act_dim=act_dim, hidden_sizes=hidden).double()
    eager, native = (
        make(x, engine, act_dim, alpha="auto", batch_size=batch)
        for x, engine in ((ac, "eager"), (copy.deepcopy(ac), "native"))
    )
    layout = Layout(obs_dim, act_dim)
    for seed in range(3):
        block = random_block(layout, 10, batch, seed, np.float64)
        compare(eager.update(block), native.update(block), 1e-9, "metrics")
    compare(eager.state_dict(), native.state_dict(), 1e-9, "state")


TWO_THREADS = """
    import sys
    import numpy as np, torch
    from helpers import make, random_block, small_ac
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        learner = make(small_ac(hidden_sizes=(24, 40)), "native", alpha="auto", batch_size=20)
        metrics = [learner.update(random_block(count=50, batch=20, seed=k)) for k in range(4)]
        assert torch.get_num_threads() == threads
        state = learner.state_dict()
        results.append((metrics, state))
    from admission import compare
    for a, b in zip(*(metrics for metrics, _ in results)):
        compare(a, b, 0.0, "metrics")
    compare(results[0][1], results[1][1], 0.0, "state")
    print("EQUAL")
"""


def test_two_threads_change_no_bit() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_THREAD_LIMIT"}
    tests = str(Path(__file__).parent.parent)
    environment["PYTHONPATH"] = os.pathsep.join([tests, environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TWO_THREADS)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.stdout == "EQUAL\n", done.stderr


@pytest.mark.parametrize("where", ["o", "r", "noise"])
def test_a_number_that_is_none_reaches_the_losses(where: str) -> None:
    learner = make(small_ac(), "native")
    block = random_block()
    if where == "noise":
        block.noise[0, 0, 2] = np.nan
    else:
        block.rows[0, 2, getattr(block.layout, where)] = np.nan
    metrics = learner.update(block)
    assert np.isnan(metrics["LossQ"]).all()


def test_a_second_run_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    sizes = {"SCALAR": "float", "OBS": "2", "ACT": "1", "BATCH": "3", "PI_WIDTHS": "4", "Q_WIDTHS": "5"}
    build("update.cpp", sizes)
    (library,) = (tmp_path / "spinup").iterdir()
    assert (tmp_path / "spinup").stat().st_mode & 0o077 == 0
    monkeypatch.setattr(native_build, "_compile", None)
    build("update.cpp", sizes)
    with pytest.raises(TypeError):  # where one of the sizes differs, the compiler is called
        build("update.cpp", {**sizes, "ACT": "2"})
    monkeypatch.setattr(native_build, "_processor", lambda: "another")
    with pytest.raises(TypeError):
        build("update.cpp", sizes)
    assert list((tmp_path / "spinup").iterdir()) == [library]


def test_a_cache_that_cannot_be_written_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    train(tmp_path / "run", engine="native", epochs=1)
    assert (tmp_path / "file").stat().st_size == 0


def test_a_cache_that_others_may_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "spinup").mkdir()
    (tmp_path / "spinup").chmod(0o777)
    sizes = {"SCALAR": "float", "OBS": "2", "ACT": "1", "BATCH": "3", "PI_WIDTHS": "4", "Q_WIDTHS": "5"}
    build("update.cpp", sizes)
    assert not list((tmp_path / "spinup").iterdir())


def test_without_a_compiler_it_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(native_build.shutil, "which", lambda name: None)
    assert compiler() is None
    with pytest.raises(ConfigError, match=r"^engine='native' cannot be used here, as no g\+\+ or clang\+\+"):
        train(tmp_path / "run", engine="native")
    assert not (tmp_path / "run" / "progress.txt").exists()


def test_a_compiler_that_was_named_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    with pytest.raises(ConfigError, match=r"^engine='native' .* as CXX=/nowhere/c\+\+ is not to be found: "):
        train(tmp_path / "run", engine="native")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'update.cpp:1: error: no such thing' >&2; exit 1", "no such thing"),
        ('while [ "$1" != -o ]; do shift; done; echo no > "$2"', "(file too short|invalid ELF header)"),
    ],
)
def test_a_compiler_that_fails_is_named_in_one_line_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    broken = tmp_path / "c++"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=f"could not compile .*{reason}.*engine='auto'") as refused:
        train(tmp_path / "run", engine="native")
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "cache" / "spinup").iterdir())
