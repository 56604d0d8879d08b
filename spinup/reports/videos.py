"""Videos of runs in the HTML report: embedded if they are small, else linked."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from spinup.errors import RunError
from spinup.files import read_regular
from spinup.loggers.text import printable
from spinup.reports.run_summary import RunSummary

TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}
MAX_VIDEO_BYTES, MAX_EMBEDDED_BYTES = 4 * 2**20, 24 * 2**20  # of one video; of all videos in a page
MAX_VIDEOS_PER_RUN = 20


@dataclass(frozen=True)
class _Video:
    """A video of a run; `written` is its time of modification."""

    path: Path
    written: float
    size: int


def draw_videos(runs: Sequence[tuple[int, RunSummary]], page_folder: Path) -> str:
    """The newest videos of runs, newest first for each run; empty if there is none.

    Args:
        runs: pairs of the experiment's number and the run.
        page_folder: the folder of the page, to which links are relative.
    """
    figures, room = [], MAX_EMBEDDED_BYTES
    for group, run in runs:
        videos = sorted(_videos(run.path), key=lambda video: (-video.written, video.path))
        for video in videos[:MAX_VIDEOS_PER_RUN]:
            player = _embedded(video, min(room, MAX_VIDEO_BYTES))
            room -= video.size if player else 0
            figures.append(_figure(group, run, video, player or _link(video, page_folder)))
    return f'<h3>Videos</h3>\n<div class="videos">\n{"".join(figures)}</div>\n' if figures else ""


def _videos(folder: Path) -> Iterator[_Video]:
    """The videos in a folder and its subfolders; links are not followed."""
    for parent, _, files in os.walk(folder):
        for name in files:
            path = Path(parent, name)
            if path.suffix.lower() in TYPES and not path.is_symlink() and path.is_file():
                status = path.stat()
                yield _Video(path, status.st_mtime, status.st_size)


def _embedded(video: _Video, limit: int) -> str:
    """The video as a part of the page, or an empty string if it is larger than `limit` bytes."""
    try:
        data = read_regular(video.path, limit, links=False) if video.size <= limit else b""
    except RunError:
        return ""
    if not data:
        return ""
    kind = TYPES[video.path.suffix.lower()]
    source = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    if kind.startswith("image"):
        return f'<img src="{source}" alt="{html.escape(printable(video.path.name))}">'
    return f'<video src="{source}" controls muted loop playsinline preload="metadata"></video>'


def _link(video: _Video, page_folder: Path) -> str:
    address = quote(os.fsencode(os.path.relpath(video.path, page_folder).replace(os.sep, "/")), safe="/")
    return f'<a href="./{address}">{html.escape(printable(video.path.name))}</a>'


def _figure(group: int, run: RunSummary, video: _Video, content: str) -> str:
    linked = "" if not content.startswith("<a") else ": too large to embed, so it is a link to the file"
    caption = f"{run.name}, {run.path.name}, {video.path.relative_to(run.path)}, {video.size / 2**20:.2g} MiB"
    text = html.escape(printable(caption + linked))
    return f'<figure data-group="{group}">{content}<figcaption>{text}</figcaption></figure>\n'
