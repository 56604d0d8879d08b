"""`python -m spinup ...`, the same program as `spinup ...`."""

import sys

from spinup.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
