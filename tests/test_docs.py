"""The documents keep pace with the code: links resolve, named functions exist, examples are valid."""

from __future__ import annotations

import ast
import fnmatch
import inspect
import re
from pathlib import Path

import pytest
from helpers import train

import spinup
from spinup.loggers.run_folder import NAN_BATCH
from spinup.runs.resuming import MAY_CHANGE

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [t for t in targets if "://" not in t and not (page.parent / t).exists()]
    assert not missing


def test_functions_named_beside_a_file_exist_in_it() -> None:
    text = (ROOT / "docs" / "sac.md").read_text()
    rows = re.findall(r"\|((?: ?`[\w.]+`,?)+) in \[[\w.]+\]\(([^)]+)\)", text)
    assert len(rows) >= 6
    for names, link in rows:
        source = (ROOT / "docs" / link).read_text()
        for name in re.findall(r"`(?:\w+\.)?(\w+)`", names):
            assert re.search(rf"(def|class) {name}\b", source), f"{name} is not in {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_are_valid_python(page: Path) -> None:
    for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        ast.parse(code)


def test_the_settings_that_may_change_on_resume_are_listed() -> None:
    text = (ROOT / "docs" / "reliability.md").read_text()
    (names,) = re.findall(r"These may change, and are logged: ([^.]+)\.", text)
    assert sorted(re.findall(r"`(\w+)`", names)) == sorted(MAY_CHANGE)


def test_every_file_of_a_run_has_its_line(tmp_path: Path) -> None:
    train(tmp_path, epochs=1, logger_kwargs={"output_dir": str(tmp_path), "quiet": True})
    table = re.findall(r"^\| `([^`]+)` \|", (ROOT / "docs" / "files.md").read_text(), re.MULTILINE)
    written = [f"{p.relative_to(tmp_path)}{'/' * p.is_dir()}" for p in tmp_path.rglob("*")]
    written = [name for name in written if name != "pyt_save/" and not re.match("checkpoint/.", name)]
    for name in [*written, NAN_BATCH, "tf1_save/", "tf1_save_best/"]:
        assert any(fnmatch.fnmatch(name, row) for row in table), f"{name} has no line in files.md"


def test_the_page_lists_the_documented_parameters_with_their_defaults() -> None:
    text = (ROOT / "docs" / "sac.md").read_text()
    table = re.findall(r"^\| `(\w+)` \| (?:`([^`]*)`)? ?\|", text, re.MULTILINE)
    parameters = [
        p for p in inspect.signature(spinup.sac_pytorch).parameters.values() if p.kind is not p.KEYWORD_ONLY
    ]
    assert [name for name, _ in table] == [p.name for p in parameters]
    for (name, default), parameter in zip(table, parameters, strict=True):
        if parameter.default is parameter.empty:
            assert default == ""
        elif name == "actor_critic":
            assert default == parameter.default.__name__
        else:
            assert ast.literal_eval(default) == parameter.default


def test_every_keyword_has_its_line_in_the_docstring() -> None:
    documented = re.findall(r"^ {8}(\w+): ", inspect.getsource(spinup.sac_pytorch), re.MULTILINE)
    assert set(inspect.signature(spinup.sac_pytorch).parameters) <= set(documented)
