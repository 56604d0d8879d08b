"""The report of runs as one HTML page: learning curves, runs, diagnostics, settings, videos.

The page needs no network: it contains styles, script, charts and small videos, and its content security
policy blocks all other resources. All text from files is escaped.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import time
from collections import Counter
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np

from spinup.loggers.text import format_duration, printable
from spinup.plotting.curves import Series, aggregate, moving_average
from spinup.reports.charts import Line, draw_chart, format_number
from spinup.reports.diagnosis import Finding, findings, unjudged
from spinup.reports.run_summary import RunSummary, text_of
from spinup.reports.videos import draw_videos
from spinup.runs.status import COMPLETE
from spinup.version import __version__

COLORS = 8  # number of colors in report.css; further experiments reuse them with another dash pattern
MAX_OTHER_CHARTS = 60  # charts of columns that this version does not know
MAX_SEED_LINES = 12  # maximum number of runs of an experiment that are drawn in addition to their mean
TITLES = {
    "Performance": "Return", "AverageTestEpRet": "Test return", "AverageEpRet": "Return of training episodes",
    "TotalEnvInteracts": "environment steps", "Time": "seconds", "Epoch": "epoch",
}  # fmt: skip
# Title, solid and dotted column, remark.
DIAGNOSTICS = [
    ("Q values", "AverageQ1Vals", "AverageQ2Vals", "dotted: second critic"),
    ("Entropy of the policy, nats", "Entropy", "TargetEntropy", "dotted: target"),
    ("Entropy coefficient alpha", "Alpha", "", ""),
    ("Critic loss", "LossQ", "", ""),
    ("Policy loss", "LossPi", "", ""),
    ("Return of training episodes", "AverageEpRet", "", ""),
    ("Length of test episodes", "TestEpLen", "", ""),
    ("Environment steps per second", "StepsPerSecond", "", "since the run began"),
    ("Gradient steps per environment step", "UpdatesPerStep", "", ""),
    ("Bias of the critics in test episodes", "TestQBias", "", "positive: too large"),
    ("Spread of the critics", "CriticSpread", "", ""),
    ("Share of saturated actions", "SaturatedActions", "", ""),
    ("Share of dead units", "DeadUnitsQ1", "DeadUnitsPi", "dotted: policy"),
    ("Gradient norm", "GradNormQ", "GradNormPi", "dotted: policy"),
]
# Columns that get no additional chart: those above, and statistics and counters that belong to them.
_KNOWN = {column for _, solid, dotted, _ in DIAGNOSTICS for column in (solid, dotted)} | {
    "AverageTestEpRet", "AverageLogPi", "TotalEnvInteracts", "Time", "Epoch", "EpLen",
}  # fmt: skip


def draw_page(
    runs: Sequence[RunSummary], title: str, xaxis: str, values: Sequence[str], smooth: int, folder: Path
) -> str:
    """The HTML page about one or more runs.

    Args:
        runs: the runs, in the order in which they are shown.
        title: title of the page.
        xaxis: the column on the x axes.
        values: the columns of the large charts.
        smooth: width of the moving average of the curves, in rows.
        folder: the folder in which the page will be written, for relative links.
    """
    names = list(dict.fromkeys(run.name for run in runs))
    groups = [(names.index(run.name), run) for run in runs]
    common = split_settings([run.settings for run in runs if run.settings])[1]
    body = [_head(runs, title), _legend(names)]
    for env in dict.fromkeys(run.env for run in runs):
        here = [(group, run) for group, run in groups if run.env == env]
        differing, shared = split_settings([run.settings for _, run in here if run.settings])
        shared = {name: value for name, value in shared.items() if name not in common}
        body += [
            f"<section>\n<h2>{_text(env or 'Environment not recorded')}</h2>\n",
            _large_charts(here, names, xaxis, values, smooth),
            _experiments_table(here, names),
            _runs_table(here, differing),
            _findings_table(here),
            _shared_settings("Settings that all runs of this environment share", shared),
            _diagnostics(here, names, xaxis, smooth),
            draw_videos(here, folder),
            "</section>\n",
        ]
    body += [_shared_settings("Settings that all runs share", common), _machines(runs)]
    assets = files("spinup.reports") / "assets"
    script = (assets / "report.js").read_text(encoding="utf-8")
    style = (assets / "report.css").read_text(encoding="utf-8") + _group_styles(len(names))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:; "
        "media-src data:; base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="spinup {_text(__version__)}">
<title>{_text(title)}</title>
<style>{style}</style>
</head>
<body>
{"".join(body)}<script>{script}</script>
</body>
</html>
"""


def split_settings(settings: Sequence[dict[str, str]]) -> tuple[list[str], dict[str, str]]:
    """The names of settings that differ between runs, and the settings that all runs share."""
    names = list(dict.fromkeys(name for given in settings for name in given))
    differing = [name for name in names if len({given.get(name) for given in settings}) > 1]
    common = {name: settings[0][name] for name in names if name not in differing}
    return differing, common


def _head(runs: Sequence[RunSummary], title: str) -> str:
    count = Counter(run.status for run in runs)
    states = ", ".join(f'{number} <span class="{status}">{status}</span>' for status, number in count.items())
    noun = "run" if len(runs) == 1 else "runs"
    made = time.strftime("%Y-%m-%d %H:%M")
    return (
        f"<header>\n<h1>{_text(title)}</h1>\n"
        f'<p class="muted">{len(runs)} {noun}: {states}. Written {made} by spinup {_text(__version__)}.</p>\n'
        "</header>\n"
    )


def _legend(names: Sequence[str]) -> str:
    buttons = "".join(
        f'<button type="button" class="g{i}" data-shows="{i}" aria-pressed="true">{_text(name)}</button>'
        for i, name in enumerate(names)
    )
    return f'<nav class="legend" aria-label="Experiments; click to hide or show one">{buttons}</nav>\n'


def _group_styles(count: int) -> str:
    """The color and pattern of each experiment."""
    dashes = [("solid", "none"), ("dashed", "8 4"), ("dotted", "2 3"), ("dashed", "12 3 3 3")]
    lines = []
    for i in range(count):
        dash, pattern = dashes[i // COLORS % len(dashes)]
        lines.append(f".g{i}{{--c:var(--c{i % COLORS});--dash:{dash};--pattern:{pattern}}}")
    return "\n".join(lines) + "\n"


def _series(runs: Sequence[RunSummary], xaxis: str, value: str, smooth: int) -> Series:
    """x and y of each run that has rows with both."""
    found = []
    for run in runs:
        x, y = run.column(xaxis), run.column(value)
        kept = np.isfinite(x) & np.isfinite(y) if x.size == y.size else np.zeros(0, bool)
        if kept.any():
            found.append((x[kept], moving_average(y[kept], smooth)))
    return found


Grouped = Sequence[tuple[int, RunSummary]]


def _lines(
    runs: Grouped, names: Sequence[str], xaxis: str, smooth: int, value: str, style: str, label: str = ""
) -> list[Line]:
    """The mean of each experiment over its runs; if the style is "large", also the lines of its runs."""
    lines = []
    for group in dict.fromkeys(group for group, _ in runs):
        series = _series([run for g, run in runs if g == group], xaxis, value, smooth)
        if not series:
            continue
        with np.errstate(over="ignore", invalid="ignore"):  # numbers up to 1e300 have no standard deviation
            mean = aggregate(names[group], series, "mean")
        if mean.spread is not None and (style == "second" or not np.isfinite(mean.spread).all()):
            mean = dataclasses.replace(mean, spread=None)
        if style == "large" and 1 < len(series) <= MAX_SEED_LINES:
            lines += [Line(group, aggregate("", [one], "mean"), "seed") for one in series]
        lines.append(Line(group, mean, "second" if style == "second" else "mean", label))
    return lines


def _large_charts(runs: Grouped, names: Sequence[str], xaxis: str, values: Sequence[str], smooth: int) -> str:
    """The charts of `values`, with the line of every run."""
    charts = []
    several = any(count > 1 for count in Counter(group for group, _ in runs).values())
    note = "mean and standard deviation over seeds" if several else ""
    for value in values:
        lines = _lines(runs, names, xaxis, smooth, value, "large")
        title = TITLES.get(value, value)
        if value == "Performance" and all(line.curve.x.size for line in lines):
            tested = any(np.isfinite(run.column("AverageTestEpRet")).any() for _, run in runs)
            title = "Return of test episodes" if tested else TITLES["AverageEpRet"]
        charts.append(draw_chart(title, TITLES.get(xaxis, xaxis), lines, note))
    drawn = "".join(charts)
    if not drawn:
        return (
            f'<p class="muted">No run has a row with {_text(xaxis)} and {_text(", ".join(values))} yet.</p>\n'
        )
    return f'<div class="charts large">\n{drawn}</div>\n'


def _diagnostics(runs: Grouped, names: Sequence[str], xaxis: str, smooth: int) -> str:
    """Small charts of DIAGNOSTICS, then of all columns that have no chart."""
    known = []
    for title, solid, dotted, note in DIAGNOSTICS:
        lines = _lines(runs, names, xaxis, smooth, solid, "small", solid if dotted else "")
        second = _lines(runs, names, xaxis, smooth, dotted, "second", dotted) if dotted else []
        known.append(draw_chart(title, TITLES.get(xaxis, xaxis), lines + second, note if second else ""))
    columns = dict.fromkeys(column for _, run in runs for column in run.columns)
    others = [c for c in columns if c not in _KNOWN and not c.startswith(("Std", "Max", "Min"))]
    charts = [
        draw_chart(text_of(name), TITLES.get(xaxis, xaxis), _lines(runs, names, xaxis, smooth, name, "small"))
        for name in others[:MAX_OTHER_CHARTS]
    ]
    found = "".join(known)
    if any(charts):
        found += "".join(charts)
    return f'<h3>Diagnostics</h3>\n<div class="charts">\n{found}</div>\n' if found else ""


def _experiments_table(runs: Grouped, names: Sequence[str]) -> str:
    """The last returns of each experiment over its runs; empty if no experiment has several."""
    rows, several = "", False
    for group in dict.fromkeys(group for group, _ in runs):
        here = [run for g, run in runs if g == group]
        several = several or len(here) > 1
        last = np.array([run.last("Performance") for run in here])
        last = last[np.isfinite(last)]
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = [last.mean(), last.std(), last.min(), last.max()] if last.size else []
        cells = "".join(f'<td class="number">{format_number(float(n))}</td>' for n in numbers)
        rows += (
            f'<tr data-group="{group}">{_row_name(group, names[group])}'
            f'<td class="number">{len(here)}</td>{cells or "<td></td>" * 4}</tr>\n'
        )
    titles = ("runs", "last return, mean", "std", "min", "max")
    head = "".join(f'<th scope="col" class="number">{title}</th>' for title in titles)
    return _table("Experiments", "experiment", head, rows) if several else ""


def _runs_table(runs: Grouped, differing: Sequence[str]) -> str:
    """A row per run; the settings that differ between runs have a column each."""
    numbers = ("last return", "best return", "steps", "time", "steps/s")
    head = '<th scope="col">state</th>'
    head += "".join(f'<th scope="col" class="number">{name}</th>' for name in numbers)
    head += "".join(f'<th scope="col">{_text(name)}</th>' for name in ("seed", *differing))
    return _table("Runs", "run", head, "".join(_row(group, run, differing) for group, run in runs))


def _findings_table(runs: Grouped) -> str:
    """The findings of `spinup diagnose` for each run; empty if no run has a row."""
    runs = [(group, run) for group, run in runs if run.columns]
    rows, healthy = "", 0
    for group, run in runs:
        found = findings(run)
        healthy += not found
        for finding in found:
            cells = (
                _text(finding.name),
                _text(finding.evidence) + _consequences(finding),
                _text(finding.remedy),
            )
            name = _row_name(group, text_of(run.path.name))
            rows += f'<tr data-group="{group}">{name}{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>\n'
    if not runs:
        return ""
    notes = [f"Nothing looks wrong in {healthy} of {len(runs)} runs."] if healthy else []
    missing = sum(bool(unjudged(run)) for _, run in runs)
    notes += [f"{missing} of {len(runs)} runs lack columns that some checks need."] if missing else []
    note = f'<p class="muted">{" ".join(notes)}</p>\n' if notes else ""
    head = "".join(f'<th scope="col">{title}</th>' for title in ("what looks wrong", "evidence", "remedy"))
    return (_table("Diagnosis", "run", head, rows) if rows else "<h3>Diagnosis</h3>\n") + note


def _consequences(finding: Finding) -> str:
    lines = (f"{c.name}: {c.evidence}; probably follows from it" for c in finding.consequences)
    return "".join(f'<div class="problem">{_text(line)}</div>' for line in lines)


def _table(title: str, first: str, head: str, rows: str) -> str:
    """A table under a title; `first` names the column of row names, `head` are the other header cells."""
    return (
        f'<h3>{title}</h3>\n<div class="scroll"><table>\n<thead><tr><th scope="col">{first}</th>{head}</tr>'
        f"</thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )


def _row(group: int, run: RunSummary, differing: Sequence[str]) -> str:
    finite = run.column("Performance")[np.isfinite(run.column("Performance"))]
    best = float(finite.max()) if finite.size else float("nan")
    steps, seconds = run.last("TotalEnvInteracts"), run.last("Time")
    done = f"{steps:,.0f}" if np.isfinite(steps) else ""
    planned = f"{done or '0'} / {run.total:,}" if run.total and run.status != COMPLETE else done
    numbers = (
        format_number(run.last("Performance")),
        format_number(best),
        planned,
        format_duration(seconds) if np.isfinite(seconds) else "",
        format_number(run.last("StepsPerSecond")),
    )
    problems = "".join(f'<div class="problem">{_text(problem)}</div>' for problem in run.problems)
    cells = "".join(f'<td class="number">{_text(number)}</td>' for number in numbers)
    texts = (run.seed, *(run.settings.get(name, "") for name in differing))
    cells += "".join(f"<td>{_text(text)}</td>" for text in texts)
    return (
        f'<tr data-group="{group}">{_row_name(group, text_of(run.path.name))}'
        f'<td><span class="status {run.status}">{run.status}</span>{problems}</td>'
        f"{cells}</tr>\n"
    )


def _row_name(group: int, name: str) -> str:
    """The first cell of a row. A long name is truncated; the tooltip has the full name."""
    return f'<th scope="row" class="g{group}" title="{_text(name)}">{_text(name)}</th>'


def _shared_settings(title: str, settings: dict[str, str]) -> str:
    if not settings:
        return ""
    return f"<details>\n<summary>{title} ({len(settings)})</summary>\n{_settings_list(settings)}</details>\n"


def _machines(runs: Sequence[RunSummary]) -> str:
    """The machines on which the runs were started, each with the number of its runs."""
    machines: dict[str, list[RunSummary]] = {}
    for run in runs:
        if run.machine:
            machines.setdefault(repr(run.machine), []).append(run)
    lists = "".join(
        f'<p class="muted">{len(here)} of {len(runs)} runs</p>\n{_settings_list(here[0].machine)}'
        for here in machines.values()
    )
    return f"<details open>\n<summary>Machine</summary>\n{lists}</details>\n" if lists else ""


def _settings_list(settings: dict[str, str]) -> str:
    items = "".join(f"<div><dt>{_text(k)}</dt><dd>{_text(v)}</dd></div>\n" for k, v in settings.items())
    return f'<dl class="settings">\n{items}</dl>\n'


def _text(text: str) -> str:
    """Printable text as HTML."""
    return html.escape(printable(text))
