"""The class SAC with the methods learn, predict, save and load; `learn` calls `sac_pytorch`."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray

from spinup.checks import check_logger_kwargs
from spinup.config import SACConfig
from spinup.envs.make import env_function
from spinup.envs.spaces import action_spec, flatten_observation, image_layout
from spinup.envs.validation import flatten_batch
from spinup.errors import ConfigError, RunError
from spinup.files import existing_dir
from spinup.loggers.run_folder import prepare_folder
from spinup.playback.policies import has_model, load_actor_critic
from spinup.pytorch.sac import check_choices, sac_pytorch
from spinup.runs.launch import check_parameters
from spinup.runs.resuming import RunProgress, progress_of
from spinup.saved_call import resume_call

_NOT_HERE = ("env_fn", "epochs", "resume")  # arguments of sac_pytorch that `learn` sets


class SAC:
    """An agent, trained by one run.

    ```python
    model = spinup.SAC("Pendulum-v1", alpha="auto", steps_per_epoch=1000).learn(20_000)
    action, _ = model.predict(obs)
    model.save("pendulum")
    model = spinup.SAC.load("pendulum").learn(20_000)  # continues exactly
    ```

    Args:
        env: an environment id, a function that returns a new environment, or an environment made by
            `gym.make`, from whose spec new environments are made.
        kwargs: the keyword arguments of `sac_pytorch` except `env_fn`, `epochs` and `resume`.

    Attributes:
        folder: the run's folder; None before the first `learn` if `logger_kwargs` gives none.
        ac: the trained actor-critic; None before the first `learn`.
        steps: env steps so far.

    Raises:
        ArgumentError: for an argument that `sac_pytorch` does not take.
        ConfigError: for an invalid value, or an environment without a spec.
    """

    def __init__(self, env: Any, **kwargs: Any) -> None:
        for name in _NOT_HERE:
            if name in kwargs:
                raise ConfigError(f"{name}={kwargs[name]!r}: leave it out, since learn(steps) sets it")
        if isinstance(env, str) and env in ("MlpPolicy", "CnnPolicy", "MultiInputPolicy"):
            raise ConfigError(
                f"{env!r} is a policy of another library: give only the environment, and "
                "the networks as ac_kwargs"
            )
        check_parameters(sac_pytorch, kwargs)
        self._config = SACConfig.from_settings(kwargs)
        check_choices(kwargs)
        self._env_fn = _env_fn(env)
        self._kwargs = dict(kwargs)
        logger_kwargs = self._kwargs.pop("logger_kwargs", {})
        check_logger_kwargs(logger_kwargs)
        self._logger_kwargs: dict[str, Any] = dict(logger_kwargs)
        self._spaces: tuple[Any, Any] | None = None
        self._began = False
        self.ac: Any = None
        self.folder: Path | None = None
        if self._logger_kwargs.get("output_dir") is not None:
            self.folder = Path(self._logger_kwargs["output_dir"])

    @property
    def steps(self) -> int:
        """Env interactions so far, as of the last checkpoint in the folder."""
        found = progress_of(self.folder) if self._began and self.folder is not None else None
        return 0 if found is None else found.steps

    def learn(self, steps: int, callback: Callable[[dict[str, Any], Any], Any] | None = None) -> SAC:
        """Train for `steps` more env steps, rounded up to whole epochs.

        A later call continues the run exactly: two calls give the same result as one call with the sum of
        their steps, except with a learning-rate schedule, which spans the steps planned so far.

        Args:
            steps: env steps, over all environments.
            callback: see `sac_pytorch`; replaces the constructor's callback.

        Returns:
            This object.

        Raises:
            ConfigError: if `steps` is not a whole number >= 1, or checkpoints are switched off and the run
                has begun.
            SpinupError, KeyboardInterrupt, SystemExit: see `sac_pytorch`. After an interrupt, another call
                continues.
        """
        if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 1:
            raise ConfigError(f"steps={steps!r}: give a whole number >= 1")
        if self.folder is None:
            self.folder = prepare_folder(None, "progress.txt", False, False)
        before = progress_of(self.folder) if self._began else RunProgress(0, 0)
        if before is None:
            raise ConfigError(
                f"{self.folder} holds no checkpoint to continue from: leave checkpoint_every and "
                "checkpoint_minutes at their defaults"
            )
        per_epoch = self._config.steps_per_epoch
        within = before.steps - before.epoch * per_epoch  # of an epoch in which a callback ended the run
        given = {**self._kwargs, **({} if callback is None else {"callback": callback})}
        logger_kwargs = {**self._logger_kwargs, "output_dir": str(self.folder)}
        if self._began:
            logger_kwargs.pop("overwrite", None)
        written = _config_stamp(self.folder)
        try:
            self.ac = sac_pytorch(
                self._env_fn,
                **given,
                epochs=before.epoch + math.ceil((max(within, 0) + steps) / per_epoch),
                logger_kwargs=logger_kwargs,
                resume="again" if self._began else False,
            )
        finally:
            self._began = self._began or _config_stamp(self.folder) != written
        return self

    def predict(self, obs: Any, deterministic: bool = True) -> tuple[NDArray[Any], None]:
        """Actions for observations.

        Args:
            obs: an observation as the environment returns it, or a batch of them.
            deterministic: whether to return the most likely action instead of a sample.

        Returns:
            The action as the environment takes it, or a batch of them; and None, for compatibility with
            Stable-Baselines3, where recurrent policies return their state.

        Raises:
            RunError: before the first `learn`.
            ConfigError: for an observation that does not fit the environment's space.
        """
        if self.ac is None:
            raise RunError("there is no policy yet: call learn(steps), or SAC.load(folder)")
        observation_space, action_space = self._spaces or self._look()
        try:
            count = _batch_size(observation_space, obs)
            layout = image_layout(observation_space)
            if count is None:
                rows = flatten_observation(observation_space, layout, obs)[None]
            else:
                batch = np.asarray(obs) if isinstance(obs, list) else obs
                rows = flatten_batch(observation_space, batch, count, layout)
            like = next(self.ac.parameters())
            dtype = like.dtype if layout is None else None
            x = torch.as_tensor(np.asarray(rows), dtype=dtype, device=like.device)
            actions = self.ac.act(x, deterministic=deterministic)
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError) as error:
            raise ConfigError(
                f"the observation does not fit {observation_space} ({type(error).__name__}: {error}): give "
                "one as the environment returns it, or a batch"
            ) from None
        spec = action_spec(action_space)
        actions = spec.to_env(np.asarray(actions, np.float32).reshape(-1, spec.dim))
        return (actions[0] if count is None else actions), None

    def save(self, path: str | Path) -> None:
        """Copy the run's folder, which holds all that `load` needs to predict and to continue training.

        Args:
            path: the folder to create.

        Raises:
            RunError: before the first `learn`, or if the path exists or cannot be written.
        """
        if self.folder is None or not has_model(self.folder):
            raise RunError("there is nothing to save yet: call learn(steps) first")
        path = Path(path)
        if path.exists():
            raise RunError(f"{path} exists: give another path, or remove it")
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(self.folder, temporary, ignore=shutil.ignore_patterns(".*"))
            temporary.rename(path)
        except (OSError, shutil.Error) as error:
            shutil.rmtree(temporary, ignore_errors=True)
            reason = getattr(error, "strerror", None) or error
            raise RunError(f"cannot write {path} ({reason}): give another path") from None

    @classmethod
    def load(cls, path: str | Path, env: Any = None, **changes: Any) -> SAC:
        """Load the model from a folder written by `save`, `sac_pytorch` or `spinup sac`.

        `learn` continues the run in that folder.

        Args:
            path: the folder.
            env: as for the constructor; replaces the environment named in the files. Required if they name
                none, or if its module must be imported.
            changes: keyword arguments of `sac_pytorch` to override, and those that files cannot store: a
                custom `actor_critic`, and `callback`.

        Raises:
            RunError: if the folder is missing or damaged, or does not describe the run completely.
            EnvError: if the environment is not registered.
            ConfigError: see the constructor.
        """
        folder = existing_dir(path)
        given = env if env is None or isinstance(env, str) else _env_fn(env)
        remedy = "give SAC.load(folder, env), and actor_critic= if the networks are your own"
        call = resume_call(folder, env=given, actor_critic=changes.get("actor_critic"), remedy=remedy)
        if call.function is not sac_pytorch:
            raise RunError(f"{folder} holds a run of sac_tf1: continue it with `spinup resume`")
        kwargs = {name: value for name, value in call.kwargs.items() if name not in _NOT_HERE}
        logger_kwargs = {**kwargs.pop("logger_kwargs"), **changes.pop("logger_kwargs", {})}
        logger_kwargs["output_dir"] = str(folder)
        model = cls(call.kwargs["env_fn"], **{**kwargs, **changes}, logger_kwargs=logger_kwargs)
        model._began = True
        model.ac = load_actor_critic(folder) if has_model(folder) else None
        return model

    def _look(self) -> tuple[Any, Any]:
        """Observation and action space of a single environment, read from a temporary one."""
        env = env_function(self._env_fn)()
        try:
            spaces = (
                getattr(env, "single_observation_space", env.observation_space),
                getattr(env, "single_action_space", env.action_space),
            )
        finally:
            env.close()
        self._spaces = spaces
        return spaces


def _env_fn(env: Any) -> Any:
    """A function that returns new environments like `env`, or the id or function itself."""
    if isinstance(env, gym.Env):
        if env.spec is None:
            raise ConfigError(
                f"{type(env).__name__} has no spec to make further environments from: give a function that "
                "returns a new environment, or an id"
            )
        return partial(gym.make, env.spec)
    env_function(env)  # checks an id
    return env


def _batch_size(space: gym.Space[Any], obs: Any) -> int | None:
    """The number of observations in a batch; None for a single one."""
    while isinstance(space, (gym.spaces.Dict, gym.spaces.Tuple)):
        key = next(iter(space.spaces)) if isinstance(space, gym.spaces.Dict) else 0
        space, obs = space[key], obs[key]  # type: ignore[index]
    shape = np.shape(obs)
    return None if len(shape) <= len(space.shape or ()) else shape[0]


def _config_stamp(folder: Path) -> tuple[int, int] | None:
    """Identifies the config.json in a run's folder, which every call of `sac_pytorch` writes anew."""
    try:
        found = (folder / "config.json").stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
