"""Hooks of MkDocs that `mkdocs.yml` names: what the pages in docs/ need beyond GitHub's rendering.

- Formulas become MathML when the site is built, so that pages load no script and nothing from a network.
- Files of the repository that pages link to become pages under source/, so that no link leaves the site.
- A public name without a docstring, a formula that cannot be converted and a link to a missing file are
  warnings, which end a strict build.
"""

from __future__ import annotations

import html
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File, Files

sys.path.append(str(Path(__file__).parents[1]))
from tools.undocumented import undocumented

ROOT = Path(__file__).parents[1]
LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#\s]+)((?:#[^)]*)?\))")
# Pages beside those in docs/; MkDocs would take a README.md for the front page.
TOP = {"README.md": "overview.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LANGUAGES = {
    ".py": "python",
    ".mjs": "js",
    ".h": "cpp",
    ".cpp": "cpp",
    ".sh": "sh",
    ".yaml": "yaml",
    ".json": "json",
}
log = logging.getLogger("mkdocs.hooks.site")


def on_pre_build(**_: Any) -> None:
    """Warn about public names without a docstring."""
    for name in undocumented():
        log.warning(f"{name} has no docstring")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages from the top folder, and those of the sources that pages link to."""
    for name, page in TOP.items():
        files.append(File.generated(config, page, content=_rewritten((ROOT / name).read_text(), ROOT)))
    pages = [(path, path.parent) for path in sorted((ROOT / "docs").glob("*.md"))]
    waiting = {
        target for path, base in [*pages, *((ROOT / n, ROOT) for n in TOP)] for target in _sources(path, base)
    }
    done: set[Path] = set()
    while waiting:
        path = waiting.pop()
        done.add(path)
        name = path.relative_to(ROOT).as_posix()
        if path.is_dir():
            inside = [p for p in sorted(path.iterdir()) if p.is_file()]
            waiting |= set(inside) - done
            lines = [f"- [{p.name}]({path.name}/{_site_name(p)})" for p in inside]
            files.append(File.generated(config, f"source/{name}.md", content=_page(name, "\n".join(lines))))
        elif path.suffix == ".png":
            files.append(File.generated(config, f"source/{name}", abs_src_path=str(path)))
        else:
            text = f"````{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text()}\n````"
            files.append(File.generated(config, f"source/{name}.md", content=_page(name, text)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Point links to files outside docs/ at their pages under source/."""
    if page.file.src_uri in TOP.values() or page.file.src_uri.startswith("source/"):
        return markdown
    return _rewritten(markdown, ROOT / "docs")


def on_page_content(html_text: str, *, page: Any, **_: Any) -> str:
    """Put MathML in the place of formulas and links in that of pages that docstrings name; mark flags."""

    def formula(match: re.Match[str]) -> str:
        latex = html.unescape(match[2])
        display = latex.startswith("\\[")
        latex = latex[2:-2].strip()
        number = re.search(r"\\tag\{([^}]*)\}", latex)
        latex = re.sub(r"\\tag\{[^}]*\}", "", latex)
        try:
            mathml = _mathml(latex, display)
        except Exception as error:
            log.warning(f"{page.file.src_uri}: {latex}: {type(error).__name__}: {error}")
            return match[0]
        if not display:
            return mathml
        tag = f'<span class="number">({number[1]})</span>' if number else ""
        return f'<div class="formula">{mathml}{tag}</div>'

    if page.file.src_uri == "api.md":
        html_text = re.sub(r"(?<![\w/])docs/(\w+)\.md", _page_link, html_text)
    html_text = re.sub(r'<(span|div) class="arithmatex">(.*?)</\1>', formula, html_text, flags=re.DOTALL)
    return re.sub(r"<td>.*?</td>", _cell, html_text, flags=re.DOTALL)


def _cell(match: re.Match[str]) -> str:
    # GitHub wants a backslash before a vertical bar in the code of a cell; Python-Markdown keeps it.
    return match[0].replace("\\|", "|").replace("<code>-", '<code class="flag">-')


def _page_link(match: re.Match[str]) -> str:
    if not (ROOT / match[0]).exists():
        log.warning(f"api.md: a docstring names {match[0]}, which does not exist")
    return f'<a href="{match[1]}.html">{match[0]}</a>'


def _mathml(latex: str, display: bool) -> str:
    mathml = convert(
        latex.replace("\\arg\\", "\\operatorname{arg}\\"), display="block" if display else "inline"
    )
    if command := re.search(r">\s*(\\\w+)", mathml):
        raise ValueError(f"{command[1]} is not converted")
    return re.sub(r"<mi>log</mi>", '<mi>log</mi><mspace width="0.17em"/>', mathml)


def _page(name: str, text: str) -> str:
    return f"---\nsearch:\n  exclude: true\n---\n# {name}\n\n{text}\n"


def _outside(target: str, base: Path) -> Path | None:
    """The file or folder outside docs/ that a link leads to, if it does."""
    if "://" in target or target.startswith("mailto:"):
        return None
    path = Path(os.path.normpath(base / target))
    if path.is_relative_to(ROOT / "docs") or not path.exists() or path in [ROOT / name for name in TOP]:
        return None
    return path if path.is_relative_to(ROOT) else None


def _site_name(path: Path) -> str:
    """The name of a source file's page; images have no page and keep their name."""
    return path.name if path.suffix == ".png" else f"{path.name}.md"


def _sources(page: Path, base: Path) -> set[Path]:
    targets = (_outside(match[2], base) for match in LINK.finditer(page.read_text()))
    return {target for target in targets if target is not None}


def _rewritten(markdown: str, base: Path) -> str:
    """The page with links that are right inside the site."""

    def link(match: re.Match[str]) -> str:
        target = match[2]
        if (path := _outside(target, base)) is not None:
            target = f"source/{path.parent.relative_to(ROOT).as_posix()}/{_site_name(path)}"
        elif "://" not in target:
            path = Path(os.path.normpath(base / target))
            if path.is_relative_to(ROOT / "docs"):
                target = path.relative_to(ROOT / "docs").as_posix()
            elif path.parent == ROOT and path.name in TOP:
                target = TOP[path.name]
        return f"{match[1]}{target}{match[3]}"

    return LINK.sub(link, markdown)
