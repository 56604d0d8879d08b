"""The registry of variants, and checks of the options that a variant is combined with."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from gymnasium.spaces import Box, Discrete
from torch import nn

from spinup.config import SACConfig, field_defaults
from spinup.errors import ConfigError
from spinup.pytorch.agent import UpdateOptions
from spinup.pytorch.networks.actor_critic import (
    DiscreteMLPActorCritic,
    MLPActorCritic,
    MLPValueActorCritic,
)
from spinup.pytorch.policy import MakePolicy, categorical_policy, gaussian_policy, uses_module_act
from spinup.pytorch.variants.discrete import (
    DiscreteSACObjective,
    default_target_entropy,
)
from spinup.pytorch.variants.distributional import (
    CategoricalSACObjective,
    QuantileSACObjective,
)
from spinup.pytorch.variants.objective import Objective
from spinup.pytorch.variants.sac import SACObjective
from spinup.pytorch.variants.sac_v1 import SACv1Objective


@dataclass(frozen=True)
class Variant:
    """One variant of SAC.

    Args:
        selected_by: the value of the argument `variant` that selects it.
        action_space: class of the action spaces it supports.
        actor_critic: the class used in place of MLPActorCritic.
        objective: class of its losses.
        make_policy: makes the policy from the actor-critic and a source of noise.
        default_target_entropy: maps an action space to the target entropy for "auto", in nats.
        has_value: whether it learns a value network `v`.
        critic: the value of the argument `critic` that selects it.
        options: values of those fields of the objective that are not arguments of a training call.
    """

    selected_by: str
    action_space: type[Box | Discrete]
    actor_critic: type[nn.Module]
    objective: type[Objective]
    make_policy: MakePolicy
    default_target_entropy: Callable[[Any], float]
    has_value: bool = False
    critic: str = "scalar"
    options: dict[str, Any] = field(default_factory=dict)


def _minus_act_dim(space: Box) -> float:
    """-act_dim (Haarnoja et al. 2018b), measured in tanh space."""
    return -float(math.prod(space.shape))


VARIANTS = [
    Variant("sac", Box, MLPActorCritic, SACObjective, gaussian_policy, _minus_act_dim),
    Variant(
        "sac", Box, MLPActorCritic, CategoricalSACObjective, gaussian_policy, _minus_act_dim,
        critic="categorical",
    ),
    Variant(
        "sac", Box, MLPActorCritic, QuantileSACObjective, gaussian_policy, _minus_act_dim, critic="quantile",
    ),
    Variant(
        "sac_v1", Box, MLPValueActorCritic, SACv1Objective, gaussian_policy, _minus_act_dim,
        has_value=True,
    ),
    Variant(
        "sac", Discrete, DiscreteMLPActorCritic, DiscreteSACObjective, categorical_policy,
        lambda space: default_target_entropy(int(space.n)),
    ),
]  # fmt: skip
BUILT_IN = tuple(VARIANTS)


def own_options(objective: Objective) -> dict[str, Any]:
    """The values of those fields of an objective that are not arguments of a training call."""
    names = [f.name for f in fields(objective) if f.name not in field_defaults()]
    return {name: getattr(objective, name) for name in names}


def choose_variant(config: SACConfig, action_space: Box | Discrete) -> Variant:
    """The entry for `config.variant` and this action space.

    Raises:
        ConfigError: if no entry fits, `target_entropy` cannot be reached with these actions, or an option
            does not apply to the variant.
    """
    fitting = [
        variant
        for variant in VARIANTS
        if variant.selected_by == config.variant and isinstance(action_space, variant.action_space)
    ]
    for variant in fitting:
        if variant.critic == config.critic:
            break
    else:
        if fitting:
            raise ConfigError(
                f"critic={config.critic!r} is defined for variant='sac' and continuous actions alone: leave "
                "it out"
            )
        raise ConfigError(
            f"variant={config.variant!r} is not defined for the actions {action_space} of this environment: "
            "leave variant out"
        )
    if isinstance(action_space, Discrete) and config.target_entropy != "auto":
        target, most = _target_entropy(variant, config, action_space), math.log(int(action_space.n))
        if not 0.0 <= target < most:
            given = config.target_entropy if isinstance(config.target_entropy, str) else f"{target:g}"
            raise ConfigError(
                f"target_entropy={given} cannot be met with {action_space.n} discrete "
                f"actions, whose entropy is between 0 and log {action_space.n} = {most:.3f}: give a number "
                "in that range, or 'auto'"
            )
    if variant.has_value and not config.target_networks:
        raise ConfigError(
            f"target_networks=False: variant={config.variant!r} needs the target of its value network; "
            "leave target_networks out"
        )
    if isinstance(action_space, Discrete) and config.hold_noise > 1:
        raise ConfigError(
            f"hold_noise={config.hold_noise}: a policy of discrete actions has no noise to hold; leave it out"
        )
    return variant


def make_objective(variant: Variant, config: SACConfig) -> Objective:
    """The variant's losses, with options from the fields of `config` of the same names and the variant."""
    names = [f.name for f in fields(variant.objective) if f.name in field_defaults()]
    return variant.objective(**{name: getattr(config, name) for name in names}, **variant.options)


def update_options(variant: Variant, config: SACConfig, action_space: Box | Discrete) -> UpdateOptions:
    """The settings of updates in `config`, with "auto" replaced by its value."""
    learned = _target_entropy(variant, config, action_space) if config.learns_alpha else None
    same = {field.name for field in fields(UpdateOptions)} & set(field_defaults())
    options = {name: getattr(config, name) for name in same} | {
        "alpha": config.initial_alpha,
        "target_entropy": learned,
        "total_updates": 0 if config.lr_schedule == "constant" else max(config.total_updates, 1),
    }
    return UpdateOptions(**options)


def _target_entropy(variant: Variant, config: SACConfig, action_space: Box | Discrete) -> float:
    """`config.target_entropy` as a number."""
    if isinstance(config.target_entropy, str):
        return variant.default_target_entropy(action_space) * config.target_entropy_factor
    return config.target_entropy


def held_noise_arguments(
    variant: Variant, config: SACConfig, ac: Any, action_space: Box | Discrete
) -> tuple[int, int, int] | None:
    """The arguments of `HeldNoise` after `rng`, or None if new noise is drawn for each action.

    Raises:
        ConfigError: if the policy does not use the run's noise.
    """
    if config.hold_noise == 1:
        return None
    if uses_module_act(variant.make_policy(ac, None)):
        raise ConfigError(
            f"hold_noise={config.hold_noise}: {type(ac).__name__}.act draws its own noise; leave it out"
        )
    return config.hold_noise, config.total_envs, math.prod(action_space.shape or ())
