"""Output of several runs at once: plain lines, and a live table."""

import io
import math

import pytest
from rich.console import Console

from spinup.loggers.runs_display import (
    DONE,
    FAILED,
    RUNNING,
    STARTING,
    LiveRunsDisplay,
    PlainRunsDisplay,
    RunStatus,
    make_runs_display,
)

ROW = {"Epoch": 3, "AverageEpRet": -9.0, "AverageTestEpRet": -12.5}


def test_without_a_terminal_lines_are_plain(capsys):
    display = make_runs_display(["x_s0", "x_s1"])
    assert isinstance(display, PlainRunsDisplay)
    display.state(0, STARTING)
    display.progress(0, 1, 100)
    display.progress(0, 50, 100)
    display.row(0, ROW)
    display.state(1, FAILED, "no memory")
    display.line("a message")
    display.close()
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["x_s0: starting", "x_s0: running"]
    assert lines[2].startswith("x_s0: epoch 3, step 50/100, return -12.5, ")
    assert lines[3:] == ["x_s1: failed, no memory", "a message"]


def test_a_line_leaves_out_what_is_not_known(capsys):
    PlainRunsDisplay(["x"]).row(0, ROW)  # the row of a run whose progress was not reported
    assert capsys.readouterr().out.splitlines()[-1] == "x: epoch 3, return -12.5"


@pytest.mark.parametrize(
    ("row", "mean_return"),
    [
        (ROW, -12.5),
        ({**ROW, "AverageTestEpRet": math.nan}, -9.0),
        ({"Epoch": 3}, math.nan),
    ],
)
def test_return_is_that_of_tests_or_else_of_training(row, mean_return):
    run = RunStatus("x")
    run.set_row(row)
    assert run.mean_return == pytest.approx(mean_return, nan_ok=True)


def test_cells_are_empty_where_nothing_is_known():
    assert RunStatus("x").cells() == ("x", "", "", "", "", "", "waiting")


def test_speed_of_a_run_that_ended_stays():
    run = RunStatus("x")
    run.set_progress(1, 100)
    run.set_progress(100, 100)
    run.set_state(DONE)
    first = run.cells()
    assert first == run.cells()
    assert first[5] == ""


def live(names, height=40):
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=height)
    return console, LiveRunsDisplay(names, console)


def test_live_table_shows_everything_and_restores_the_cursor():
    console, display = live(["x_s0", "x_s1"])
    display.state(0, STARTING)
    display.progress(0, 50, 100)
    display.row(0, ROW)
    display.state(1, FAILED, "no memory")
    display.close()
    display.close()
    text = console.file.getvalue()
    for part in (
        "run",
        "time left",
        "x_s0",
        "50/100",
        "-12.5",
        "x_s1: failed, no memory",
        "1 running, 1 failed",
    ):
        assert part in text
    assert text.count("\x1b[?25h") == text.count("\x1b[?25l") == 1


def test_more_runs_than_lines_shows_those_that_are_active():
    _, display = live([f"x_s{i}" for i in range(30)], height=10)
    display.state(0, DONE)
    display.state(25, RUNNING)
    shown = [run.name for run in display._shown()]
    display.close()
    assert shown == ["x_s1", "x_s2", "x_s3", "x_s25"]
