"""Compiles csrc/ for a dtype and the processor of this machine, and caches the libraries."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from spinup.errors import ConfigError

SOURCES = Path(__file__).parent / "csrc"
FLAGS = ("-O2", "-std=c++17", "-fPIC", "-shared", "-pthread", "-fno-math-errno", "-fno-trapping-math")


TIME_LIMIT = 600.0  # seconds; most compilers take 5 s, zig takes minutes in its first run on a busy machine


class Library(NamedTuple):
    """A loaded library, and the seconds that compiling it took; 0 if it was cached."""

    code: ctypes.CDLL
    seconds: float


def compiler() -> list[str] | None:
    """The command of a C++ compiler that takes GCC's options; None if there is none.

    It is $CXX if set, which may contain arguments ("ccache g++"); else g++, clang++, or the compiler of the
    `ziglang` package, whichever is installed.
    """
    if os.name != "posix":
        return None
    for command in [_given_command()] if os.environ.get("CXX") else [["g++"], ["clang++"]]:
        if command and (path := shutil.which(command[0])):
            return [path, *command[1:]]
    if not os.environ.get("CXX") and importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "c++"]
    return None


def _given_command() -> list[str]:
    try:
        return shlex.split(os.environ["CXX"])
    except ValueError:  # an open quotation mark
        return []


def missing_compiler() -> str | None:
    """Which compiler is missing and how to install one, in a few words; None if one is installed."""
    if compiler():
        return None
    given = os.environ.get("CXX")
    if given:
        return f"CXX={given} was not found"
    return "no g++ or clang++ is installed (pip install 'spinup[native]' brings a compiler)"


def build(source: str, definitions: dict[str, str]) -> Library:
    """Compile csrc/`source` with the macros `definitions`, unless it is cached, and load the library.

    Libraries are cached in $XDG_CACHE_HOME/spinup, ~/.cache/spinup by default, under a hash of the sources,
    the macros, the compiler and the processor.

    Raises:
        ConfigError: if there is no compiler, or the library cannot be compiled, stored or loaded.
    """
    program = compiler()
    if program is None:
        raise ConfigError(f"{missing_compiler()}: give engine='auto'")
    try:
        return _build(program, source, definitions)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # a full disk, no home, noexec
        raise _failure(program, " ".join(str(error).split())) from error


def _build(program: list[str], source: str, definitions: dict[str, str]) -> Library:
    command = [
        *program,
        *FLAGS,
        native_flag(program),
        *(f"-D{key}={value}" for key, value in definitions.items()),
    ]
    texts = [file.read_bytes() for file in sorted(SOURCES.iterdir()) if file.is_file()]
    about = [*command, source, _version(program), _processor()]
    name = hashlib.sha256(b"\0".join([*texts, *(word.encode() for word in about)])).hexdigest()[:32]
    folder = _cache()
    library = folder / f"{name}.so"
    if library.exists():
        with contextlib.suppress(OSError):  # damaged: compiled again
            return Library(ctypes.CDLL(str(library)), 0.0)
    start = time.monotonic()
    _compile(program, [*command, str(SOURCES / source)], library)
    return Library(ctypes.CDLL(str(library)), time.monotonic() - start)


def native_flag(program: list[str]) -> str:
    """The compiler option that selects the instruction set of this processor."""
    return "-mcpu=native" if "ziglang" in program else "-march=native"


def _compile(program: list[str], command: list[str], library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        staged = Path(folder) / library.name
        done = _run([*command, "-o", str(staged)], zig_cache=library.parent / "zig")
        if done.returncode != 0:
            lines = [line.strip() for line in done.stderr.splitlines() if "error" in line]
            raise _failure(program, lines[0] if lines else "no message")
        try:
            ctypes.CDLL(str(staged))
        except OSError as error:  # a C compiler does not link the C++ runtime
            raise _failure(program, str(error).removeprefix(f"{staged}: ")) from None
        os.replace(staged, library)  # atomic, since two runs may compile at the same time


def _failure(program: list[str], reason: str) -> ConfigError:
    return ConfigError(
        f"{' '.join(program)} could not compile the native engine ({reason}): give engine='auto'"
    )


def _cache() -> Path:
    """A folder that only this user can write to, since its content is executed."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "spinup"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        about = folder.stat()
        if os.access(folder, os.W_OK) and about.st_uid == os.getuid() and not about.st_mode & 0o022:
            return folder
    except OSError:
        pass
    return _process_folder()


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _process_folder() -> Path:
    """The fallback without a usable cache: a folder that is removed when this process ends."""
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory(prefix="spinup-"))
    return Path(_folders[0].name)


def _version(program: list[str]) -> str:
    return _run([*program, "--version"]).stdout


def _run(command: list[str], zig_cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command; after TIME_LIMIT seconds, kill it and its child processes.

    Args:
        command: program and arguments.
        zig_cache: cache folder of the `ziglang` compiler, unless ZIG_GLOBAL_CACHE_DIR is set.

    Raises:
        RuntimeError: if the command does not end in time.
    """
    zig = {} if zig_cache is None else {"ZIG_GLOBAL_CACHE_DIR": str(zig_cache)}
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env={**zig, **os.environ},
        start_new_session=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=TIME_LIMIT)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise RuntimeError(f"it did not end within {TIME_LIMIT:.0f} s") from None
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def _processor() -> str:
    """A description of this processor, for the hash: several machines may share a home folder."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.platform() + platform.processor()
    kinds = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in info.read_text().splitlines() if line.startswith(kinds)}))
