"""`spinup plot LOGDIR...`: plots learning curves."""

from __future__ import annotations

from spinup.cli.parser import Parser
from spinup.errors import ConfigError
from spinup.plotting.figures import make_plots


def main(words: list[str]) -> int:
    """Run `spinup plot`.

    Raises:
        SpinupError: see `make_plots`.
    """
    parser = Parser(
        "spinup plot",
        "Plot learning curves; the seeds of one experiment form one line, shaded by their spread.",
        "examples:\n  spinup plot data/hc\n  spinup plot data/hc data/hop -l cheetah hopper --save both.png\n"
        "  spinup plot data/hc --iqm --save iqm.png --csv hc.csv",
    )
    add = parser.add_argument
    add(
        "logdir",
        nargs="+",
        metavar="LOGDIR",
        help="folders with runs, prefixes of their names, or files of --csv",
    )
    add("-l", "--legend", nargs="+", metavar="LEGEND", help="a name for each LOGDIR, in the same order")
    add("-x", "--xaxis", default="TotalEnvInteracts", metavar="COL", help="x axis (default %(default)s)")
    add("-y", "--value", nargs="+", default=["Performance"], metavar="COL", help="columns, one figure each")
    add("--count", action="store_true", help="one line per run")
    add("-s", "--smooth", type=int, default=1, metavar="SMOOTH", help="moving average over SMOOTH rows")
    parser.add_selection()
    add("--est", metavar="EST", help="over seeds: mean (default), median, max, min or iqm")
    add("--iqm", action="store_true", help="interquartile mean, 95%% bootstrap interval, a thin line per run")
    add("--save", metavar="FILE", help="write an image instead of opening a window")
    add("--csv", metavar="FILE", help="write exp_name,env_name,seed,metric,env_step,value of all runs")
    args = parser.parse(words)
    if args.iqm and args.est not in (None, "iqm"):
        raise ConfigError(f"plot: --iqm and --est {args.est} cannot be combined: leave one out")
    estimator = "iqm" if args.iqm else args.est or "mean"
    make_plots(
        args.logdir, args.legend, args.xaxis, args.value, args.count, args.smooth,
        args.select, args.exclude, estimator, args.save, args.csv,
    )  # fmt: skip
    return 0
