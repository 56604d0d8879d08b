"""Files: what is opened, and that nothing is written through a link or waits at a FIFO."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spinup.errors import RunError
from spinup.files import AppendedFile, atomic_write, load_json, open_regular, read_json, read_regular

REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda path: None, "is missing"),
    "folder": (Path.mkdir, "is not a regular file"),
    "FIFO": (os.mkfifo, "is not a regular file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "is not a regular file"),
    "link to itself": (lambda path: path.symlink_to(path), "cannot be read"),
    "sparse": (lambda path: (path.touch(), os.truncate(path, 20 * 2**30)), "has 20,480 MiB"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_only_regular_files_of_bounded_size_are_read(tmp_path: Path, kind: str) -> None:
    make, message = REFUSED[kind]
    make(tmp_path / "file")
    for read in (read_json, lambda path: read_regular(path, 2**20)):
        with pytest.raises(RunError, match=message) as error:
            read(tmp_path / "file")
        assert "\n" not in str(error.value)


def test_a_link_is_followed_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    (tmp_path / "link").symlink_to("file")
    assert read_regular(tmp_path / "link", 4) == b"text"
    with pytest.raises(RunError, match="is a link"):
        open_regular(tmp_path / "link", 4, links=False)


def test_a_path_with_a_null_byte_is_refused() -> None:
    with pytest.raises(RunError, match="cannot be read"):
        read_regular("a\0b", 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 60_000, "cannot be read as JSON"),
        ("9" * 10_000, "cannot be read as JSON"),
        ("[" + "[]," * 100_000 + "1]", "100001 lists and objects, which is more"),
        ('{"a": ' + "{}" * 100_000, "100001 lists and objects, which is more"),
    ],
)
def test_costly_json_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(RunError, match=message):
        load_json(tmp_path / "file")


@pytest.mark.parametrize("kind", ["link", "FIFO", "file"])
def test_an_atomic_write_replaces_what_is_at_its_temporary_name(tmp_path: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("unchanged")
    temporary = tmp_path / ".file.tmp"
    make = {"link": lambda path: path.symlink_to(victim), "FIFO": os.mkfifo, "file": Path.touch}[kind]
    make(temporary)
    atomic_write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert victim.read_text() == "unchanged"
    assert not os.path.lexists(temporary)


def test_rows_are_not_appended_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "rows").symlink_to(tmp_path / "victim")
    table = AppendedFile(tmp_path / "rows")
    assert isinstance(table.append(b"row\n"), OSError)
    assert not (tmp_path / "victim").exists()
    (tmp_path / "victim").write_text("unchanged")
    with pytest.raises(RunError, match="is a link"):
        table.complete_lines()
    assert (tmp_path / "victim").read_text() == "unchanged"
