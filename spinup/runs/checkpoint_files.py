"""Checkpoints: the whole state of a run in files. They are written atomically, and reading them runs no code.

    checkpoint/manifest-<k>.json                      numbers and strings; name, size and SHA-256 of each file
    checkpoint/state-<k>.safetensors                  all arrays except the replay buffer's
    checkpoint/replay-<k>-<start>-<stop>.safetensors  replay rows start to stop - 1, one array per field

The manifest is written last, and files that a manifest names are never overwritten, so the previous
checkpoint stays intact until the new one is complete. A row is written once, and again only when small files
are merged.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.numpy import save

from spinup.files import atomic_write, excess_of_json
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.transition import Field, Transitions, bytes_per_row
from spinup.runs.manifest import (
    FILE_NAME,
    FORMAT,
    VERSION,
    Checkpoint,
    CheckpointError,
    OldVersionError,
    Segment,
    canonical_json,
    checkpoint_number,
    checksum,
    extract_arrays,
    insert_arrays,
    read_arrays,
    read_manifest,
    read_segment,
)

MERGE_COUNT = 8  # neighboring segments of similar size that are merged into one
MAX_SEGMENT_ROWS, MAX_SEGMENT_BYTES = 32_768, 2**28


class CheckpointFolder:
    """The checkpoints of one run; the newest two are kept.

    Args:
        folder: folder of the checkpoints; created when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._last: Checkpoint | None = None

    def write(self, state: dict[str, Any], settings: dict[str, Any], replay: ReplayBuffer) -> int:
        """Write a checkpoint; returns the number of bytes written.

        Args:
            state: nested dicts with string keys of arrays, numbers, strings and lists of these.
            settings: the run's settings, as plain JSON.
            replay: the replay buffer; only rows that the previous checkpoint lacks are written.

        Raises:
            OSError: if a file cannot be written; earlier checkpoints stay intact.
            TypeError: if the state holds an object that is not data, or if the data outside arrays exceed the
                limits of `load_json`.
        """
        last = self._last
        number = 1 + max((checkpoint_number(path.name) for path in self._checkpoint_files()), default=0)
        oldest = replay.total - len(replay)
        rows = max(min(MAX_SEGMENT_ROWS, MAX_SEGMENT_BYTES // bytes_per_row(replay.fields)), 1)
        kept, new = plan_segments(last.segments if last else [], oldest, replay.total, number, rows)
        files = {s.file: last.files[s.file] for s in kept} if last else {}
        arrays: dict[str, Any] = {}
        tree = extract_arrays(state, "", arrays)
        written = 0
        try:
            for segment in new:
                data = save(replay.read(segment.start, segment.stop))
                written += self._write_file(segment.file, data, files)
            written += self._write_file(f"state-{number}.safetensors", save(arrays), files)
            segments = [*kept, *new]
            body = {
                "format": FORMAT, "version": VERSION, "number": number, "state": tree, "settings": settings,
                "segments": segments, "files": files,
            }  # fmt: skip
            manifest = json.dumps({"sha256": checksum(canonical_json(body)), "body": body}).encode()
            if excess := excess_of_json(manifest):
                raise TypeError(f"it has {excess} outside arrays")
            atomic_write(self.folder / f"manifest-{number}.json", manifest)
        except BaseException:
            self._remove(f for f in files if last is None or f not in last.files)
            raise
        self._remove_all_but({number, last.number if last else 0}, {*files, *(last.files if last else ())})
        self._last = Checkpoint(number, {}, settings, segments, files)
        return written + len(manifest)

    def read(self) -> tuple[Checkpoint | None, list[str]]:
        """The newest intact checkpoint, or None, and a line about each newer one that was skipped."""
        lines: list[str] = []
        manifests = [path.name for path in self._checkpoint_files() if path.suffix == ".json"]
        for number in sorted({checkpoint_number(name) for name in manifests}, reverse=True):
            try:
                found = read_manifest(self.folder / f"manifest-{number}.json", number)
                arrays = read_arrays(self.folder, f"state-{number}.safetensors", found.files)
                for segment in found.segments:
                    read_segment(self.folder, segment, found.files)
                complete = replace(found, state=insert_arrays(found.state, arrays))
                self._last = found
                return complete, lines
            except CheckpointError as error:
                lines.append(f"checkpoint {number} is skipped: {error}")
                if isinstance(error, OldVersionError):  # all older ones were written by that version too
                    break
        return None, lines

    def restore_replay(self, checkpoint: Checkpoint, replay: ReplayBuffer) -> None:
        """Load the checkpoint's rows into `replay`.

        Raises:
            CheckpointError: if the fields differ from those of `replay`, or a file has changed since `read`.
        """
        for i, segment in enumerate(checkpoint.segments):
            transitions = read_segment(self.folder, segment, checkpoint.files)
            _check_fields(segment.file, transitions, replay.fields)
            if i == 0:
                replay.restore(segment.start, transitions)
            else:
                replay.append(transitions)

    def _write_file(self, name: str, data: bytes, files: dict[str, list[Any]]) -> int:
        files[name] = [len(data), checksum(data)]
        atomic_write(self.folder / name, data)
        return len(data)

    def _checkpoint_files(self) -> list[Path]:
        return [path for path in self.folder.glob("*") if FILE_NAME.fullmatch(path.name)]

    def _remove_all_but(self, numbers: set[int], files: set[str]) -> None:
        """Remove older checkpoints, and incomplete files of a killed process."""
        keep = files | {f"manifest-{number}.json" for number in numbers}
        self._remove(path.name for path in self._checkpoint_files() if path.name not in keep)
        self._remove(path.name for path in self.folder.glob(".*.tmp"))

    def _remove(self, names: Iterable[str]) -> None:
        for name in list(names):
            with contextlib.suppress(OSError):
                (self.folder / name).unlink()


def plan_segments(
    segments: list[Segment], oldest: int, total: int, number: int, most: int = MAX_SEGMENT_ROWS
) -> tuple[list[Segment], list[Segment]]:
    """Segments to keep and segments to write, which together hold the rows from `oldest` to `total` - 1.

    Segments whose rows have all been overwritten are dropped. When the last MERGE_COUNT segments have similar
    sizes, they are merged into one, so that there are few files and each row is rewritten only a few times.
    No new segment has more than `most` rows.

    Args:
        segments: the segments of the previous checkpoint.
        oldest, total: number of the oldest stored row, and number of rows ever written.
        number: number of the new checkpoint, for file names.
        most: maximum number of rows of a segment.
    """
    current = [s for s in segments if s.stop > oldest]
    start = max(current[-1].stop if current else 0, oldest)
    spans = [(s.start, s.stop) for s in current]
    spans += [(at, min(at + most, total)) for at in range(start, total, most)]
    while len(tail := spans[-MERGE_COUNT:]) == MERGE_COUNT:
        first, sizes = max(tail[0][0], oldest), [b - a for a, b in tail]
        if total - first > most or max(sizes) >= MERGE_COUNT * min(sizes):
            break
        spans[-MERGE_COUNT:] = [(first, total)]
    by_span = {(s.start, s.stop): s for s in current}
    kept = [by_span[span] for span in spans if span in by_span]
    new = [Segment(a, b, f"replay-{number}-{a}-{b}.safetensors") for a, b in spans if (a, b) not in by_span]
    return kept, new


def _check_fields(file: str, transitions: Transitions, fields: Iterable[Field]) -> None:
    saved = {name: f"{array.dtype} {array.shape[1:]}" for name, array in transitions.items()}
    stored = {field.name: f"{field.dtype} {field.shape}" for field in fields}
    for name in stored | saved:
        if saved.get(name) != stored.get(name):
            raise CheckpointError(
                f"field {name[:80]!r} is {saved.get(name, 'absent')} in {file}, and "
                f"{stored.get(name, 'absent')} in this run's replay buffer"
            )
