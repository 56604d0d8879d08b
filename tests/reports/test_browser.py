"""The report in Chromium, without a window; needs `apt-get install chromium`."""

from __future__ import annotations

import numpy as np
import pytest
from browser import Browser
from report_runs import write_run

from spinup.reports.report import write_report

pytestmark = pytest.mark.browser

SHOWN = (
    "[...document.querySelectorAll('.large .line')].filter(e => getComputedStyle(e).display != 'none').length"
)
ROWS = "[...document.querySelectorAll('.scroll tr')].filter(e => e.offsetParent).length"


@pytest.fixture
def page(tmp_path):
    """A report of two experiments with three runs each, one failed, and a folder with a hostile name."""
    rng = np.random.default_rng(0)
    for name, slope in (("slow", 1.0), ("fast", 3.0)):
        for seed in range(3):
            values = slope * np.arange(20) + rng.standard_normal(20)
            write_run(tmp_path / "data" / f"{name}_s{seed}", values, seed=seed, lr=slope * 1e-3, epochs=20)
    (tmp_path / "data" / "fast_s2" / "log.txt").write_text("spinup: no memory\n")
    write_run(tmp_path / "data" / "<img src=x onerror=document.title='owned'>", [1.0], exp_name="</script>")
    return write_report([tmp_path / "data"], tmp_path / "report.html")


def test_text_legend_values_and_screenshot(page, tmp_path):
    with Browser() as browser:
        browser.open(page)
        text = browser.evaluate("document.body.innerText")
        for part in (
            "Runs in data",
            "Pendulum-v1",
            "fast_s1",
            "</script>",
            "Return of test episodes",
            "Q values",
        ):
            assert part in text
        assert browser.evaluate("document.title") == "Runs in data"
        shown, rows = browser.evaluate(SHOWN), browser.evaluate(ROWS)
        assert (shown, rows) == (2 * (3 + 1) + 1, 1 + 3 + 2 * (1 + 7))

        assert browser.evaluate("document.querySelectorAll('.legend button')[1].innerText") == "fast"
        browser.click('.legend button[data-shows="1"]')
        assert browser.evaluate("document.querySelectorAll('.legend button')[1].ariaPressed") == "false"
        assert (browser.evaluate(SHOWN), browser.evaluate(ROWS)) == (shown - 4, rows - 7)
        browser.move(".large svg", 0.99)
        tip = browser.evaluate("document.querySelector('.large .tip').innerText")
        assert "slow: 1" in tip
        assert "fast" not in tip

        browser.click('.legend button[data-shows="1"]')
        assert (browser.evaluate(SHOWN), browser.evaluate(ROWS)) == (shown, rows)
        browser.screenshot(tmp_path / "report.png")
        assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
        problems = [
            e for e in browser.events if e.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded")
        ]
        assert problems == []
        requests = [e["params"]["request"]["url"] for e in browser.events if "request" in e.get("params", {})]
        assert [url for url in requests if not url.startswith(("file:", "data:"))] == []


@pytest.mark.parametrize("dark", [False, True])
def test_colors_follow_the_system(page, dark):
    with Browser(dark=dark) as browser:
        browser.open(page)
        color = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert color == ("rgb(20, 23, 28)" if dark else "rgb(255, 255, 255)")


def test_a_phone_needs_no_sideways_scrolling(page, tmp_path):
    with Browser(width=390, height=844, mobile=True) as browser:
        browser.open(page)
        assert browser.evaluate("document.documentElement.scrollWidth") == 390
        sizes = "[...document.querySelectorAll('.xticks span')].map(e => getComputedStyle(e).fontSize)"
        assert set(browser.evaluate(sizes)) == {"12px"}
        assert browser.evaluate("document.querySelector('.scroll').clientWidth") < 390
        browser.screenshot(tmp_path / "phone.png")
        assert (tmp_path / "phone.png").stat().st_size > 10_000
