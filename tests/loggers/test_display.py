"""Console output: tables, the choice of display, and the live display."""

import io
import sys
import threading

import pytest
from rich.console import Console

from spinup.loggers.display import (
    LiveDisplay,
    PlainDisplay,
    SilentDisplay,
    format_duration,
    make_display,
    plain_table,
)
from spinup.loggers.epoch_logger import EpochLogger


def test_plain_table_is_aligned():
    lines = plain_table({"Epoch": 1, "AverageEpRet": -1234.56789, "Note": "x"}).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert "| AverageEpRet | -1234.6 |" in lines


def test_make_display(monkeypatch):
    assert isinstance(make_display(quiet=True), SilentDisplay)
    assert isinstance(make_display(), PlainDisplay)
    monkeypatch.setattr(sys, "stdout", None)
    assert isinstance(make_display(), PlainDisplay)


def test_quiet_logger_prints_nothing(tmp_path, capsys):
    logger = EpochLogger(tmp_path, quiet=True, tensorboard=False)
    logger.log("hello")
    logger.progress(1, 10)
    logger.log_tabular("Epoch", 0)
    logger.dump_tabular()
    logger.close()
    assert capsys.readouterr() == ("", "")


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=100, height=40)


def test_live_display_shows_everything_and_restores_the_cursor():
    console = terminal()
    display = LiveDisplay(console)
    display.line("started", "green")
    for n in range(1, 51):
        display.progress(n, 100)
    display.table({"Epoch": 1, "AverageEpRet": -12.5})
    display.line("saved", "gray")
    display.close()
    display.close()
    text = console.file.getvalue()
    for part in ("started", "50/100 steps", "/s", "left", "AverageEpRet", "-12.5", "saved"):
        assert part in text
    assert text.count("\x1b[?25h") == text.count("\x1b[?25l") == 1


def test_live_display_outside_the_main_thread():
    failures = []

    def work():
        try:
            display = LiveDisplay(terminal())
            display.progress(1, 2)
            display.table({"Epoch": 1})
            display.close()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []


def test_close_before_start():
    LiveDisplay(terminal()).close()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59.9, "0:00:59"), (3725, "1:02:05")])
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text
