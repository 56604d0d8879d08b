"""load_policy_and_env and run_policy, under the import path of Spinning Up; as a script, `test_policy`."""

import sys

from spinup.cli.main import main
from spinup.playback.episodes import load_policy_and_env, run_policy

__all__ = ["load_policy_and_env", "run_policy"]

if __name__ == "__main__":
    sys.exit(main(["test_policy", *sys.argv[1:]]))
