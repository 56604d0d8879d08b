"""make_plots, under the import path that Spinning Up documents."""

from spinup.plotting.figures import make_plots

__all__ = ["make_plots"]
