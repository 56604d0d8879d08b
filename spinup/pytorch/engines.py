"""Which engine computes the updates: a fixed rule, or the one asked for by name."""

from __future__ import annotations

from torch import nn

from spinup.config import SACConfig
from spinup.data.spaces import ActionSpec
from spinup.errors import ConfigError
from spinup.pytorch.learner import EagerLearner, Objective, Save
from spinup.pytorch.variants import target_entropy
from spinup.training import Learner


def make_learner(
    ac: nn.Module, objective: Objective, config: SACConfig, actions: ActionSpec, save: Save
) -> tuple[Learner, str, str]:
    """The learner, the engine's name and one line that says why it was chosen.

    Raises:
        ConfigError: if the engine asked for cannot compute this update.
    """
    if config.engine not in ("auto", "eager"):
        raise ConfigError(f"engine={config.engine!r} is not available: give engine='eager'")
    learner = EagerLearner(ac, objective, config, target_entropy(config, actions.space), save)
    return learner, "eager", "engine: eager, plain autograd"
