"""Loads saved policies as functions of a batch of flat observations."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spinup.errors import RunError, SpinupError, option
from spinup.files import MAX_ARRAYS_BYTES, open_regular
from spinup.loggers.tf_restore import restore_tf_graph
from spinup.loggers.tf_saver import import_tf

Float = NDArray[np.float32]
Act = Callable[[Float], NDArray[Any]]


def has_model(folder: Path) -> bool:
    """Whether the folder contains a saved policy."""
    return (folder / "pyt_save").is_dir() or any(folder.glob("tf1_save*"))


def load_policy(folder: Path, itr: int | str, deterministic: bool) -> Act:
    """The policy of a run: a function from observations (batch, obs_dim) float32 to a batch of actions.

    Args:
        folder: the folder of the run.
        itr: "last" or -1, "best", or the number of a save; if all saves are numbered, "last" is the highest.
        deterministic: whether to return the mean action instead of a sample.

    Raises:
        RunError: if there is no such save, it is damaged, or it is not a policy.
    """
    if not (folder / "pyt_save").is_dir():
        return _load_tf(_find_save(folder, "tf1_save", "", itr), deterministic)
    ac = load_actor_critic(folder, itr)

    def act(observations: Float) -> NDArray[Any]:
        return np.asarray(ac.act(torch.as_tensor(observations), deterministic))

    return act


def load_actor_critic(folder: Path, itr: int | str = "last") -> Any:
    """The actor-critic of a PyTorch run, a torch.nn.Module on the CPU; see `load_policy`.

    Raises:
        RunError: if there is no such save, it is damaged, or it is not an actor-critic.
    """
    path = _find_save(folder / "pyt_save", "model", ".pt", itr)
    try:
        with open_regular(path, MAX_ARRAYS_BYTES) as file:
            _check_archive(file)
            ac = torch.load(file, map_location="cpu", weights_only=True)
    except SpinupError as error:
        raise RunError(f"{error}" if str(path) in str(error) else f"{path}: {error}") from None
    except Exception as error:  # damaged files raise many types
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(
            f"{path} cannot be loaded as a saved actor-critic ({reason}): it may be damaged"
        ) from None
    if not hasattr(ac, "act"):
        raise RunError(
            f"{path} holds a {type(ac).__name__}, not an actor-critic with act(obs, deterministic)"
        )
    return ac


def _find_save(folder: Path, stem: str, suffix: str, itr: int | str) -> Path:
    itr = "last" if str(itr) == "-1" else itr
    word = {"last": "", "best": "_best"}.get(str(itr), str(itr))
    path = folder / f"{stem}{word}{suffix}"
    if path.exists():
        return path
    saves = {p.name.removeprefix(stem).removesuffix(suffix): p for p in folder.glob(f"{stem}*{suffix}")}
    numbers = [number for number in saves if number.isdecimal()]
    if itr == "last" and numbers:
        return saves[max(numbers, key=int)]
    names = ", ".join(sorted(p.name for p in saves.values())) or "none"
    raise RunError(f"{path} does not exist: saved models are {names}; select one with {option('itr', '-i')}")


def _check_archive(file: BufferedReader) -> None:
    """Check that the file is an uncompressed archive of `torch.save`; compression could hide its true size.

    Raises:
        ValueError: if it is not.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError("it is not an archive of torch.save")
    with zipfile.ZipFile(file) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("its entries are compressed, which torch.save does not do")
    file.seek(0)


def _load_tf(path: Path, deterministic: bool) -> Act:
    tf = import_tf()
    sess = tf.Session(graph=tf.Graph())
    tensors = restore_tf_graph(sess, path)
    output = "mu" if deterministic and "mu" in tensors else "pi"
    missing = [key for key in ("x", output) if key not in tensors]
    if missing:
        raise RunError(f"{path} has no tensor named {missing[0]!r}: a policy needs x, and mu or pi")

    def act(observations: Float) -> Float:
        return np.asarray(sess.run(tensors[output], {tensors["x"]: observations}), dtype=np.float32)

    return act
