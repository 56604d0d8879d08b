"""The registry of samplers: the values of the argument `sampler`."""

from __future__ import annotations

from collections.abc import Callable

from spinup.config import SACConfig
from spinup.replay.builders import NStepBuilder, OneStepBuilder, TransitionBuilder
from spinup.replay.hindsight import Goals, HindsightSampler
from spinup.replay.prioritized import PrioritizedSampler
from spinup.replay.samplers import Sampler, UniformSampler


def _uniform(config: SACConfig, builder: TransitionBuilder, goals: Goals | None) -> Sampler:
    return UniformSampler(builder)


def _prioritized(config: SACConfig, builder: TransitionBuilder, goals: Goals | None) -> Sampler:
    beta, updates = config.priority_beta, config.priority_beta_updates
    return PrioritizedSampler(builder, config.priority_exponent, beta, updates)


def _hindsight(config: SACConfig, builder: TransitionBuilder, goals: Goals | None) -> Sampler:
    assert goals is not None
    return HindsightSampler(config.gamma, config.her_k, goals)


SAMPLERS: dict[str, Callable[[SACConfig, TransitionBuilder, Goals | None], Sampler]] = {
    "uniform": _uniform, "per": _prioritized, "her": _hindsight,
}  # fmt: skip


def make_sampler(config: SACConfig, goals: Goals | None = None) -> Sampler:
    """The sampler for this configuration.

    Args:
        config: the hyperparameters.
        goals: the environment's goals; required for sampler="her".
    """
    gamma, n_step = config.gamma, config.n_step
    builder = OneStepBuilder(gamma) if n_step == 1 else NStepBuilder(gamma, n_step)
    return SAMPLERS[config.sampler](config, builder, goals)
