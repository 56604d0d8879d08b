"""The table of running runs: cells, changes of folders, and the terminal."""

from __future__ import annotations

import io
import os
import pty
import shutil
import signal
import subprocess
import sys
import time

import pytest
from report_runs import HOSTILE, write_run
from rich.console import Console

from spinup.cli.main import main
from spinup.reports.watch import WatchedRuns, _table, plain_text
from spinup.runs.locks import folder_lock


def cells(watched):
    return {row[0]: row[1:] for row in (run.cells() for run in watched.rows())}


def refreshed(watched):
    watched.refresh()
    return cells(watched)


def test_cells_of_a_running_run(tmp_path, monkeypatch):
    folder = write_run(tmp_path / "a_s0", [1.0, 2.0, 3.0])
    with folder_lock(folder):
        watched = WatchedRuns([tmp_path])
        monkeypatch.setattr("time.time", lambda: (folder / "progress.txt").stat().st_mtime + 4)
        # 1,000 steps in 10 s; the last row was written 4 s ago, and 1,000 of 4,000 steps are left.
        expected = ("3", "3,000/4,000", "3", "▁▄█", "100", "0:00:06", "running")
        assert refreshed(watched)["a_s0"] == expected
    assert refreshed(watched)["a_s0"] == ("3", "3,000/4,000", "3", "▁▄█", "100", "", "unfinished")


def test_runs_appear_grow_and_disappear(tmp_path):
    watched = WatchedRuns([tmp_path])
    assert refreshed(watched) == {}
    folder = write_run(tmp_path / "a_s0")
    watched._next_search = 0.0
    assert refreshed(watched)["a_s0"][:3] == ("", "0/4,000", "")
    write_run(tmp_path / "b_s0", [5.0, 6.0])
    (folder / "progress.txt").write_bytes((tmp_path / "b_s0" / "progress.txt").read_bytes() + b"3\t7")
    watched._next_search = 0.0
    found = refreshed(watched)
    assert found["a_s0"][:3] == found["b_s0"][:3] == ("2", "2,000/4,000", "6")
    shutil.rmtree(folder)
    assert list(refreshed(watched)) == ["b_s0"]
    shutil.rmtree(tmp_path)
    watched._next_search = 0.0
    assert refreshed(watched) == {}


def test_files_are_read_again_only_if_they_changed(tmp_path, monkeypatch):
    write_run(tmp_path / "a_s0", [1.0])
    watched = WatchedRuns([tmp_path])
    watched.refresh()
    monkeypatch.setattr("spinup.reports.watch.read_run", lambda folder: 1 / 0)
    assert refreshed(watched)["a_s0"][0] == "1"


def test_damaged_folders_are_rows(tmp_path):
    folder = write_run(tmp_path / "a_s0", [1.0])
    (folder / "config.json").write_text("{")
    watched = WatchedRuns([tmp_path])
    assert refreshed(watched)["a_s0"][-1] == "damaged"
    assert "cannot be read as JSON" in plain_text(watched.rows())


@pytest.mark.parametrize(("width", "omitted"), [(80, True), (120, False)])
def test_the_table_fits_a_terminal(tmp_path, width, omitted):
    for i in range(12):
        write_run(tmp_path / f"walker_lr0.001_s{i:02d}", [-1234.5, 2.0], epochs=1000)
    console = Console(file=io.StringIO(), width=width, height=24)
    with folder_lock(tmp_path / "walker_lr0.001_s11"):
        watched = WatchedRuns([tmp_path])
        watched.refresh()
        console.print(_table(watched, width, 14))
    lines = console.file.getvalue().splitlines()
    assert len(lines) < 14
    assert ("steps/s" in lines[1]) is not omitted
    assert not any("…" in line for line in lines)
    assert any("walker_lr0.001_s11" in line and "running" in line for line in lines)
    assert any("11 unfinished, 1 running, 5 not shown" in line for line in lines)


def test_without_a_terminal_it_prints_once(tmp_path, capsys):
    write_run(tmp_path / ("x" + HOSTILE.replace("/", "")[:-1]), [1.0, 2.0])
    assert main(["watch", str(tmp_path)]) == 0
    header, line, caption = capsys.readouterr().out.splitlines()
    assert header.split() == ["run", "epoch", "step", "return", "curve", "steps/s", "time", "left", "state"]
    assert r"\x1b[31m\u202e" in line
    assert line.endswith("unfinished")
    assert caption == "1 unfinished"


def test_no_runs_yet(tmp_path, capsys):
    assert main(["watch", str(tmp_path), "--once"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no runs yet"


@pytest.mark.parametrize("words", [["nothing"], [".", "-n", "0"], [".", "-n", "nan"]])
def test_errors_are_one_line(tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    assert main(["watch", *words]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_encoding_without_bars(tmp_path):
    write_run(tmp_path / "a_s0", [1.0, 2.0])
    command = [sys.executable, "-m", "spinup", "watch", str(tmp_path)]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    out = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert "a_s0" in out.stdout


def test_on_a_terminal_it_refreshes_until_ctrl_c(tmp_path):
    folder = write_run(tmp_path / "a[red]_s0", [1.0, 2.0])
    command = [sys.executable, "-m", "spinup", "watch", str(tmp_path), "-n", "0.1"]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    seen = b""

    def read_until(text):
        nonlocal seen
        deadline = time.monotonic() + 60
        while text not in seen:
            assert time.monotonic() < deadline, seen
            seen += os.read(ours, 65536)

    read_until(b"2,000/4,000")
    assert b"a[red]_s0" in seen
    table = (folder / "progress.txt").read_text()
    (folder / "progress.txt").write_text(table + table.splitlines()[-1].replace("2000", "3000") + "\n")
    read_until(b"3,000/4,000")
    process.send_signal(signal.SIGINT)
    read_until(b"\x1b[?25h")  # the cursor is shown again
    assert process.wait(timeout=60) == 0
    os.close(ours)
    assert b"Traceback" not in seen
