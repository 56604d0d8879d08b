"""`spinup diagnose FOLDER...`: says what looks wrong in runs."""

from __future__ import annotations

from spinup.cli.parser import Parser
from spinup.errors import RunError
from spinup.loggers.text import printable
from spinup.reports.diagnosis import diagnose
from spinup.reports.run_summary import find_folders, read_run


def main(words: list[str]) -> int:
    """Run `spinup diagnose`.

    Raises:
        SpinupError: see `diagnose` and `find_folders`.
    """
    parser = Parser(
        "spinup diagnose",
        "Report likely problems of runs from progress.txt and config.json, with evidence and remedies.",
        "examples:\n  spinup diagnose data/hc/hc_s0\n  spinup diagnose data/hc",
    )
    parser.add_argument(
        "folder", nargs="+", metavar="FOLDER", help="folders with runs in them, or prefixes of their names"
    )
    args = parser.parse(words)
    print(printable("\n\n".join(page for folder in args.folder for page in _pages(folder))))
    return 0


def _pages(folder: str) -> list[str]:
    """The problems of each run under a folder; of several runs, those without a row have one line."""
    runs = [path for path, _ in find_folders([folder]) if read_run(path) is not None]
    if len(runs) < 2:
        return [diagnose(runs[0] if runs else folder)]
    pages = []
    for run in runs:
        try:
            pages.append(diagnose(run))
        except RunError as error:
            pages.append(str(error))
    return pages
