"""Console output: tables, the choice of display, and the live display."""

import io
import math
import re
import sys
import threading
from types import SimpleNamespace

import pytest
from rich.console import Console

from spinup.loggers import display as display_module
from spinup.loggers import progress as progress_module
from spinup.loggers.display import LiveDisplay, NotebookDisplay, PlainDisplay, SilentDisplay, make_display
from spinup.loggers.epoch_logger import EpochLogger
from spinup.loggers.progress import Progress, ProgressInfo
from spinup.loggers.text import format_duration, plain_table, printable, sparkline


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


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless `clock.now` is set."""
    state = SimpleNamespace(now=100.0)
    for module in (display_module, progress_module):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: state.now))
    return state


def test_the_time_left_does_not_count_the_steps_before_the_first_update(clock):
    progress, details = Progress(), ProgressInfo(begin=1000, epochs=2)
    progress.update(1, 3000, details)
    clock.now += 0.5
    progress.update(1000, 3000, details)
    assert progress.speed(clock.now) == pytest.approx(2000)
    assert progress.seconds_left(clock.now) is None
    for n in range(1001, 1101):
        clock.now += 0.01
        progress.update(n, 3000, details)
    assert progress.speed(clock.now) == pytest.approx(100, rel=0.02)
    assert progress.seconds_left(clock.now) == pytest.approx(19, rel=0.02)


def test_tests_count_for_the_time_left_and_not_for_the_speed(clock):
    progress, details = Progress(), ProgressInfo(epochs=4)
    progress.update(1, 400, details)
    clock.now += 1.0
    progress.update(100, 400, details)
    details.seconds["test"], details.epoch = 5.0, 1
    clock.now += 5.0
    assert progress.speed(clock.now) == pytest.approx(100)
    assert progress.seconds_left(clock.now) == pytest.approx(3 + 3 * 5)


def test_a_resumed_run_measures_from_its_first_step(clock):
    progress, details = Progress(), ProgressInfo(begin=100, epochs=4, epoch=2)
    details.seconds["test"] = 0.0
    progress.update(201, 400, details)
    clock.now += 1.0
    progress.update(251, 400, details)
    assert progress.speed(clock.now) == pytest.approx(51)
    assert progress.seconds_left(clock.now) == pytest.approx(149 / 51)
    details = ProgressInfo(epochs=100, epoch=50, resumed_at=50)
    progress = Progress()
    progress.update(501, 1000, details)
    details.seconds["test"], details.epoch = 10.0, 51
    clock.now += 20.0
    progress.update(510, 1000, details)
    assert progress.seconds_left(clock.now) == pytest.approx(490 + 49 * 10)


@pytest.mark.parametrize(
    ("values", "width", "text"),
    [
        ([], 5, ""),
        ([math.nan], 5, ""),
        ([1.0], 5, "▁"),
        ([0.0, 1.0, math.nan, 0.5], 5, "▁█ ▄"),
        ([0.0, 0.0, 8.0, 8.0], 2, "▁█"),
        (list(range(8)), 8, "▁▂▃▄▅▆▇█"),
        ([2.0, 2.0], 5, "▁▁"),
        ([1e300, -1e300], 5, "█▁"),
        ([float(k) for k in range(1000)], 16, "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██"),
    ],
)
def test_sparkline(values, width, text):
    assert sparkline(values, width) == text


ROW = {
    "Epoch": 3, "AverageEpRet": -1234.5678, "AverageTestEpRet": math.nan, "Alpha": 0.2, "Entropy": -1.234567,
    "AverageQ1Vals": 123.456,
} | {f"Column{i}": float(i) for i in range(28)}  # fmt: skip


def screen(console, display):
    """The last picture of a live display, as lines without escape sequences."""
    fresh = Console(file=io.StringIO(), force_terminal=True, width=console.width, height=console.height)
    fresh.print(display._render())
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", fresh.file.getvalue()).splitlines()


@pytest.mark.parametrize(("width", "height", "table"), [(80, 24, True), (140, 40, True), (80, 12, False)])
def test_everything_fits_on_the_terminal(width, height, table, clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)
    display = LiveDisplay(console)
    details = ProgressInfo(begin=10, epochs=100, row=lambda: dict(ROW))
    details.seconds.update(env=1.0, act=1.0, update=7.0, test=1.0)
    details.phase = "testing"
    for n in range(1, 200):
        clock.now += 0.01
        display.progress(n, 1_000_000, details)
    for value in (0.0, 5.0, 10.0):
        display.table({**ROW, "AverageTestEpRet": value})
    lines = screen(console, display)
    display.close()
    assert len(lines) < height
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    assert ("Column27" in text) == table
    for part in (
        "199/1,000,000 steps", "100/s", "left  testing", "return 10", "alpha 0.2", "entropy -1.235",
        "Q 123.5", "curve ▁▄█", "env 10%  act 10%  update 70%  test 10%",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(("height", "shown"), [(24, "documented"), (40, "all"), (12, "none")])
def test_columns_after_the_documented_ones_are_left_out_where_there_is_no_room(height, shown, clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=height)
    display = LiveDisplay(console)
    documented = {f"Column{i}": float(i) for i in range(30)} | {"StepsPerSecond": 100.0}
    display.progress(1, 100, ProgressInfo())
    display.table(documented | {f"Further{i}": float(i) for i in range(12)})
    lines = screen(console, display)
    display.close()
    assert len(lines) < height
    text = "\n".join(lines)
    assert ("StepsPerSecond" in text) == (shown != "none")
    assert ("Further11" in text) == (shown == "all")


def test_something_shows_before_the_first_epoch_ends_and_while_it_is_tested(clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    display = LiveDisplay(console)
    details = ProgressInfo(epochs=10, row=lambda: {"AverageEpRet": -5.0, "Alpha": 0.3, "LossQ": math.nan})
    display.progress(1, 1000, details)
    assert "return -5  alpha 0.3" in "\n".join(screen(console, display))
    with details.during("testing"):
        assert "testing" in "\n".join(screen(console, display))
    assert "testing" not in "\n".join(screen(console, display))
    display.close()


def test_a_log_file_gets_a_line_soon_and_then_now_and_again(clock, capsys):
    display = PlainDisplay()
    details = ProgressInfo(begin=3, epochs=10, row=lambda: {"AverageEpRet": -5.0, "Alpha": 0.3})
    for n in range(1, 200):
        clock.now += 1.0
        display.progress(n, 1000, details)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + (199 - 6) // 60
    assert lines[0] == "6/1,000 steps  1/s  0:16:34 left  return -5  alpha 0.3"
    assert all(len(line) <= 80 for line in lines)


def test_a_notebook_gets_one_line_that_is_updated(clock, capsys, monkeypatch):
    shown = []

    class Handle:
        def update(self, content, raw):
            shown[-1] = content["text/plain"]

    def show(content, raw, display_id):
        shown.append(content["text/plain"])
        return Handle()

    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=show))
    display = make_display()
    assert isinstance(display, NotebookDisplay)
    details = ProgressInfo(epochs=2, row=lambda: {"AverageEpRet": -5.0})
    for n in range(1, 100):
        clock.now += 0.5
        display.progress(n, 200, details)
    assert len(shown) == 1
    assert "98/200 steps" in shown[0] or "99/200 steps" in shown[0]
    display.table({"AverageTestEpRet": -3.0, "Alpha": 0.25})
    display.line("saved", "green")
    display.close()
    assert len(shown) == 1
    assert "return -3  alpha 0.25" in shown[0]
    assert "\n" not in shown[0]
    assert capsys.readouterr().out == "saved\n"
