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
    printable,
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


HOSTILE = "\x1b[31m\x9b2J\x07\r\x00\u202e\u2028\ud800 [red]é日\n\tend"


def test_control_characters_are_printed_as_escapes(capsys):
    assert printable(HOSTILE) == (
        r"\x1b[31m\x9b2J\x07\r\x00\u202e\u2028\ud800 [red]é日" "\n\tend"
    )  # fmt: skip
    display = PlainDisplay()
    display.line(HOSTILE, "red")
    display.table({HOSTILE: HOSTILE, "Epoch": 1})
    out = capsys.readouterr().out
    assert {c for c in out if not c.isprintable()} == {"\n", "\t"}
    assert out.count(r"\x1b[31m\x9b2J") == 3


def test_a_live_display_prints_escapes_and_no_markup():
    console = terminal()
    display = LiveDisplay(console)
    display.line(HOSTILE, "red")
    display.table({HOSTILE: 1, "[/unbalanced]": "[blink]"})
    text = console.file.getvalue()
    assert text.count(r"\x1b[31m") == 2
    assert not {"\x9b", "\x07", "\x00", "\u202e"} & set(text)
    assert "[/unbalanced]" in text
    assert "[blink]" in text


def test_close_before_start():
    LiveDisplay(terminal()).close()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59.9, "0:00:59"), (3725, "1:02:05")])
def test_format_duration(seconds, text):
    assert format_duration(seconds) == text
