"""Shared by all tests: one torch thread, reproducible generated examples, fixtures."""

from __future__ import annotations

import os

# Before torch is imported: threads of tests that run in parallel would compete for cores.
os.environ.setdefault("OMP_THREAD_LIMIT", "1")

import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest
import torch
from helpers import ENGINES, train
from hypothesis import settings

torch.set_num_threads(1)
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell ignores SIGINT in its background jobs, and a run keeps ignored signals ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
settings.register_profile("spinup", derandomize=True, deadline=None, database=None, max_examples=60)
settings.load_profile("spinup")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Any:
    """The name of each engine in turn."""
    return request.param


@pytest.fixture
def compiled_once(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of compiled graphs shared by the tests that use this fixture and the processes they start."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root  # shared by all workers
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(root / "compiled"))
    monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")
    torch._dynamo.reset()  # else a graph of an earlier test is reused, and the cache stays empty


@pytest.fixture
def new_environments() -> Iterator[None]:
    """Forgets the environments that a test registers, and their modules, so that others may register them."""
    ids, modules = set(gym.registry), set(sys.modules)
    yield
    for name in set(gym.registry) - ids:
        module = getattr(gym.registry.pop(name).entry_point, "__module__", "")
        if module not in modules:
            sys.modules.pop(module, None)


@pytest.fixture
def run(tmp_path: Path) -> Any:
    """`train` with a new folder for each call."""
    count = iter(range(1000))
    return lambda *args, **kwargs: train(tmp_path / f"run{next(count)}", *args, **kwargs)


@pytest.fixture
def time_limit() -> Iterator[None]:
    """Interrupts a test that hangs."""

    def stop(signum: int, frame: Any) -> None:
        raise TimeoutError("it takes more than a minute")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
