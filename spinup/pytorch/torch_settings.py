"""Process-wide torch settings, set for a run and restored after it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from spinup.errors import ConfigError


def threads_note(torch_threads: int, engine_threads: int) -> str:
    """The log line about the number of threads, of torch and of an engine that has its own."""
    if torch_threads > 1:
        return (
            f"threads: {torch_threads}; torch's threads busy-wait: if other programs use the cores, "
            "threads=1 is much faster"
        )
    if engine_threads > 1:
        return f"threads: 1 for torch, up to {engine_threads} for the native engine"
    return "threads: 1"


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" is cuda if torch finds a CUDA device, else cpu.

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
    """Seed torch's generators, set its number of threads and flush denormals; restore all three at exit."""
    before, flushed = torch.get_num_threads(), _flushes_denormals()
    with preserved_generators():
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        _flush_denormals(True, threads)
        try:
            yield
        finally:
            _flush_denormals(flushed, threads)
            torch.set_num_threads(before)


@contextmanager
def preserved_generators() -> Iterator[None]:
    """Restore the state of torch's global generators after the block."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=devices):
        yield


def _flush_denormals(flush: bool, threads: int) -> None:
    """Set whether denormals are flushed to zero, on this thread and on torch's `threads` - 1 worker threads.

    Adam's moments of an inactive unit decay to denormal numbers, on which arithmetic is up to 25 times
    slower. Flush-to-zero is per thread; existing worker threads do not inherit it, so two runs with the same
    seed could differ. Torch has no call that sets it on its worker threads, but its OpenMP runtime can run a
    function on each of them: the C library's fesetenv, with the floating-point environment of this thread.
    """
    torch.set_flush_denormal(flush)
    runtimes = list((Path(torch.__file__).parent / "lib").glob("libgomp*"))
    if threads == 1 or not runtimes:  # other OpenMP runtimes are not supported
        return
    openmp, c, mode = ctypes.CDLL(str(runtimes[0])), ctypes.CDLL(None), ctypes.create_string_buffer(64)
    c.fegetenv(mode)
    openmp.GOMP_parallel(ctypes.cast(c.fesetenv, ctypes.c_void_p), mode, threads, 0)


def _flushes_denormals() -> bool:
    return bool((torch.tensor(1e-39) * 0.5).item() == 0.0)
