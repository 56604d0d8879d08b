"""make_plots, under the import path of Spinning Up; as a script, `spinup plot`."""

import sys

from spinup.cli.main import main
from spinup.plotting.figures import make_plots

__all__ = ["make_plots"]

if __name__ == "__main__":
    sys.exit(main(["plot", *sys.argv[1:]]))
