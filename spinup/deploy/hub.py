"""Uploads a run to the Hugging Face Hub as a model with a card, and downloads it again."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from spinup.config import field_defaults
from spinup.deploy.model_card import Evaluation, mean_interval, model_card
from spinup.envs.saved_spec import read_saved_env
from spinup.errors import ConfigError, EnvError, MissingExtraError, RunError, option
from spinup.files import read_json
from spinup.loggers.run_folder import VIDEO_FOLDER, holds_run
from spinup.playback.episodes import (
    folder_with_model,
    load_env,
    load_policy_and_env,
    run_episode,
    run_policy,
    trained_max_ep_len,
)
from spinup.playback.viewer import Viewer
from spinup.plotting.curves import column, find_runs
from spinup.plotting.figures import make_plots

# The files of a run's folder that are uploaded, and the file names that are accepted from a repository.
FILES = (
    "config.json", "vars.json", "progress.txt", "pyt_save/*.pt", "policy.onnx", "README.md", "curve.png",
    "replay.mp4",
)  # fmt: skip
_ACCEPTED = re.compile(
    r"(config|vars)\.json|progress\.txt|pyt_save/model\w*\.pt|policy\.onnx|README\.md|curve\.png|replay\.mp4"
)


def push(
    fpath: str | Path,
    repo_id: str | None = None,
    *,
    itr: int | str = "last",
    episodes: int = 20,
    env: Any = None,
    private: bool = False,
    video: bool = True,
) -> str:
    """Upload a PyTorch run: models, settings, rows, and a card with return, curve, video and command.

    Before the upload, the model is evaluated on new episodes. Checkpoints are not uploaded.

    Args:
        fpath: the folder of the run.
        repo_id: "user/name" or "name"; by default the name of the folder.
        itr: which model is evaluated and recorded, see `load_policy_and_env`.
        episodes: number of episodes of the evaluation.
        env: replaces the saved environment, see `load_policy_and_env`.
        private: whether a new repository is private.
        video: whether to add a video: the newest one of the run, else a new one if possible.

    Returns:
        The address of the model.

    Raises:
        ConfigError: for an invalid `repo_id` or number of episodes.
        RunError: if the folder holds no model, or the Hub refuses the upload or cannot be reached.
        EnvError: if the environment cannot be made.
        MissingExtraError: if huggingface_hub is not installed.
    """
    hub = _import_hub()
    folder = folder_with_model(fpath)
    if not (folder / "pyt_save").is_dir():
        raise RunError(f"{folder} holds a TensorFlow run: only runs of sac_pytorch can be uploaded")
    if episodes < 1:
        raise ConfigError(f"{option('episodes=', '-n ')}{episodes}: give at least 1")
    repo_id = _checked_id(repo_id or folder.resolve().name)
    config, saved_env = read_json(folder / "config.json"), read_saved_env(folder)
    max_ep_len = trained_max_ep_len(folder) or field_defaults()["max_ep_len"]
    evaluation = evaluate(folder, itr, episodes, env, max_ep_len)
    with tempfile.TemporaryDirectory() as name:
        staging = Path(name)
        _copy(folder, staging)
        film = video and _add_video(folder, staging / "replay.mp4", itr, env, max_ep_len)
        trained = _draw_curve(folder, staging / "curve.png")
        with _hub_errors(hub):
            api = hub.HfApi(library_name="spinup")
            repo = api.create_repo(repo_id, private=private, exist_ok=True)
            card = model_card(
                config,
                saved_env,
                evaluation,
                repo.repo_id,  # with the user's name
                trained=trained,
                itr=itr,
                given_env=env if isinstance(env, str) else None,
                video="replay.mp4" if film else "",
                curve="curve.png",
            )
            (staging / "README.md").write_text(card)
            api.upload_folder(
                repo_id=repo.repo_id,
                folder_path=staging,
                commit_message=f"Mean return {evaluation.mean:.2f} over {episodes} episodes",
            )
    return str(repo)


def pull(repo_id: str, folder: str | Path | None = None, revision: str | None = None) -> Path:
    """Download a model that `push` uploaded, as the folder of a run.

    Only files of the kinds that `push` uploads are downloaded; loading them with spinup executes no code.

    Args:
        repo_id: "user/name".
        folder: the folder to create; by default data/<name>.
        revision: branch, tag or commit; by default the newest.

    Returns:
        The folder.

    Raises:
        ConfigError: for an invalid `repo_id`.
        RunError: if the folder is not empty, the repository holds no model, or cannot be reached.
        MissingExtraError: if huggingface_hub is not installed.
    """
    hub = _import_hub()
    repo_id = _checked_id(repo_id)
    target = Path("data", repo_id.rpartition("/")[2]) if folder is None else Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise RunError(f"{target} exists and is not empty: give another folder with --out")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as name, _hub_errors(hub):
            staging = Path(name, "run")
            names = hub.HfApi(library_name="spinup").list_repo_files(repo_id, revision=revision)
            wanted = [name for name in names if _ACCEPTED.fullmatch(name)]
            if wanted:
                hub.snapshot_download(repo_id, local_dir=staging, allow_patterns=wanted, revision=revision)
            shutil.rmtree(staging / ".cache", ignore_errors=True)
            if not (staging / "pyt_save").is_dir() or not holds_run(staging):
                raise RunError(f"{repo_id} holds no model of spinup: was it made by `spinup push`?")
            if target.exists():
                target.rmdir()
            staging.rename(target)
    except OSError as error:
        raise RunError(f"cannot write {target} ({error.strerror}): give another folder with --out") from None
    return target


def evaluate(folder: Path, itr: int | str, episodes: int, env: Any, max_ep_len: int) -> Evaluation:
    """The returns of new episodes of a run's deterministic policy.

    Raises:
        RunError, EnvError: see `load_env` and `load_policy_and_env`.
    """
    environment, get_action = load_policy_and_env(folder, itr, env=load_env(folder, env))
    try:
        viewer, seeds = Viewer(environment), range(10_000, 10_000 + episodes)
        returns = np.array([run_episode(viewer, get_action, max_ep_len, seed)[0] for seed in seeds])
    finally:
        environment.close()
    return Evaluation(returns, *mean_interval(returns))


def _checked_id(repo_id: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", repo_id) or len(repo_id) > 96:
        raise ConfigError(f"{repo_id!r} is not a model id: give user/name, of letters, digits, '-', '_', '.'")
    return repo_id


def _copy(folder: Path, staging: Path) -> None:
    for pattern in FILES:
        for path in folder.glob(pattern):
            if path.is_file() and not path.is_symlink():
                copy = staging / path.relative_to(folder)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(path, copy)


def _add_video(folder: Path, path: Path, itr: int | str, env: Any, max_ep_len: int) -> bool:
    """Copy the newest video of the run, or record one; if neither is possible, print why and return False."""
    films = sorted((folder / VIDEO_FOLDER).glob("epoch*.mp4"), key=lambda film: film.stat().st_mtime)
    if films:
        shutil.copyfile(films[-1], path)
        return True
    try:
        environment, get_action = load_policy_and_env(folder, itr, env=load_env(folder, env))
        try:
            run_policy(environment, get_action, max_ep_len, 1, render=False, video=path, seed=10_000)
        finally:
            environment.close()
    except (EnvError, MissingExtraError) as error:
        print(f"without a video: {error}")
        return False
    return True


def _draw_curve(folder: Path, path: Path) -> str:
    """Draw the learning curve into a file; returns the length of the training, as in "900 env steps"."""
    with contextlib.redirect_stdout(io.StringIO()):  # the path is that of a temporary file
        make_plots([folder], save=path)
    (run,) = find_runs([folder])
    if steps := int(column(run, "TotalEnvInteracts")[-1]):
        return f"{steps:,} env steps"
    return f"{int(column(run, 'Epoch')[-1])} epochs without env steps"


def _import_hub() -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        import huggingface_hub
        from huggingface_hub.utils import logging
    except ImportError:
        raise MissingExtraError(
            "the Hugging Face Hub needs huggingface_hub: pip install 'spinup[hub]'"
        ) from None
    logging.set_verbosity_error()  # it reports each of its retries
    return huggingface_hub


@contextlib.contextmanager
def _hub_errors(hub: Any) -> Iterator[None]:
    """Convert errors of the Hub to RunErrors."""
    try:
        yield
    except (RunError, MissingExtraError):
        raise
    except Exception as error:
        errors, reason = hub.errors, (" ".join(str(error).split()) or type(error).__name__)[:300]
        if isinstance(error, (errors.HfHubHTTPError, errors.LocalTokenNotFoundError)):
            status = getattr(getattr(error, "response", None), "status_code", None)
            remedy = "check the id, or try again later"
            if status in (None, 401, 403):
                remedy = "log in with `hf auth login`, or set HF_TOKEN to a token that may do this"
            raise RunError(f"the Hugging Face Hub refused ({reason}): {remedy}") from None
        # Versions of huggingface_hub differ in their HTTP client.
        network = type(error).__module__.startswith("httpx") or isinstance(error, ConnectionError)
        if network or isinstance(error, errors.LocalEntryNotFoundError):
            raise RunError(f"the Hugging Face Hub cannot be reached ({reason}): try again later") from None
        raise
