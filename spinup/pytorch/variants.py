"""Which variant of SAC a configuration asks for."""

from __future__ import annotations

from torch import nn

from spinup.config import SACConfig
from spinup.errors import ConfigError
from spinup.pytorch.learner import Objective, SoftQ


def make_objective(ac: nn.Module, config: SACConfig) -> Objective:
    """The losses of the variant that `config` names, over the networks of `ac`.

    Raises:
        ConfigError: for a variant that does not exist.
    """
    if config.variant != "sac":
        raise ConfigError(f"variant={config.variant!r} is not available: give variant='sac'")
    return SoftQ(ac, config.gamma)
