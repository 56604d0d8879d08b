"""Videos of a policy during training, in a separate environment that renders off-screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from spinup.errors import EnvError, option
from spinup.playback.episodes import action_function, run_episode
from spinup.playback.viewer import check_recording, open_viewer
from spinup.seeding import TEST_STREAM, episode_seed

Float = NDArray[np.float32]


class Recorder:
    """Writes videos of single episodes, each in a new environment, without affecting training.

    Args:
        spec: the environment's spec.
        seed: the run's seed, from which the seed of each epoch's episode is derived.
        max_ep_len: maximum episode length in steps.

    Raises:
        EnvError: if the environment has no spec, or cannot be rendered on this machine.
        MissingExtraError: if imageio is not installed.
    """

    def __init__(self, spec: Any, seed: int, max_ep_len: int) -> None:
        if spec is None:
            raise EnvError(
                f"{option('video_every', '--video_every')}: the environment has no id, so none can be made "
                "for videos: register it and let env_fn call gym.make, or leave this out"
            )
        self._spec, self._seed, self._max_ep_len = spec, seed, max_ep_len
        env = gym.make(spec)
        try:
            check_recording(env)
        finally:
            env.close()

    def __call__(self, path: Path, act: Callable[[Float], Float], epoch: int) -> None:
        """Write the video of one episode.

        Args:
            path: an .mp4 file; its folder is created.
            act: maps observations (1, obs_dim) to actions (1, act_dim).
            epoch: number of the epoch, from which the seed is derived.

        Raises:
            EnvError, OSError: if the environment fails, or the file cannot be written.
        """
        path.parent.mkdir(exist_ok=True)
        env = gym.make(self._spec)
        try:
            with open_viewer(env, render=False, video=path) as viewer:
                seed = episode_seed(self._seed, TEST_STREAM, 0, epoch)
                run_episode(viewer, action_function(act, env), self._max_ep_len, seed)
        finally:
            env.close()
