"""`sac`, under the import path of Spinning Up; as a script, `spinup sac`."""

import sys

from spinup.cli.main import main
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.sac import sac_pytorch as sac

__all__ = ["MLPActorCritic", "sac"]

if __name__ == "__main__":
    sys.exit(main(["sac", *sys.argv[1:]]))
