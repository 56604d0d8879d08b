"""Machine code from csrc/, by the compiler that is installed here, kept for the next run."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from spinup.errors import ConfigError

SOURCES = Path(__file__).parent / "csrc"
FLAGS = ("-O3", "-std=c++17", "-fPIC", "-shared", "-pthread", "-fno-math-errno", "-fno-trapping-math")


def compiler() -> str | None:
    """Path of a C++ compiler that takes GCC's options: $CXX if set, else g++ or clang++; None without one."""
    if os.name != "posix":
        return None
    for name in [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++"]:
        if path := shutil.which(name):
            return path
    return None


def why_no_compiler() -> str | None:
    """What is missing, in a few words; None if a compiler is there."""
    if compiler():
        return None
    given = os.environ.get("CXX")
    return f"CXX={given} is not to be found" if given else "no g++ or clang++ is installed"


def build(source: str, definitions: dict[str, str]) -> ctypes.CDLL:
    """The library made from csrc/`source` with these macros, compiled unless an earlier call did so.

    Libraries are kept in $XDG_CACHE_HOME/spinup, ~/.cache/spinup by default, under a name that stands for
    the sources, the macros, the compiler and the processor.

    Raises:
        ConfigError: if it cannot be compiled.
    """
    path = compiler()
    if path is None:
        raise ConfigError(f"{why_no_compiler()}: install it, or give engine='auto'")
    command = [path, *FLAGS, "-march=native", *(f"-D{key}={value}" for key, value in definitions.items())]
    texts = [file.read_bytes() for file in sorted(SOURCES.iterdir()) if file.is_file()]
    about = [*command, source, _version(path), _processor()]
    name = hashlib.sha256(b"\0".join([*texts, *(word.encode() for word in about)])).hexdigest()[:32]
    folder = _cache()
    library = folder / f"{name}.so"
    if not library.exists():
        _compile([*command, str(SOURCES / source)], library)
    return ctypes.CDLL(str(library))


def _compile(command: list[str], library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        staged = Path(folder) / library.name
        done = subprocess.run([*command, "-o", str(staged)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            lines = [line.strip() for line in done.stderr.splitlines() if "error" in line]
            raise _refusal(command[0], lines[0] if lines else "no message")
        try:
            ctypes.CDLL(str(staged))
        except OSError as error:  # a C compiler makes what cannot be loaded
            raise _refusal(command[0], str(error).removeprefix(f"{staged}: ")) from None
        os.replace(staged, library)  # two runs that begin together both end with a whole file


def _refusal(path: str, reason: str) -> ConfigError:
    return ConfigError(f"{path} could not compile the native engine ({reason}): give engine='auto'")


def _cache() -> Path:
    """A folder of this user's alone, since what lies in it is run."""
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
    """Where nothing can be kept: a folder that goes with this process."""
    if not _folders:
        _folders.append(tempfile.TemporaryDirectory(prefix="spinup-"))
    return Path(_folders[0].name)


def _version(path: str) -> str:
    return subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout


def _processor() -> str:
    """What "native" means here: a home folder may be shared by machines of several kinds."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.platform() + platform.processor()
    kinds = ("model name", "flags", "Features", "CPU part")
    return "\n".join(sorted({line for line in info.read_text().splitlines() if line.startswith(kinds)}))
