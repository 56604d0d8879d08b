"""Which engine computes the updates: a fixed rule, or the one asked for by name (docs/engines.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from spinup.config import SACConfig
from spinup.data.spaces import ActionSpec
from spinup.errors import ConfigError
from spinup.pytorch.fused import FusedLearner, why_not_fused
from spinup.pytorch.learner import EagerLearner, Objective, Save
from spinup.pytorch.variants import target_entropy
from spinup.training import Learner

_LEARNERS: dict[str, tuple[Callable[..., Learner], str]] = {
    "eager": (EagerLearner, "plain autograd"),
    "fused": (FusedLearner, "explicit gradients of the default networks"),
}
_WHY_NOT: dict[str, Callable[[Any, Objective], str | None]] = {
    "eager": lambda ac, objective: None,
    "fused": why_not_fused,
}


def make_learner(
    ac: nn.Module, objective: Objective, config: SACConfig, actions: ActionSpec, save: Save
) -> tuple[Learner, str, str]:
    """The learner, the engine's name and one line that says why it was chosen.

    `auto` is fused where it applies, else eager.

    Raises:
        ConfigError: if the engine asked for cannot compute this update.
    """
    name = config.engine
    wanted = "fused" if name == "auto" else name
    if wanted not in _LEARNERS:
        raise ConfigError(f"engine={name!r} is not available: give engine='auto'")
    reason = _WHY_NOT[wanted](ac, objective)
    if reason is None:
        chosen, why = wanted, "asked for" if name == wanted else "the quickest that applies"
    elif name == "auto":
        chosen, why = "eager", f"not {wanted}, as {reason}"
    else:
        raise ConfigError(f"engine={name!r} cannot be used here, as {reason}: give engine='auto'")
    learner, what = _LEARNERS[chosen]
    note = f"engine: {chosen}, {what} ({why})"
    return learner(ac, objective, config, target_entropy(config, actions.space), save), chosen, note
