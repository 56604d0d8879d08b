"""`spinup diagnose RUN`: says what looks wrong in a run."""

from __future__ import annotations

from spinup.cli.parser import Parser
from spinup.loggers.text import printable
from spinup.reports.diagnosis import diagnose


def main(words: list[str]) -> int:
    """Run `spinup diagnose`.

    Raises:
        SpinupError: see `diagnose`.
    """
    parser = Parser(
        "spinup diagnose",
        "Report likely problems of a run from progress.txt and config.json, with evidence and remedies.",
        "example:\n  spinup diagnose data/hc/hc_s0",
    )
    parser.add_argument("folder", nargs="+", metavar="RUN", help="folders of runs")
    args = parser.parse(words)
    print(printable("\n\n".join(diagnose(folder) for folder in args.folder)))
    return 0
