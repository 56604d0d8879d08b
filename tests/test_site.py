"""The site of `make docs`: public names are documented, and a strict build passes. Needs the extra `docs`."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import spinup
from tools.undocumented import undocumented

ROOT = Path(__file__).parent.parent
API = re.findall(r"^::: ([\w.]+)$", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)


def test_every_public_name_has_a_docstring() -> None:
    assert undocumented() == []


def test_names_without_a_docstring_are_found(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "a.py").write_text(
        '"""Documented."""\n'
        'class A:\n    """Documented."""\n    def f(self):\n        """Documented."""\n    def g(self): ...\n'
        'class B(A):\n    """Documented."""\n    def f(self): ...\n    def g(self): ...\n'
        "    def _h(self): ...\n"
        "def k(): ...\n"
    )
    (tmp_path / "package" / "b.py").write_text("")
    found = [f"package/a.py: {name}" for name in ("A.g", "B.g", "k")]
    assert undocumented(tmp_path / "package") == [*found, "package/b.py"]


@pytest.mark.parametrize("name", API)
def test_the_reference_names_what_exists(name: str) -> None:
    parent, _, last = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        assert getattr(importlib.import_module(parent), last).__doc__


def test_the_reference_has_every_exported_name_and_every_import_of_the_pages() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    code = "\n".join(
        block for page in pages for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    )
    used = {name.strip() for line in re.findall(r"^from spinup[\w.]* import (.*)$", code, re.MULTILINE)
            for name in line.split(",")}  # fmt: skip
    assert used
    assert {*used, *spinup.__all__} <= {name.rpartition(".")[2] for name in API}


def build(project: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """`mkdocs build --strict` of a project."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(output)],
        cwd=project, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip


def test_a_strict_build_passes_and_loads_nothing_from_a_network(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    api = (tmp_path / "api.html").read_text()
    assert 'id="spinup.sac_pytorch"' in api
    assert "<td><code>act(obs, deterministic=False)</code></td>" in api
    assert "cuda:&lt;index&gt;" in api
    assert 'See <a href="engines.html">docs/engines.md</a>.' in api
    assert "====" not in re.sub(r"<[^>]*>", "", api)
    assert '<code class="flag">--gamma</code>' in (tmp_path / "flags.html").read_text()
    assert "<math" in (tmp_path / "sac.html").read_text()
    for page in tmp_path.rglob("*.html"):
        assert not re.findall(
            r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="https?:', page.read_text()
        )
        assert 'class="arithmatex"' not in page.read_text()
        assert not re.findall(r"<td>[^\n]*\\\|[^\n]*</td>", page.read_text())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "text", "complaint"),
    [
        ("docs/speed.md", "\n[link](nowhere.md)\n", "nowhere.md"),
        ("docs/speed.md", "\n[link](sac.md#nowhere)\n", "#nowhere"),
        ("docs/speed.md", "\n[link](../spinup/nowhere.py)\n", "nowhere.py"),
        ("docs/sac.md", "\n$\\nocommand{x}$\n", "nocommand"),
        ("docs/api.md", "\n::: spinup.nowhere\n", "spinup.nowhere"),
        ("spinup/recipes.py", "\ndef nameless() -> None: ...\n", "nameless has no docstring"),
    ],
)
def test_a_strict_build_fails(page: str, text: str, complaint: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    ignore = shutil.ignore_patterns(".*", "build", "data", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignore)
    with (copy / page).open("a") as file:
        file.write(text)
    done = build(copy, tmp_path / "site")
    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr
