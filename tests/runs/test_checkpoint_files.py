"""Checkpoint files: what is written and kept, fields of the replay buffer, damage, a full disk."""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import pickle
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from spinup.errors import RunError
from spinup.replay.buffer import ReplayBuffer
from spinup.replay.builders import OneStepBuilder
from spinup.replay.samplers import UniformSampler
from spinup.replay.storage import HostStorage
from spinup.replay.transition import Field, Transitions, bytes_per_row
from spinup.runs.checkpoint_files import MAX_SEGMENT_ROWS, MERGE_COUNT, CheckpointFolder, plan_segments
from spinup.runs.manifest import CheckpointError, Segment, canonical_json, newest_settings

FIELDS = (
    Field("image", (2, 3), np.dtype(np.uint8)),
    Field("vector", (4,), np.dtype(np.float32)),
    Field("reward", (), np.dtype(np.float32)),
    Field("terminated", (), np.dtype(np.bool_)),
    Field("env", (), np.dtype(np.int32)),
)
ROW_BYTES = bytes_per_row(FIELDS)


def empty(capacity: int = 100, fields: Sequence[Field] = FIELDS) -> ReplayBuffer:
    """A replay buffer without rows."""
    return ReplayBuffer(HostStorage(fields, capacity), UniformSampler(OneStepBuilder(0.99)))


def buffer(rows: int, capacity: int = 100) -> ReplayBuffer:
    """A replay buffer whose row k is made from the number k."""
    replay = empty(capacity)
    replay.add(numbered(0, rows))
    return replay


def numbered(start: int, stop: int) -> Transitions:
    """Transitions made from the numbers start to stop - 1, different in every field."""
    number = np.arange(start, stop)

    def values(offset: int, field: Field) -> Any:
        column = (number * 7 + offset) % 251 % (2 if field.dtype == np.bool_ else 251)
        return np.broadcast_to(column.reshape(-1, *(1 for _ in field.shape)), (len(number), *field.shape))

    return {field.name: values(i, field).astype(field.dtype) for i, field in enumerate(FIELDS)}


def state(k: int) -> dict[str, Any]:
    """A state of every kind of value."""
    return {
        "n": k, "best": -np.inf, "nothing": float("nan"), "name": "x", "flag": True, "none": None,
        "empty": {},
        "list": [1, 2.5, "a", [3]], "rng": np.random.default_rng(k).bit_generator.state,
        "nets": {"a/b": np.full((2, 3), k, np.float32), "c": np.array(7.0), "d": np.zeros((0, 2), np.uint8)},
        "legacy": np.random.MT19937(k).state,
    }  # fmt: skip


def write(folder: Path, *counts: int, capacity: int = 100) -> CheckpointFolder:
    """Checkpoints 1, 2, ... of a buffer that grows to each of the counts."""
    checkpoints, replay = CheckpointFolder(folder), empty(capacity)
    for k, count in enumerate(counts, 1):
        replay.add(numbered(replay.total, count))
        checkpoints.write(state(k), {"seed": k}, replay)
    return checkpoints


def assert_equal(a: Any, b: Any) -> None:
    """Equal bit for bit, dtypes of arrays included."""
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    else:
        assert repr(a) == repr(b)


def test_everything_comes_back(tmp_path: Path) -> None:
    write(tmp_path, 10, 30)
    checkpoint, lines = CheckpointFolder(tmp_path).read()
    assert checkpoint is not None
    assert not lines
    assert_equal(state(2), checkpoint.state)
    assert checkpoint.settings == {"seed": 2}
    replay = empty()
    CheckpointFolder(tmp_path).restore_replay(checkpoint, replay)
    assert replay.total == 30
    assert_equal(replay.read(0, 30), numbered(0, 30))


@pytest.mark.parametrize("counts", [(40,), (99, 100, 101), (150, 250, 251), (7, 300), (100, 200)])
def test_rows_of_a_ring_come_back_in_place(tmp_path: Path, counts: tuple[int, ...]) -> None:
    write(tmp_path, *counts)
    folder = CheckpointFolder(tmp_path)
    checkpoint, _ = folder.read()
    assert checkpoint is not None
    restored, original = empty(), buffer(counts[-1])
    folder.restore_replay(checkpoint, restored)
    assert restored.total == original.total
    positions, names = np.arange(len(original)), [field.name for field in FIELDS]
    assert_equal(*(replay.storage.gather(positions, names) for replay in (restored, original)))


def test_the_checkpoint_before_is_kept_and_no_other(tmp_path: Path) -> None:
    write(tmp_path, 10, 20, 30, 40)
    names = sorted(p.name for p in tmp_path.iterdir() if p.suffix == ".json")
    assert names == ["manifest-3.json", "manifest-4.json"]
    assert len(list(tmp_path.glob("state-*"))) == 2
    assert sum(1 for _ in tmp_path.glob("replay-*")) == 4


def test_a_checkpoint_costs_what_has_changed(tmp_path: Path) -> None:
    folder, replay = CheckpointFolder(tmp_path), buffer(50_000, 60_000)
    first = folder.write({"n": 1}, {}, replay)
    replay.add(numbered(50_000, 50_010))
    second = folder.write({"n": 2}, {}, replay)
    assert first > 50_000 * ROW_BYTES
    assert second < 10 * ROW_BYTES + 3000
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("replay-1-*")}
    replay.add(numbered(50_010, 50_020))
    folder.write({"n": 3}, {}, replay)
    assert before == {p.name: p.stat().st_mtime_ns for p in tmp_path.glob("replay-1-*")}


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=60), st.integers(100, 60_000))
def test_segments_always_hold_every_row_once(steps: list[int], capacity: int) -> None:
    segments: list[Segment] = []
    total = written = 0
    for number, step in enumerate(steps, 1):
        total += step
        oldest = max(total - capacity, 0)
        kept, new = plan_segments(segments, oldest, total, number)
        assert set(kept) <= set(segments)
        written += sum(s.stop - s.start for s in new)
        segments = kept + new
        assert all(a.stop == b.start for a, b in itertools.pairwise(segments))
        assert all(0 < s.stop - s.start <= MAX_SEGMENT_ROWS for s in new)
        if total:
            assert segments[0].start <= oldest < segments[0].stop
            assert segments[-1].stop == total
    assert written <= 6 * total


def test_many_small_checkpoints_leave_few_files() -> None:
    segments: list[Segment] = []
    written = 0
    for number in range(1, 2001):
        kept, new = plan_segments(segments, 0, number * 50, number)
        written += sum(s.stop - s.start for s in new)
        segments = kept + new
    assert len(segments) < 4 * MERGE_COUNT
    assert written < 5 * 100_000


# Damage: each entry takes the newest manifest, state and segment files, and damages one of them.


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a manifest's body and its checksum, as an attacker would."""
    body = json.loads(path.read_text())["body"]
    change(body)
    digest = hashlib.sha256(canonical_json(body)).hexdigest()
    path.write_text(json.dumps({"sha256": digest, "body": body}))


def flip(path: Path, at: int = 100) -> None:
    """Flip one bit."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def swap(path: Path, data: bytes, manifest: Path) -> None:
    """Replace the content of a file, and its checksum in the manifest."""
    path.write_bytes(data)
    entry = [len(data), hashlib.sha256(data).hexdigest()]
    rewrite(manifest, lambda body: body["files"].update({path.name: entry}))


class Bomb:
    """An object whose pickle creates a folder when it is loaded."""

    def __reduce__(self) -> Any:
        return os.mkdir, (os.environ["TRACE"],)


def huge_header() -> bytes:
    """A safetensors file that claims a header of 2 ** 62 bytes."""
    return (2**62).to_bytes(8, "little") + b"{}" + bytes(100)


def huge_tensor() -> bytes:
    """A safetensors file that claims a tensor of a petabyte."""
    header = json.dumps({"reward": {"dtype": "F32", "shape": [2**48], "data_offsets": [0, 2**50]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(16)


def with_reward(reward: Any) -> bytes:
    """A segment of 10 rows with other content of one field."""
    return bytes(save({**numbered(10, 20), "reward": reward}))


DAMAGE: dict[str, Callable[[Path, Path, Path], Any]] = {
    "truncated state": lambda m, s, r: os.truncate(s, 50),
    "truncated segment": lambda m, s, r: os.truncate(r, 50),
    "truncated manifest": lambda m, s, r: os.truncate(m, 200),
    "empty state": lambda m, s, r: os.truncate(s, 0),
    "empty segment": lambda m, s, r: os.truncate(r, 0),
    "empty manifest": lambda m, s, r: os.truncate(m, 0),
    "bit flipped in the state": lambda m, s, r: flip(s),
    "bit flipped in a segment": lambda m, s, r: flip(r),
    "bit flipped in the manifest": lambda m, s, r: flip(m, 150),
    "missing state": lambda m, s, r: s.unlink(),
    "missing segment": lambda m, s, r: r.unlink(),
    "grown state": lambda m, s, r: s.write_bytes(s.read_bytes() + b"more"),
    "pickle for a state": lambda m, s, r: swap(s, pickle.dumps(Bomb()), m),
    "pickle for a segment": lambda m, s, r: swap(r, pickle.dumps(Bomb()), m),
    "pickle for a manifest": lambda m, s, r: m.write_bytes(pickle.dumps(Bomb())),
    "huge header": lambda m, s, r: swap(s, huge_header(), m),
    "huge tensor": lambda m, s, r: swap(r, huge_tensor(), m),
    "a row left out": lambda m, s, r: swap(r, with_reward(np.zeros(9, np.float32)), m),
    "a scalar for rows": lambda m, s, r: swap(r, with_reward(np.zeros((), np.float32)), m),
    "no fields": lambda m, s, r: swap(r, save({}), m),
    "huge manifest": lambda m, s, r: os.truncate(m, 2**40),
    "deep manifest": lambda m, s, r: m.write_text("[" * 100_000),
    "manifest of a list": lambda m, s, r: m.write_text("[1, 2]"),
    "manifest of null": lambda m, s, r: m.write_text("null"),
    "huge number": lambda m, s, r: m.write_text('{"body": ' + "9" * 10_000 + "}"),
    "another format": lambda m, s, r: rewrite(m, lambda body: body.update(format="other")),
    "a later version": lambda m, s, r: rewrite(m, lambda body: body.update(version=99)),
    "another number": lambda m, s, r: rewrite(m, lambda body: body.update(number=7)),
    "path outside": lambda m, s, r: rewrite(m, lambda body: body["files"].update({"../../x": [1, ""]})),
    "segment outside": lambda m, s, r: rewrite(m, lambda body: body["segments"].append([20, 21, "/etc/x"])),
    "rows left out": lambda m, s, r: rewrite(m, lambda body: body["segments"].insert(0, [0, 5, r.name])),
    "infinite size": lambda m, s, r: rewrite(m, lambda body: body["files"].update({s.name: [np.inf, ""]})),
    "array left out": lambda m, s, r: rewrite(m, lambda body: body["state"].update(x={"$array": "none"})),
    "link": lambda m, s, r: (s.rename(s.parent / "elsewhere"), s.symlink_to(s.parent / "elsewhere")),
    "folder for a state": lambda m, s, r: (s.unlink(), s.mkdir()),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_and_the_checkpoint_before_is_used(
    tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv("TRACE", str(trace))
    folder = tmp_path / "checkpoint"
    write(folder, 10, 20)
    newest = next(folder.glob("replay-2-*"))
    DAMAGE[damage](folder / "manifest-2.json", folder / "state-2.safetensors", newest)
    checkpoints = CheckpointFolder(folder)
    checkpoint, lines = checkpoints.read()
    assert checkpoint is not None
    assert checkpoint.number == 1
    assert_equal(state(1), checkpoint.state)
    assert len(lines) == 1
    assert lines[0].startswith("checkpoint 2 is skipped: ")
    assert "\n" not in lines[0]
    assert len(lines[0]) < 200
    assert not trace.exists()
    replay = empty()
    checkpoints.restore_replay(checkpoint, replay)
    replay.add(numbered(10, 25))
    checkpoints.write(state(3), {}, replay)
    again, lines = CheckpointFolder(folder).read()
    assert again is not None
    assert (again.number, lines) == (3, [])


def test_without_an_intact_checkpoint_there_is_none(tmp_path: Path) -> None:
    write(tmp_path, 10)
    flip(tmp_path / "state-1.safetensors")
    assert CheckpointFolder(tmp_path).read()[0] is None
    assert CheckpointFolder(tmp_path / "nowhere").read() == (None, [])


def test_version_1_is_refused_with_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    reason = (
        "it was written by spinup 0.1.0, whose checkpoints this version does not read: finish the run with "
        "spinup 0.1.0, or start a new run; its model.pt still loads"
    )
    folder = tmp_path / "checkpoint"
    write(folder, 10, 20)
    assert newest_settings(folder) == {"seed": 2}
    for manifest in folder.glob("manifest-*"):
        rewrite(manifest, lambda body: body.update(version=1))
    assert CheckpointFolder(folder).read() == (None, [f"checkpoint 2 is skipped: {reason}"])
    with pytest.raises(RunError) as error:
        newest_settings(folder)
    assert str(error.value) == f"{tmp_path} cannot be resumed from checkpoint 2: {reason}"


IMAGE, *OTHERS = FIELDS
INT8 = np.dtype(np.int8)
OTHER_FIELDS = {  # fields of the replay buffer, and how a field is saved and stored
    "missing": ([*FIELDS, replace(IMAGE, name="mask")], "'mask' is absent", "uint8 (2, 3)"),
    "not stored": (OTHERS, "'image' is uint8 (2, 3)", "absent"),
    "other dtype": ([replace(IMAGE, dtype=INT8), *OTHERS], "'image' is uint8 (2, 3)", "int8 (2, 3)"),
    "other shape": ([replace(IMAGE, shape=(3, 2)), *OTHERS], "'image' is uint8 (2, 3)", "uint8 (3, 2)"),
}


@pytest.mark.parametrize("case", OTHER_FIELDS)
def test_a_field_that_does_not_fit_the_replay_buffer_is_named(tmp_path: Path, case: str) -> None:
    write(tmp_path, 10)
    folder = CheckpointFolder(tmp_path)
    checkpoint, _ = folder.read()
    assert checkpoint is not None
    fields, saved, stored = OTHER_FIELDS[case]
    replay = empty(fields=fields)
    with pytest.raises(CheckpointError) as error:
        folder.restore_replay(checkpoint, replay)
    assert str(error.value) == (
        f"field {saved} in replay-1-0-10.safetensors, and {stored} in this run's replay buffer"
    )
    assert len(replay) == 0


class FullDisk:
    """os.fsync that fails from its k-th call on, as on a full disk."""

    def __init__(self, k: int) -> None:
        self.left, self.real = k, os.fsync

    def __call__(self, handle: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.real(handle)


@pytest.mark.parametrize("k", range(6))
def test_a_disk_that_fills_at_any_write_damages_nothing(
    tmp_path: Path, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints, replay = write(tmp_path, 10, 20), buffer(30)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with monkeypatch.context() as full:
        full.setattr("spinup.files.os.fsync", FullDisk(k))
        failed = False
        try:
            checkpoints.write(state(3), {}, replay)
        except OSError:
            failed = True
    # Three files, each synced with its folder; a folder that cannot be synced is no failure.
    assert failed == (k < 5)
    if failed:
        assert before == {p.name: p.read_bytes() for p in tmp_path.iterdir()}
        checkpoints.write(state(3), {}, replay)
    checkpoint, lines = CheckpointFolder(tmp_path).read()
    assert checkpoint is not None
    assert (checkpoint.number, lines) == (3, [])


def test_what_a_killed_write_left_is_removed(tmp_path: Path) -> None:
    checkpoints, replay = write(tmp_path, 10), buffer(20)
    (tmp_path / ".state-2.safetensors.tmp").write_bytes(b"half")
    (tmp_path / "replay-2-10-15.safetensors").write_bytes(b"without a manifest")
    (tmp_path / "notes.txt").write_text("not ours")
    checkpoints.write(state(2), {}, replay)
    names = {p.name for p in tmp_path.iterdir()}
    assert not {".state-2.safetensors.tmp", "replay-2-10-15.safetensors"} & names
    assert "notes.txt" in names


def test_a_state_that_is_not_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        CheckpointFolder(tmp_path).write({"bad": object()}, {}, buffer(3))
    assert not list(tmp_path.iterdir())
