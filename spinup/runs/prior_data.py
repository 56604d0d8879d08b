"""Reads prior data: a Minari dataset, or the replay buffer of another run."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spinup.collect.collector import EnvCollector
from spinup.envs.spaces import action_spec, flat_observation_space
from spinup.envs.validation import flatten_batch
from spinup.errors import ConfigError, MissingExtraError, RunError, SpinupError, first_line
from spinup.files import read_json
from spinup.loggers.run_folder import CHECKPOINT_FOLDER
from spinup.replay.transition import Transitions
from spinup.runs.checkpoint_files import CheckpointFolder
from spinup.runs.manifest import CheckpointError, read_segment

_SPACES = ("observation_space", "action_space")


@dataclass(frozen=True)
class PriorData:
    """Transitions by field (see `transition_fields`), their SHA-256, and warnings for the log."""

    transitions: Transitions
    checksum: str
    warnings: tuple[str, ...] = ()


def read_prior_data(source: str, collector: EnvCollector) -> PriorData:
    """The transitions of a Minari dataset, or of the newest checkpoint of a run.

    A step is terminal only if its episode terminates there; at truncations, targets bootstrap. No code from
    the files is executed, and no environment is made.

    Args:
        source: the folder of a run, or the folder or id of a local Minari dataset.
        collector: a collector of this run; the data must have the spaces of its environments.

    Raises:
        ConfigError: naming the source, if it does not exist, is empty or damaged, or has other spaces.
        MissingExtraError: if it is a dataset and minari is not installed.
    """
    if collector.layout is not None:
        raise ConfigError(
            f"prior_data={source!r} cannot be combined with the images of this environment: leave prior_data "
            "out"
        )
    folder = Path(source)
    read = _read_run if (folder / CHECKPOINT_FOLDER).is_dir() else _read_minari
    try:
        columns, env_id = read(source, collector)
    except MissingExtraError:
        raise
    except SpinupError as error:
        raise ConfigError(f"prior_data={source!r}: {error}") from None
    transitions = _checked(source, columns, collector)
    digest = hashlib.sha256()
    for name in sorted(transitions):
        digest.update(name.encode() + np.ascontiguousarray(transitions[name]).tobytes())
    lines = []
    own = getattr(collector.vector.spec, "id", None)
    if env_id is not None and own is not None and env_id != own:
        lines.append(f"prior_data={source!r} was made in {env_id}, and this run's environment is {own}")
    return PriorData(transitions, digest.hexdigest(), tuple(lines))


def _checked(source: str, columns: Transitions, collector: EnvCollector) -> Transitions:
    """The columns in the shapes and dtypes of the collector's transitions.

    Raises:
        ConfigError: if there are no rows, or for values that are not finite, have another shape, or are
            actions outside of the action space.
    """
    if not len(columns["reward"]):
        raise ConfigError(f"prior_data={source!r} is empty: record episodes first, or leave prior_data out")
    found = {}
    for name, field in collector.fields.items():
        column = columns[name]
        if column.shape[1:] != field.shape:
            raise ConfigError(
                f"prior_data={source!r}: its field {name!r} has the shape {column.shape[1:]}, and this "
                f"environment's has {field.shape}: give data of this environment"
            )
        if not np.issubdtype(column.dtype, np.number) and column.dtype != np.bool_:
            raise ConfigError(f"prior_data={source!r}: its field {name!r} holds {column.dtype}, not numbers")
        with np.errstate(over="ignore"):  # overflow gives inf, which is rejected below
            found[name] = column.astype(field.dtype)
        if not np.isfinite(found[name]).all():
            raise ConfigError(
                f"prior_data={source!r}: its field {name!r} is not finite: remove such episodes from the data"
            )
    action, within = found["action"], collector.actions.clip(found["action"])
    if not np.allclose(action, within, rtol=1e-5, atol=1e-6):  # beyond rounding to float32
        raise ConfigError(
            f"prior_data={source!r}: it has actions outside of {_short(collector.actions.space)}, this "
            "environment's action space: give data of this environment"
        )
    return {**found, "action": within}


def _read_run(source: str, collector: EnvCollector) -> tuple[Transitions, str | None]:
    """The rows in the newest checkpoint of a run, and the id of its environment.

    A run stores the fields `env` and `episode_start` only if its sampler uses them. With one environment,
    both follow from the rows: an episode starts where `obs` differs from `next_obs` of the previous row.
    """
    folder = Path(source) / CHECKPOINT_FOLDER
    checkpoint, lines = CheckpointFolder(folder).read()
    if checkpoint is None:
        remedy = "train that run with checkpoint_every or checkpoint_minutes above 0"
        raise RunError(lines[0] if lines else f"it holds no checkpoint: {remedy}")
    try:
        parts = [read_segment(folder, segment, checkpoint.files) for segment in checkpoint.segments]
    except CheckpointError as error:
        raise RunError(str(error)) from None
    if not parts:
        raise RunError("its replay buffer is empty: let the run make steps first")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    missing = [name for name in ("obs", "action", "reward", "terminated", "next_obs") if name not in columns]
    if missing:
        raise RunError(f"its replay buffer has no field {missing[0]!r}")
    if not {"env", "episode_start"} <= columns.keys():
        settings = checkpoint.settings
        if settings.get("num_envs") != 1 or (settings.get("collectors") or 1) != 1:
            raise RunError(
                "its replay buffer does not record the environment of each row: give a run with one "
                "environment, or with n_step > 1"
            )
        columns["env"] = np.zeros(len(columns["reward"]), np.int32)
        differs = (columns["obs"][1:] != columns["next_obs"][:-1]).any(axis=1)
        columns["episode_start"] = np.concatenate([[True], differs | columns["terminated"][:-1]])
    env = checkpoint.settings.get("env")
    return columns, env.get("id") if isinstance(env, dict) else None


def _read_minari(source: str, collector: EnvCollector) -> tuple[Transitions, str | None]:
    """The steps of all episodes of a dataset, and the id of its environment."""
    data = _dataset_folder(source)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from minari import MinariDataset

            dataset = MinariDataset(data)
        except ImportError as error:
            raise MissingExtraError(
                f"prior_data={source!r} is a Minari dataset ({error}): pip install 'spinup[minari]'"
            ) from None
        except Exception as error:  # damaged files raise many types
            raise RunError(f"its metadata cannot be read ({first_line(error)})") from None
        _check_spaces(dataset, collector)
        try:
            parts = [_steps(dataset, episode) for episode in dataset.iterate_episodes()]
        except SpinupError:
            raise
        except Exception as error:
            raise RunError(f"its episodes cannot be read ({first_line(error)})") from None
    if not parts:
        raise RunError("it is empty: record episodes first, or leave prior_data out")
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return columns, getattr(dataset.env_spec, "id", None)


def _dataset_folder(source: str) -> Path:
    """The folder with the metadata of a dataset, given its folder or id."""
    root = Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")
    for folder in (Path(source), Path(source) / "data", root / source / "data"):
        if (folder / "metadata.json").is_file():
            break
    else:
        inside = sorted(path.parent for path in Path(source).glob(f"*/{CHECKPOINT_FOLDER}"))
        if inside:
            raise RunError(f"it is not the folder of a run: did you mean {inside[0]}?")
        raise RunError(
            f"{Path(source).absolute()} is not the folder of a run with checkpoints, and no Minari dataset "
            "here has that id: `minari list local` lists them, `minari download ID` brings others"
        )
    # Without both spaces, Minari would make the environment that the file names.
    metadata = read_json(folder / "metadata.json")
    for name in _SPACES:
        try:
            json.loads(metadata[name])
        except (KeyError, TypeError, ValueError):
            raise RunError(f"its metadata has no {name}: record it anew with a current Minari") from None
    return folder


def _check_spaces(dataset: Any, collector: EnvCollector) -> None:
    """Raise RunError unless the dataset's spaces are those of the environment, flattened."""
    wanted = collector.observation_space, collector.actions.space
    given = flat_observation_space(dataset.observation_space), action_spec(dataset.action_space).space
    for name, space, raw, own in zip(
        _SPACES, given, (dataset.observation_space, dataset.action_space), wanted, strict=True
    ):
        if space != own:
            raise RunError(
                f"its {name} is {_short(raw)}, and this environment's is {_short(own)}: give data of this "
                "environment"
            )


def _steps(dataset: Any, episode: Any) -> Transitions:
    """The T steps of one episode, which has T + 1 observations."""
    count = len(episode.rewards)
    seen = episode.observations
    seen_count = len(seen) if isinstance(seen, np.ndarray) else count + 1
    obs = flatten_batch(dataset.observation_space, seen, seen_count)
    action = action_spec(dataset.action_space).from_env(np.asarray(episode.actions))
    terminated = np.asarray(episode.terminations)
    if not len(obs) == count + 1 == len(action) + 1 == len(terminated) + 1:
        raise RunError(
            f"episode {episode.id} has {len(obs)} observations, {len(action)} actions and {len(terminated)} "
            f"terminations for {count} rewards: it must have one more observation than rewards"
        )
    return {
        "obs": obs[:-1], "action": action, "reward": np.asarray(episode.rewards),
        "terminated": terminated.astype(np.bool_), "next_obs": obs[1:], "env": np.zeros(count, np.int32),
        "episode_start": np.arange(count) == 0,
    }  # fmt: skip


def _short(space: Any) -> str:
    text = " ".join(repr(space).split())
    return text if len(text) <= 120 else f"{text[:120]}..."
