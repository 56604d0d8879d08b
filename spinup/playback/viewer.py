"""An environment that is shown in a window or filmed while it is stepped."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym

from spinup.errors import ConfigError, EnvError, MissingExtraError

GL_REMEDY = "install EGL or OSMesa, and set MUJOCO_GL=egl or osmesa"


class Viewer:
    """Steps an environment and films each frame, if it is given something to film with.

    Args:
        env: a Gymnasium environment.
        film: an imageio writer, or None.
    """

    def __init__(self, env: Any, film: Any = None) -> None:
        self._env, self._film = env, film

    def reset(self, seed: int | None) -> Any:
        """The first observation of an episode."""
        observation, _ = self._env.reset(seed=seed)
        self._shoot()
        return observation

    def step(self, action: Any) -> tuple[Any, float, bool]:
        """Observation, reward, and whether the episode has ended."""
        observation, reward, terminated, truncated, _ = self._env.step(action)
        self._shoot()
        return observation, float(reward), bool(terminated or truncated)

    def _shoot(self) -> None:
        if self._film is not None:
            self._film.append_data(self._env.render())


@contextlib.contextmanager
def renderable(env: Any, render: bool, video: str | Path | None) -> Iterator[Viewer]:
    """A Viewer of `env`, or of a twin of it that renders.

    Raises:
        ConfigError: for a video that is neither .mp4 nor .gif.
        EnvError: if a video is asked for and the environment cannot be rendered here.
        MissingExtraError: if a video is asked for without the package that writes it.
    """
    if video is not None:
        with _filming(env, Path(video)) as viewer:
            yield viewer
        return
    twin = _window(env) if render else None
    try:
        yield Viewer(twin or env)
    finally:
        if twin is not None:
            twin.close()


def has_display() -> bool:
    """Whether this process can open a window."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def draw_without_display() -> None:
    """Have MuJoCo draw off screen where there is no display; it asks once, when it is imported."""
    if sys.platform.startswith("linux") and not has_display():
        os.environ.setdefault("MUJOCO_GL", "egl")


def _window(env: Any) -> Any:
    """A twin of the environment with a window; None, and one line why, where that cannot be."""
    if env.render_mode == "human":
        return None
    if not has_display():
        print("no display here: not rendering (-nr says so; --video FILE films instead)")
        return None
    if env.spec is None or "human" not in env.metadata.get("render_modes", ()):
        print("this environment has no window to render to: not rendering (-nr says so)")
        return None
    try:
        return gym.make(env.spec, render_mode="human")
    except Exception as error:  # whatever the graphics libraries raise, the remedy is the same
        raise EnvError(f"no window opens ({short_reason(error)}): give -nr, or --video FILE") from None


@contextlib.contextmanager
def _filming(env: Any, video: Path) -> Iterator[Viewer]:
    if video.suffix not in (".mp4", ".gif"):
        raise ConfigError(f"--video {video}: give a file that ends in .mp4 or .gif")
    if not video.parent.is_dir():
        raise ConfigError(f"--video {video}: the folder {video.parent} does not exist")
    twin, rate = _film_set(env)
    try:
        with _film(video, rate) as film:
            yield Viewer(twin, film)
    finally:
        twin.close()


def _film_set(env: Any) -> tuple[Any, float]:
    """A twin of the environment that has proved to return frames, and its frames per second."""
    if env.spec is None or "rgb_array" not in env.metadata.get("render_modes", ()):
        raise EnvError("--video: this environment cannot render frames (render_mode='rgb_array')")
    twin = None
    try:
        twin = gym.make(env.spec, render_mode="rgb_array")
        twin.reset()
        twin.render()
    except Exception as error:  # whatever the graphics libraries raise, the remedy is the same
        if twin is not None:
            twin.close()
        if isinstance(error, gym.error.DependencyNotInstalled):  # says itself what to install
            raise EnvError(f"--video: {short_reason(error)}") from None
        raise EnvError(f"--video: rendering fails here ({short_reason(error)}): {GL_REMEDY}") from None
    return twin, float(env.metadata.get("render_fps") or 30)


def _film(video: Path, rate: float) -> Any:
    try:
        import imageio.v2 as imageio

        if video.suffix == ".gif":
            return imageio.get_writer(video, duration=1000 / rate, loop=0)
        return imageio.get_writer(video, fps=rate, macro_block_size=2)
    except ImportError:
        raise MissingExtraError("--video needs imageio: pip install 'spinup[video]'") from None


def short_reason(error: Exception) -> str:
    """The beginning of what an error says, on one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
