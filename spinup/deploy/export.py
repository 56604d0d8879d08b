"""Writes the policy of a run as one ONNX or TorchScript file, after comparing it with the original."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import itertools
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, Space
from numpy.typing import NDArray

from spinup.checks import check_choice
from spinup.deploy.policy_module import (
    ActionSpace,
    DeployedPolicy,
    largest_difference,
    random_observations,
)
from spinup.envs.spaces import action_spec, flat_observation_space
from spinup.errors import ConfigError, MissingExtraError, RunError, first_line, option
from spinup.files import MAX_JSON_BYTES, atomic_write, read_regular, to_json
from spinup.loggers.log_level import errors_only
from spinup.playback.episodes import check_fit, folder_with_model, load_env
from spinup.playback.policies import load_actor_critic

Inputs = dict[str, NDArray[Any]]  # arrays by name, in the order of the policy's arguments
Run = Callable[[Inputs], NDArray[Any]]
FORMATS = {"onnx": "policy.onnx", "torchscript": "policy.torchscript"}
CHECKED = 1000  # observations
TOLERANCE = 1e-4  # see `largest_difference`


class ExportMismatch(RunError):
    """An exported policy that does not act like the original."""


def export_policy(
    fpath: str | Path,
    to: str = "onnx",
    out: str | Path | None = None,
    itr: int | str = "last",
    env: Any = None,
) -> tuple[Path, float]:
    """Write the deterministic policy of a PyTorch run as one file that needs no spinup.

    The model maps the input `obs`, float32 (batch, obs_dim) for any batch size, to the output `action`:
    float32 (batch, act_dim) in the environment's units, or int64 (batch,) in the environment's numbering;
    (batch, *shape) for MultiDiscrete and MultiBinary. If the observation is an image, `obs` is uint8
    (batch, *shape); for a Dict with images there is one input per key, with vectors as flat float32. The
    metadata are `env` (id, keyword arguments, step limit), `observation_space`, `action_space`, `versions`,
    `config_sha256` and `itr`, each as JSON. Before the file is written, the exported policy is compared with
    the actor-critic's `act` on CHECKED random observations.

    Args:
        fpath: the folder of the run.
        to: "onnx" (needs the extra `onnx`) or "torchscript".
        out: the file; by default policy.onnx or policy.torchscript in the folder.
        itr: which model, see `load_policy_and_env`.
        env: replaces the saved environment, see `load_policy_and_env`.

    Returns:
        The path of the file, and the largest difference found, see `largest_difference`.

    Raises:
        ConfigError: for an unknown format, or a custom policy without `mean_action`.
        RunError: if the run has no PyTorch model, or the file cannot be written.
        EnvError: if the environment, whose spaces the file describes, cannot be made or does not fit.
        ExportMismatch: if the exported policy acts differently; nothing is written then.
        MissingExtraError: if `to` is "onnx" and its packages are not installed.
    """
    check_choice("to", to, tuple(FORMATS))
    folder = folder_with_model(fpath)
    if not (folder / "pyt_save").is_dir():
        raise RunError(
            f"{folder} holds a TensorFlow run, whose tf1_save is a SavedModel already: deploy that"
        )
    path = folder / FORMATS[to] if out is None else Path(out)
    ac = load_actor_critic(folder, itr)
    environment = load_env(folder, env)
    try:
        check_fit(
            lambda obs: np.asarray(ac.act(torch.from_numpy(obs))),
            environment,
            action_spec(environment.action_space).dim,
        )
        observation_space = flat_observation_space(environment.observation_space)
        about = _metadata(folder, itr, environment)
        data, difference = export(ac, observation_space, environment.action_space, to, about)
    finally:
        environment.close()
    try:
        atomic_write(path, data)
    except OSError as error:
        raise RunError(
            f"cannot write {path} ({error.strerror}): give another file with {option('out', '--out')}"
        ) from None
    return path, difference


def export(
    ac: Any, observation_space: Box, action_space: ActionSpace, to: str, metadata: dict[str, Any]
) -> tuple[bytes, float]:
    """The content of the file and the largest difference; see `export_policy`.

    Args:
        ac: the actor-critic.
        observation_space: the flat observation space.
        action_space: the environment's action space.
        to: a key of FORMATS.
        metadata: values that JSON can represent, by name.

    Raises:
        ConfigError, ExportMismatch, MissingExtraError: see `export_policy`.
    """
    module = DeployedPolicy(ac, action_space)
    layout = module.encoder.layout if module.encoder is not None else None
    observations = random_observations(observation_space, CHECKED, layout=layout)
    inputs = {"obs": observations}
    if layout is not None:
        arrays = layout.unpack(observations)
        inputs = {part.key or "obs": array for part, array in zip(layout.parts, arrays, strict=True)}
    write, load = _WRITERS[to]
    strings = {name: json.dumps(value) for name, value in metadata.items()}
    try:
        data = write(module, {name: torch.from_numpy(a[:2].copy()) for name, a in inputs.items()}, strings)
        run = load(data)
        # Several batch sizes, since a graph may be specialized to the one that it was traced with.
        ends = [0, 1, 3, 20, *range(118, CHECKED + 1, 98)]
        parts = [{name: a[i:j] for name, a in inputs.items()} for i, j in itertools.pairwise(ends)]
        actions = np.concatenate([run(part) for part in parts])
    except MissingExtraError:
        raise
    except Exception as error:  # a custom module may contain operations that the exporter does not support
        raise ConfigError(
            f"the policy cannot be exported to {to} ({first_line(error)}): use torch operations "
            "that take batches of any size in it"
        ) from error
    difference = largest_difference(ac, action_space, observations, actions)
    if not difference <= TOLERANCE:
        unit = "half ranges of the action" if isinstance(action_space, Box) else "of probability"
        raise ExportMismatch(
            f"the exported policy differs from act by {difference:.3g} {unit} on {CHECKED} observations, "
            f"more than {TOLERANCE:g}: nothing was written; does act do more than pi.mean_action?"
        )
    return data, difference


def _write_onnx(module: DeployedPolicy, example: dict[str, torch.Tensor], metadata: dict[str, str]) -> bytes:
    _import_onnx()
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), errors_only("torch.onnx._internal.exporter._registration"):
        warnings.simplefilter("ignore")  # of the exporter's own internals
        program = torch.onnx.export(
            module,
            tuple(example.values()),
            input_names=list(example),
            output_names=["action"],
            dynamic_shapes={"obs": tuple({0: batch} for _ in example)},
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    model.producer_name, model.producer_version = "spinup", importlib.metadata.version("spinup")
    data: bytes = model.SerializeToString()
    return data


def _load_onnx(data: bytes) -> Run:
    session = _import_onnx().InferenceSession(data, providers=["CPUExecutionProvider"])
    return lambda inputs: np.asarray(session.run(["action"], inputs)[0])


def _import_onnx() -> Any:
    """The module onnxruntime, after a check that the packages that torch.onnx needs are installed too."""
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"export to ONNX needs {error.name}: pip install 'spinup[onnx]', or export to torchscript"
        ) from None
    return onnxruntime


def _write_torchscript(
    module: DeployedPolicy, example: dict[str, torch.Tensor], metadata: dict[str, str]
) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # torch calls TorchScript deprecated; LibTorch still loads it
        traced = torch.jit.trace(module, tuple(example.values()))  # type: ignore[no-untyped-call]
        torch.jit.save(traced, buffer, _extra_files=metadata)
    return buffer.getvalue()


def _load_torchscript(data: bytes) -> Run:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded = torch.jit.load(io.BytesIO(data))  # type: ignore[no-untyped-call]

    def run(inputs: Inputs) -> NDArray[Any]:
        with torch.no_grad():
            return np.asarray(loaded(*(torch.from_numpy(array.copy()) for array in inputs.values())))

    return run


_WRITERS: dict[str, tuple[Callable[..., bytes], Callable[[bytes], Run]]] = {
    "onnx": (_write_onnx, _load_onnx),
    "torchscript": (_write_torchscript, _load_torchscript),
}


def _metadata(folder: Path, itr: int | str, env: Any) -> dict[str, Any]:
    spec, config = env.spec, folder / "config.json"
    packages = ("spinup", "torch", "gymnasium", "numpy")
    described = {
        "env": spec and {"id": spec.id, "kwargs": spec.kwargs, "max_episode_steps": spec.max_episode_steps},
        "observation_space": _describe_space(env.observation_space),
        "action_space": _describe_space(env.action_space),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "config_sha256": None,
        "itr": str(itr),
    }
    if os.path.lexists(config):
        described["config_sha256"] = hashlib.sha256(read_regular(config, MAX_JSON_BYTES)).hexdigest()
    plain: dict[str, Any] = to_json(described)
    return plain


def _describe_space(space: Space[Any]) -> dict[str, Any]:
    """The fields of a Box or Discrete space; for any other space, its repr."""
    name = type(space).__name__
    if isinstance(space, Box):
        return {
            "type": name,
            "shape": space.shape,
            "dtype": str(space.dtype),
            "low": space.low,
            "high": space.high,
        }
    if isinstance(space, Discrete):
        return {"type": name, "n": space.n, "start": space.start}
    return {"type": name, "description": str(space)}
