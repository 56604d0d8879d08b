"""What every test shares: one torch thread, generated examples that never change, the engines."""

from __future__ import annotations

import os

# Before torch: side by side, several tests of two threads each would wait for each other's threads.
os.environ.setdefault("OMP_THREAD_LIMIT", "1")

import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ENGINES, train
from hypothesis import settings

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell ignores it for what it starts in the background, and a run leaves an ignored signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("spinup", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("spinup")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Any:
    """The name of each engine in turn; what holds for one holds for all."""
    return request.param


@pytest.fixture
def compiled_once(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One store of compiled graphs for all tests that ask for it, and for the processes they start."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root  # of all workers
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(root / "compiled"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    torch._dynamo.reset()  # or a graph of a test before would do, and the store would stay empty


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """`train` into a folder of its own for each call."""
    count = iter(range(1000))
    return lambda *args, **kwargs: train(tmp_path / f"run{next(count)}", *args, **kwargs)
