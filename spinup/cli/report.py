"""`spinup report FOLDER...`: writes an HTML file about runs."""

from __future__ import annotations

from spinup.cli.parser import Parser
from spinup.reports.report import write_report


def main(words: list[str]) -> int:
    """Run `spinup report`.

    Raises:
        SpinupError: see `write_report`.
    """
    parser = Parser(
        "spinup report",
        "Write one HTML file about runs: learning curves, table of runs, diagnostics, settings, videos.",
        "examples:\n  spinup report data/hc\n  spinup report data/hc data/hop -l cheetah hopper -o both.html",
    )
    add = parser.add_argument
    add("folder", nargs="+", metavar="FOLDER", help="folders with runs in them, or prefixes of their names")
    add("-o", "--output", default="report.html", metavar="FILE", help="file to write (default %(default)s)")
    add("-l", "--legend", nargs="+", metavar="LEGEND", help="a name for each FOLDER, in the same order")
    add("-x", "--xaxis", default="TotalEnvInteracts", metavar="COL", help="x axis (default %(default)s)")
    add("-y", "--value", nargs="+", default=["Performance"], metavar="COL", help="columns, one chart each")
    add("-s", "--smooth", type=int, default=1, metavar="SMOOTH", help="moving average over SMOOTH rows")
    parser.add_selection()
    args = parser.parse(words)
    write_report(
        args.folder, args.output, args.legend, args.xaxis, args.value, args.smooth, args.select, args.exclude
    )
    return 0
