"""`spinup watch FOLDER...`: shows running runs live in the terminal."""

from __future__ import annotations

from spinup.cli.parser import Parser
from spinup.reports.watch import watch


def main(words: list[str]) -> int:
    """Run `spinup watch`.

    Raises:
        SpinupError: see `watch`.
    """
    parser = Parser(
        "spinup watch",
        "Show the runs in folders until Ctrl-C: epoch, step, return, speed, time left and state.",
        "example:\n  ssh -t machine spinup watch data",
    )
    add = parser.add_argument
    add("folder", nargs="+", metavar="FOLDER", help="folders with runs in them, or prefixes of their names")
    add(
        "-n",
        "--interval",
        type=float,
        default=2.0,
        metavar="SECONDS",
        help="seconds between refreshes (default 2)",
    )
    add("--once", action="store_true", help="print the table once, as without a terminal")
    parser.add_selection()
    args = parser.parse(words)
    watch(args.folder, args.interval, args.once, args.select, args.exclude)
    return 0
