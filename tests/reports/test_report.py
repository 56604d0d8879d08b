"""The report: what it says, that it is self-contained, and that nothing in files can break it."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_runs import HOSTILE, write_run

from spinup.cli.main import main
from spinup.errors import ConfigError, RunError
from spinup.reports import videos
from spinup.reports.page import split_settings
from spinup.reports.report import write_report

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """A page as its elements and its text; fails if elements are not closed in order."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("script", "style") and data.strip():
            self.text.append(" ".join(data.split()))

    def all(self, tag, **attrs):
        """The attributes of the elements with a tag and these attributes."""
        return [a for t, a in self.elements if t == tag and all(a.get(k) == v for k, v in attrs.items())]


@pytest.fixture
def report(tmp_path):
    """Writes the report of the folder `data`, and reads it."""
    return lambda *args, **kwargs: Page(
        write_report([tmp_path / "data"], tmp_path / "r.html", *args, **kwargs)
    )


def rows(page):
    """The cells of each row of the table of runs, by the name of the run."""
    tables = re.findall(r"<h3>Runs</h3>.*?</table>", page.source, re.DOTALL)
    found = {}
    for line in re.findall(r"<tr data-group.*?</tr>", "".join(tables), re.DOTALL):
        cells = [re.sub(r"<[^>]*>", " ", cell).strip() for cell in re.findall(r"<t[dh].*?</t[dh]>", line)]
        found[cells[0]] = cells[1:]
    return found


def test_curves_table_settings_and_machine(report, tmp_path):
    for name, lr in (("low", 1e-4), ("high", 1e-2)):
        for seed in (0, 1):
            write_run(tmp_path / "data" / f"{name}_s{seed}", [1.0, 5.5, 2.25], seed=seed, lr=lr)
    page = report()
    assert [a["aria-pressed"] for a in page.all("button")] == ["true"] * 2
    for text in ("high", "low", "Return of test episodes", "Q values", "Entropy coefficient alpha",
                 "environment steps", "Processor 9000", "4 of 4 runs", "Runs in data"):  # fmt: skip
        assert text in page.text
    expected = ["unfinished", "2.25", "5.5", "3,000 / 4,000", "0:00:30", "100", "1", "0.01"]
    assert rows(page)["high_s1"] == expected
    # the mean and each of two runs, of two experiments, in the large chart
    large = page.source[page.source.index('class="charts large"') : page.source.index("<h3>Runs")]
    assert large.count('class="line mean') == 2
    assert large.count('class="line seed') == 4
    assert large.count('class="band') == 2
    assert "<dt>gamma</dt><dd>0.99</dd>" in page.source
    assert "<dt>lr</dt>" not in page.source


def test_each_environment_has_a_section(report, tmp_path):
    write_run(tmp_path / "data" / "a_s0", [1.0, 2.0])
    write_run(tmp_path / "data" / "b_s0", [1.0, 2.0], env="Hopper-v5", lr=0.5)
    page = report()
    assert page.source.count("<section>\n<h2>") == 2
    assert {"Pendulum-v1", "Hopper-v5", "Settings that all runs of this environment share (1)"} <= set(
        page.text
    )
    assert page.source.count("<dt>lr</dt>") == 2


def test_settings_that_differ():
    assert split_settings([{"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}]) == (["b", "c"], {"a": "1"})
    assert split_settings([]) == ([], {})


def test_nothing_is_loaded_and_only_our_script_may_run(report, tmp_path):
    write_run(tmp_path / "data" / "a_s0", [1.0, 2.0])
    page = report()
    assert len(page.all("script")) == 1
    assert page.all("script")[0] == {}
    assert not page.all("link")
    (policy,) = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'; ")
    assert "script-src 'sha256-" in policy
    assert page.all("meta", name="viewport")[0]["content"] == "width=device-width, initial-scale=1"
    assert "prefers-color-scheme: dark" in page.source
    assert "http://" not in page.source
    assert "https://" not in page.source


def test_hostile_text_is_shown_as_text(report, tmp_path):
    folder = write_run(tmp_path / "data" / ("<img src=x onerror=alert(3)>" + os.fsdecode(b"\xff\x1b")), [1.0])
    write_run(
        tmp_path / "data" / "b_s0", [1.0], env=HOSTILE, exp_name=HOSTILE, machine={HOSTILE: HOSTILE},
        **{HOSTILE: HOSTILE},
    )  # fmt: skip
    table = (folder / "progress.txt").read_text()
    (folder / "progress.txt").write_text(table.replace("StepsPerSecond", "</script><svg onload=alert(4)>"))
    (folder / "log.txt").write_text(f"spinup: {HOSTILE}\n")
    page = report(legend=None, smooth=2)
    assert len(page.all("script")) == 1
    assert not page.all("img")
    assert all(name[:2] != "on" for _, attrs in page.elements for name in attrs)
    assert not {c for c in page.source if not c.isprintable()} - {"\n"}
    assert "&lt;img src=x onerror=alert(3)&gt;" in page.source
    assert "failed" in page.source


def test_damaged_folders_are_rows_of_the_report(report, tmp_path):
    write_run(tmp_path / "data" / "good_s0", [1.0, 2.0])
    bad = write_run(tmp_path / "data" / "bad_s0", [1.0])
    (bad / "config.json").write_text("{")
    fifo = write_run(tmp_path / "data" / "fifo_s0")
    os.mkfifo(fifo / "progress.txt")
    page = report()
    assert rows(page)["bad_s0"][0].startswith("damaged")
    assert "cannot be read as JSON" in rows(page)["bad_s0"][0]
    assert "is not a regular file" in rows(page)["fifo_s0"][0]
    assert rows(page)["good_s0"][0] == "unfinished"


def test_runs_without_rows_have_no_charts(report, tmp_path):
    write_run(tmp_path / "data" / "a_s0")
    page = report()
    assert not page.all("figure")
    assert "No run has a row with TotalEnvInteracts and Performance yet." in page.text
    assert rows(page)["a_s0"] == ["unfinished", "", "", "0 / 4,000", "", "", "0"]


@pytest.mark.parametrize("values", [[1e300, -1e300], [float("nan")] * 2, [float("inf"), 1.0], [5e-324, 0.0]])
def test_extreme_numbers(report, tmp_path, values):
    for seed in (0, 1):
        write_run(tmp_path / "data" / f"a_s{seed}", values, seed=seed)
    page = report()
    assert not re.search(r' d="[^"]*(nan|inf)', page.source)


def test_other_columns_get_a_chart(report, tmp_path):
    folder = write_run(tmp_path / "data" / "a_s0", [1.0, 2.0])
    table = (folder / "progress.txt").read_text().replace("TestEpLen", "OfMyOwn")
    (folder / "progress.txt").write_text(table)
    assert "OfMyOwn" in report().text


def test_more_experiments_than_colors(report, tmp_path):
    for i in range(10):
        write_run(tmp_path / "data" / f"x{i}_s0", [1.0, 2.0])
    assert ".g9{--c:var(--c1);--dash:dashed;" in report().source


def test_small_videos_are_embedded_and_large_ones_linked(report, tmp_path, monkeypatch):
    folder = write_run(tmp_path / "data" / "a_s0", [1.0, 2.0])
    (folder / "small.mp4").write_bytes(b"video")
    (folder / "sub").mkdir()
    (folder / "sub" / 'la"rge#.webm').write_bytes(b"x" * 100)
    (folder / "anim.gif").write_bytes(b"GIF89a")
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "linked.mp4").symlink_to(tmp_path / "secret")
    monkeypatch.setattr(videos, "MAX_VIDEO_BYTES", 50)
    page = report()
    assert [a["src"] for a in page.all("video")] == ["data:video/mp4;base64,dmlkZW8="]
    assert [a["src"] for a in page.all("img")] == ["data:image/gif;base64,R0lGODlh"]
    assert [a["href"] for a in page.all("a")] == ["./data/a_s0/sub/la%22rge%23.webm"]
    assert "too large to embed" in page.source
    monkeypatch.setattr(videos, "MAX_EMBEDDED_BYTES", 8)
    assert len(report().all("a")) == 2


def test_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "data" / "a_s0", [1.0, 2.0])
    write_run(tmp_path / "data" / "b_s0", [1.0, 2.0])
    words = ["-l", "mine", "-x", "Epoch", "-y", "LossQ", "Performance", "-s", "2", "--exclude", "b_s"]
    assert main(["report", "data", "-o", "out.html", *words]) == 0
    assert capsys.readouterr().out.endswith("MiB: saved out.html\n")
    page = Page(tmp_path / "out.html")
    assert [a["class"] for a in page.all("button")] == ["g0"]
    assert {"mine", "epoch", "LossQ"} <= set(page.text)
    assert main(["report", "data"]) == 0
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing"], "does not exist"),
        (["empty"], "no run under empty"),
        (["data", "-o", "x.txt"], "give a file name that ends in .html"),
        (["data", "-o", "data/a_s0/config.json/x.html"], "cannot be written"),
        (["data", "--select", "b"], "no run under data that --select and --exclude leave"),
        (["data", "-s", "0"], "give a width of at least 1 row"),
        (["data", "-y", "LosQ"], "did you mean 'LossQ'"),
        (["data", "-l", "a", "b"], "-l gives 2 names for 1 folders"),
    ],
)
def test_errors_are_one_line(tmp_path, capsys, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_run(tmp_path / "data" / "a_s0", [1.0, 2.0])
    assert main(["report", *words]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_python_messages_name_keywords(tmp_path):
    write_run(tmp_path / "a_s0", [1.0])
    with pytest.raises(ConfigError, match=r"^smooth=0"):
        write_report([tmp_path], tmp_path / "r.html", smooth=0)
    with pytest.raises(RunError, match="no run under"):
        write_report([tmp_path], tmp_path / "r.html", exclude=["a_s0"])


def test_the_report_says_what_looks_wrong_in_each_run(tmp_path, report):
    measured = {"SaturatedActions": 0.2, "DeadUnitsPi": 0.1, "TestQBias": 1.0, "UpdatesPerStep": 1.0}
    measured["Entropy"] = -1.0
    rising = [-1000, -900, -800, -600, -500, -400]
    write_run(tmp_path / "data" / "healthy_s0", rising, columns=measured)
    few = {**measured, "UpdatesPerStep": 0.02, "TestQBias": 900.0, "TestQVals": 0.0}
    write_run(tmp_path / "data" / "few_s0", rising, columns=few)
    text = "\n".join(report().text)
    assert "Nothing looks wrong in 1 of 2 runs." in text
    assert "lack columns" not in text
    assert "Too few updates per step\nUpdatesPerStep is 0.02; published results use 1\n" in text
    assert "The critics overestimate: TestQBias is 900 in epochs 5 to 6" in text
    assert "--updates_per_step 1, unless steps are much cheaper than updates" in text
    for title in (
        "Share of dead units",
        "Share of saturated actions",
        "Bias of the critics in test episodes",
    ):
        assert title in text


def test_the_report_says_which_runs_have_no_diagnostics(tmp_path, report):
    write_run(tmp_path / "data" / "old_s0", [1, 2])
    write_run(tmp_path / "data" / "empty_s0")
    assert "1 of 1 runs lack columns that some checks need." in "\n".join(report().text)
