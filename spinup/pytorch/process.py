"""Process-wide torch settings, set for a run and put back after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from spinup.config import SACConfig
from spinup.errors import ConfigError


def thread_count(config: SACConfig) -> int:
    """The number of torch threads: as asked, else two where the machine has them.

    One block of batches keeps two threads busy, one per critic; more of them only wait for each other
    at these sizes (docs/speed.md).
    """
    return config.threads if isinstance(config.threads, int) else min(2, os.cpu_count() or 1)


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is cuda where torch sees one.

    Raises:
        ConfigError: if torch cannot use it.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not torch.cuda.is_available():
        raise ConfigError(f"device={name!r}: torch sees no CUDA device here; give device='cpu'")
    return torch.device(name)


@contextmanager
def torch_settings(threads: int, seed: int) -> Iterator[None]:
    """Seed torch's generators, set its threads and flush denormals; put all back at the end."""
    before, flushed = torch.get_num_threads(), _flushes_denormals()
    with preserved_generators():
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        torch.set_flush_denormal(True)
        try:
            yield
        finally:
            torch.set_num_threads(before)
            torch.set_flush_denormal(flushed)


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Torch's global generators after the block are as they were before it."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        yield


def _flushes_denormals() -> bool:
    return bool((torch.tensor(1e-39) * 0.5).item() == 0.0)
