"""Checkpoints: all of a run's state in files that are whole or not there, and read as data only.

    checkpoint/manifest-<k>.json                      numbers and strings; names, sizes and sums of the files
    checkpoint/state-<k>.safetensors                  every array but the replay buffer's
    checkpoint/replay-<k>-<start>-<stop>.safetensors  rows written as number start up to stop

A manifest is written last, and a file that one names is never written again: so the checkpoint before stays
whole until the new one is. Rows are written once, and again when small files are merged.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from spinup.files import atomic_write
from spinup.runs.manifest import (
    FORMAT,
    NAME,
    VERSION,
    Checkpoint,
    Damaged,
    Segment,
    canonical,
    checksum,
    join,
    number_of,
    read_arrays,
    read_manifest,
    read_rows,
    split,
)

Float = NDArray[np.float32]
KEPT = 2
MERGED = 8  # files of about a size that are merged into one
MAX_ROWS = 32_768  # rows per file


class Rows(Protocol):
    """What is read of a replay buffer, and put back."""

    total: int

    def __len__(self) -> int: ...

    def read(self, start: int, stop: int) -> Float:
        """Rows written as number start up to stop."""
        ...

    def restore(self, start: int, rows: Float) -> None:
        """Hold `rows`, as those written as number start and on, and no others."""
        ...

    def add(self, rows: Float) -> None:
        """Append rows."""
        ...


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        folder: where they lie; made by the first one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last: Checkpoint | None = None

    def write(self, state: dict[str, Any], settings: dict[str, Any], replay: Rows) -> int:
        """Write a checkpoint; returns the bytes written.

        Args:
            state: nested dicts with string keys of arrays, numbers, strings and lists of these.
            settings: of the run, as plain JSON.
            replay: its rows are read here.

        Raises:
            OSError: nothing that was there is harmed (the disk is full, say).
        """
        last = self._last
        number = 1 + max((number_of(path.name) for path in self._ours()), default=0)
        kept, new = plan(last.segments if last else [], replay.total - len(replay), replay.total, number)
        files = {s.file: last.files[s.file] for s in kept} if last else {}
        arrays: dict[str, Any] = {}
        tree = split(state, "", arrays)
        written = 0
        try:
            for segment in new:
                data = save({"rows": replay.read(segment.start, segment.stop)})
                written += self._put(segment.file, data, files)
            written += self._put(f"state-{number}.safetensors", save(arrays), files)
            segments = [*kept, *new]
            body = {
                "format": FORMAT, "version": VERSION, "number": number, "state": tree, "settings": settings,
                "segments": segments, "files": files,
            }  # fmt: skip
            manifest = json.dumps({"sha256": checksum(canonical(body)), "body": body}).encode()
            atomic_write(self.folder / f"manifest-{number}.json", manifest)
        except BaseException:
            self._remove(f for f in files if last is None or f not in last.files)
            raise
        self._clear({number, last.number if last else 0}, {*files, *(last.files if last else ())})
        self._last = Checkpoint(number, {}, settings, segments, files)
        return written + len(manifest)

    def read(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest whole checkpoint, or None, and a line about each one passed over."""
        lines: list[str] = []
        numbers = sorted({number_of(p.name) for p in self._ours() if p.suffix == ".json"}, reverse=True)
        for number in numbers:
            try:
                found = read_manifest(self.folder / f"manifest-{number}.json", number)
                arrays = read_arrays(self.folder, f"state-{number}.safetensors", found.files)
                for segment in found.segments:
                    read_rows(self.folder, segment, found.files)
                whole = replace(found, state=join(found.state, arrays))
                self._last = found
                return whole, lines
            except Damaged as error:
                lines.append(f"checkpoint {number} is passed over: {error}")
        return None, lines

    def read_rows(self, checkpoint: Checkpoint, replay: Rows) -> None:
        """Put the checkpoint's rows into `replay`.

        Raises:
            Damaged: a file has changed since it was checked.
        """
        for i, segment in enumerate(checkpoint.segments):
            rows = read_rows(self.folder, segment, checkpoint.files)
            if i == 0:
                replay.restore(segment.start, rows)
            else:
                replay.add(rows)

    def _put(self, name: str, data: bytes, files: dict[str, list[Any]]) -> int:
        files[name] = [len(data), checksum(data)]
        atomic_write(self.folder / name, data)
        return len(data)

    def _ours(self) -> list[Path]:
        return [p for p in self.folder.glob("*") if NAME.fullmatch(p.name)]

    def _clear(self, numbers: set[int], files: set[str]) -> None:
        """Remove what no kept checkpoint names, and what a killed run left half written."""
        keep = files | {f"manifest-{number}.json" for number in numbers}
        self._remove(p.name for p in self._ours() if p.name not in keep)
        self._remove(p.name for p in self.folder.glob(".*.tmp"))

    def _remove(self, names: Any) -> None:
        for name in list(names):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()


def plan(
    segments: list[Segment], oldest: int, total: int, number: int
) -> tuple[list[Segment], list[Segment]]:
    """Which segments stay, and which are to be written, so that rows oldest up to total are held.

    Segments without a row that is still held are dropped. MERGED neighbours of about a size become one, so
    that there are few files though each row is written only a few times.
    """
    kept = [s for s in segments if s.stop > oldest]
    start = max(kept[-1].stop if kept else 0, oldest)
    spans = [(s.start, s.stop) for s in kept]
    spans += [(at, min(at + MAX_ROWS, total)) for at in range(start, total, MAX_ROWS)]
    while len(tail := spans[-MERGED:]) == MERGED:
        first, rows = max(tail[0][0], oldest), [b - a for a, b in tail]
        if total - first > MAX_ROWS or max(rows) >= MERGED * min(rows):
            break
        spans[-MERGED:] = [(first, total)]
    whole = {(s.start, s.stop): s for s in kept}
    stay = [whole[span] for span in spans if span in whole]
    new = [Segment(a, b, f"replay-{number}-{a}-{b}.safetensors") for a, b in spans if (a, b) not in whole]
    return stay, new
