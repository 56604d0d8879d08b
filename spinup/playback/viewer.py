"""Renders an environment in a window, or records it to a video file, while it is stepped."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym

from spinup.envs.validation import reset_env, step_env
from spinup.envs.vector import call_checked
from spinup.errors import ConfigError, EnvError, MissingExtraError, option
from spinup.loggers.display import has_display

_REMEDY = "fix the environment, or its keyword arguments in vars.json"
GL_REMEDY = "install EGL or OSMesa, and set MUJOCO_GL=egl or osmesa"


class Viewer:
    """Steps an environment, and writes each frame to a video if there is a writer.

    Args:
        env: a Gymnasium environment.
        writer: an imageio writer, or None.
    """

    def __init__(self, env: Any, writer: Any = None) -> None:
        self._env, self._writer = env, writer

    def reset(self, seed: int | None) -> Any:
        """Start an episode; returns its first observation. Raises EnvError if the environment fails."""
        observation, _ = call_checked(lambda: reset_env(self._env, seed=seed), _REMEDY)
        self._write_frame()
        return observation

    def step(self, action: Any) -> tuple[Any, float, bool]:
        """Take one step; returns the observation, the reward, and whether the episode has ended."""
        observation, reward, terminated, truncated = self.transition(action)
        return observation, reward, terminated or truncated

    def transition(self, action: Any) -> tuple[Any, float, bool, bool]:
        """Take one step; returns the observation, the reward, terminated and truncated."""
        result = call_checked(lambda: step_env(self._env, action), _REMEDY)
        observation, reward, terminated, truncated, _ = result
        self._write_frame()
        return observation, float(reward), bool(terminated), bool(truncated)

    def _write_frame(self) -> None:
        if self._writer is not None:
            self._writer.append_data(self._env.render())


@contextlib.contextmanager
def open_viewer(env: Any, render: bool, video: str | Path | None) -> Iterator[Viewer]:
    """A Viewer of `env`, or of a copy of it that renders.

    Raises:
        ConfigError: for a video file that is neither .mp4 nor .gif, or whose folder does not exist.
        EnvError: if the environment cannot be rendered.
        MissingExtraError: if `video` is given and imageio is not installed.
        OSError: if the video cannot be written; there is no file then.
    """
    if video is not None:
        with _recording(env, Path(video)) as viewer:
            yield viewer
        return
    window = _make_window(env) if render else None
    try:
        yield Viewer(window or env)
    finally:
        if window is not None:
            window.close()


def check_recording(env: Any) -> None:
    """Check that videos of the environment can be made here.

    Raises:
        EnvError: if it cannot be rendered.
        MissingExtraError: if imageio is not installed.
    """
    _import_imageio()
    _make_rgb_array(env).close()


def use_offscreen_gl() -> None:
    """Make MuJoCo and pygame render off-screen, on Linux without a display.

    It sets environment variables, unless they are set already, and does not remove them, since the libraries
    read them later. Libraries that are already imported are not affected.
    """
    if sys.platform.startswith("linux") and not has_display():
        os.environ.setdefault("MUJOCO_GL", "egl")
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def _make_window(env: Any) -> Any:
    """A copy of the environment that renders to a window.

    None if `env` itself renders to a window; also None, after a message, if there is no display, or the
    environment has no spec or no render mode "human".

    Raises:
        EnvError: if the window cannot be opened.
    """
    if env.render_mode == "human":
        return None
    hide, record = option("render=False", "-nr"), option("video=FILE", "--video FILE")
    if not has_display():
        print(f"no display: not rendering ({hide} hides this message; {record} records a video instead)")
        return None
    if env.spec is None or "human" not in env.metadata.get("render_modes", ()):
        print(f"this environment has no render mode 'human': not rendering ({hide} hides this message)")
        return None
    try:
        return gym.make(env.spec, render_mode="human")
    except Exception as error:  # graphics libraries raise exceptions of any type
        raise EnvError(f"cannot open a window ({short_reason(error)}): give {hide}, or {record}") from None


@contextlib.contextmanager
def _recording(env: Any, video: Path) -> Iterator[Viewer]:
    if video.suffix not in (".mp4", ".gif"):
        raise ConfigError(f"{_video()} {video}: give a file that ends in .mp4 or .gif")
    if not video.parent.is_dir():
        raise ConfigError(f"{_video()} {video}: the folder {video.parent} does not exist")
    _import_imageio()  # first, since the extra that it needs also has what renders
    temporary = video.with_name(f".{video.stem}.tmp{video.suffix}")
    copy = _make_rgb_array(env)
    try:
        with _open_writer(temporary, float(env.metadata.get("render_fps") or 30)) as writer:
            yield Viewer(copy, writer)
        temporary.replace(video)
    finally:
        copy.close()
        temporary.unlink(missing_ok=True)


def _make_rgb_array(env: Any) -> Any:
    """A copy of the environment that renders to arrays; one frame is rendered as a test.

    Raises:
        EnvError: if the environment cannot be rendered.
    """
    if env.spec is None or "rgb_array" not in env.metadata.get("render_modes", ()):
        raise EnvError(f"{_video()}: this environment cannot render frames (render_mode='rgb_array')")
    copy = None
    try:
        copy = gym.make(env.spec, render_mode="rgb_array")
        copy.reset()
        copy.render()
    except Exception as error:  # graphics libraries raise exceptions of any type
        if copy is not None:
            copy.close()
        if isinstance(error, gym.error.DependencyNotInstalled):  # its message already names the remedy
            raise EnvError(f"{_video()}: {short_reason(error)}") from None
        raise EnvError(f"{_video()}: rendering fails here ({short_reason(error)}): {GL_REMEDY}") from None
    return copy


def _open_writer(video: Path, fps: float) -> Any:
    imageio = _import_imageio()
    if video.suffix == ".gif":
        return imageio.get_writer(video, duration=1000 / fps, loop=0)
    return imageio.get_writer(video, fps=fps, macro_block_size=2)


def _import_imageio() -> Any:
    try:
        import imageio.v2 as imageio
        import imageio_ffmpeg  # noqa: F401 (imageio finds it by itself)
    except ImportError:
        raise MissingExtraError(f"{_video()} needs imageio: pip install 'spinup[video]'") from None
    return imageio


def _video() -> str:
    return option("video", "--video")


def short_reason(error: Exception) -> str:
    """The first 120 characters of an error's message, on one line."""
    return " ".join(str(error).split())[:120] or type(error).__name__
