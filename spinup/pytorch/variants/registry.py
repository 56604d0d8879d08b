"""The registry of variants: one entry each, and the checks of what a variant is combined with."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from gymnasium.spaces import Box, Discrete
from torch import nn

from spinup.config import SACConfig, check_ac_kwargs, nearest
from spinup.errors import ConfigError, SpinupError
from spinup.pytorch.agent import UpdateOptions
from spinup.pytorch.networks.actor_critic import (
    DiscreteMLPActorCritic,
    MLPActorCritic,
    MLPValueActorCritic,
)
from spinup.pytorch.policy import MakePolicy, categorical_policy, gaussian_policy
from spinup.pytorch.variants.discrete import DiscreteSACObjective, default_target_entropy
from spinup.pytorch.variants.objective import Objective
from spinup.pytorch.variants.sac import SACObjective
from spinup.pytorch.variants.sac_v1 import SACv1Objective

Constructor = Callable[..., Any]
Spaces = tuple[Box, Box | Discrete]


@dataclass(frozen=True)
class Variant:
    """One variant of SAC.

    selected_by: the value of the argument `variant`; action_space: the kind of space it fits; actor_critic:
    the class used in place of MLPActorCritic; objective: its losses; make_policy: how it acts;
    default_target_entropy: of an action space, in nats; has_value: whether it learns a value network `v`.
    """

    selected_by: str
    action_space: type[Box | Discrete]
    actor_critic: type[nn.Module]
    objective: type[Objective]
    make_policy: MakePolicy
    default_target_entropy: Callable[[Any], float]
    has_value: bool = False


def _minus_act_dim(space: Box) -> float:
    """-act_dim (Haarnoja et al. 2018b), measured in tanh space."""
    return -float(math.prod(space.shape))


VARIANTS = (
    Variant("sac", Box, MLPActorCritic, SACObjective, gaussian_policy, _minus_act_dim),
    Variant(
        "sac_v1", Box, MLPValueActorCritic, SACv1Objective, gaussian_policy, _minus_act_dim,
        has_value=True,
    ),
    Variant(
        "sac", Discrete, DiscreteMLPActorCritic, DiscreteSACObjective, categorical_policy,
        lambda space: default_target_entropy(int(space.n)),
    ),
)  # fmt: skip


def choose_variant(config: SACConfig, action_space: Box | Discrete) -> Variant:
    """The entry for `config.variant` and this action space.

    Raises:
        ConfigError: if there is none, or `target_entropy` cannot be reached with these actions.
    """
    for variant in VARIANTS:
        if variant.selected_by == config.variant and isinstance(action_space, variant.action_space):
            break
    else:
        raise ConfigError(
            f"variant={config.variant!r} is not defined for the actions {action_space} of this environment: "
            "leave variant out"
        )
    if isinstance(action_space, Discrete) and not isinstance(config.target_entropy, str):
        most = math.log(int(action_space.n))
        if not 0.0 <= config.target_entropy < most:
            raise ConfigError(
                f"target_entropy={config.target_entropy:g} cannot be met with {action_space.n} discrete "
                f"actions, whose entropy is between 0 and log {action_space.n} = {most:.3f}: give a number "
                "in that range, or 'auto'"
            )
    return variant


def make_objective(variant: Variant, config: SACConfig) -> Objective:
    """The losses of the variant; each of their options is the field of `config` with its name."""
    return variant.objective(**{f.name: getattr(config, f.name) for f in fields(variant.objective)})


def update_options(variant: Variant, config: SACConfig, action_space: Box | Discrete) -> UpdateOptions:
    """The settings of updates that `config` asks for, "auto" resolved."""
    target = config.target_entropy
    if isinstance(target, str):
        target = variant.default_target_entropy(action_space)
    learned = target if config.learns_alpha else None
    return UpdateOptions(config.lr, config.polyak, config.initial_alpha, learned)


def build_actor_critic(
    variant: Variant, constructor: Constructor, spaces: Spaces, ac_kwargs: dict[str, Any], critics: int
) -> tuple[Any, Constructor, dict[str, Any]]:
    """The actor-critic, with the constructor and keyword arguments that made it.

    MLPActorCritic is replaced by the variant's default networks. The number of critics is passed on as the
    keyword `critics` where it is not 2.

    Raises:
        ConfigError: for an entry of `ac_kwargs` that the constructor does not take, or that the default
            networks cannot be built from, and if the constructor raises.
    """
    if not callable(constructor):
        raise ConfigError(
            f"actor_critic={constructor!r}: give a class or function, to be called as "
            "actor_critic(observation_space, action_space, **ac_kwargs)"
        )
    if not isinstance(ac_kwargs, dict):
        check_ac_kwargs(ac_kwargs)
    if constructor is MLPActorCritic:
        constructor = variant.actor_critic
    _check_arguments(constructor, spaces, ac_kwargs)
    ac_kwargs = _with_critics(constructor, ac_kwargs, critics)
    try:
        return constructor(*spaces, **ac_kwargs), constructor, ac_kwargs
    except SpinupError:
        raise
    except Exception as error:
        text = (str(error).strip().splitlines() or ["no message"])[0]
        raise ConfigError(
            f"actor_critic failed: {type(error).__name__}: {text}; fix {_name(constructor)} or its ac_kwargs"
        ) from error


def check_networks(ac_kwargs: Any) -> None:
    """Check what the default networks are built from.

    Raises:
        ConfigError: naming the first entry that is invalid, and what is valid.
    """
    check_ac_kwargs(ac_kwargs)
    if "critics" in ac_kwargs:
        raise ConfigError(_CRITICS)
    activation = ac_kwargs.get("activation", nn.ReLU)
    if not _makes_module(activation):
        raise ConfigError(f"activation={_name(activation)}: give a class of torch.nn, such as torch.nn.ReLU")
    state_dependent = ac_kwargs.get("state_dependent_std", True)
    if not isinstance(state_dependent, bool):
        raise ConfigError(f"state_dependent_std={state_dependent!r}: give True or False")


_CRITICS = "ac_kwargs has 'critics': give critics as a keyword argument of its own"


def _with_critics(constructor: Constructor, ac_kwargs: dict[str, Any], critics: int) -> dict[str, Any]:
    if critics == 2:
        return ac_kwargs
    if "critics" in ac_kwargs:
        raise ConfigError(_CRITICS)
    keywords = _keywords(constructor)
    if keywords is not None and "critics" not in keywords:
        raise ConfigError(
            f"critics={critics}: {_name(constructor)} takes no keyword 'critics': leave critics out, or let "
            f"the constructor take it and offer q1 to q{critics}"
        )
    return {**ac_kwargs, "critics": critics}


def _check_arguments(constructor: Constructor, spaces: Spaces, ac_kwargs: dict[str, Any]) -> None:
    if constructor in _DEFAULTS:
        if isinstance(spaces[1], Discrete) and "state_dependent_std" in ac_kwargs:
            raise ConfigError(
                f"state_dependent_std applies to Gaussian policies, and this environment's actions are "
                f"{spaces[1]}: leave it out of ac_kwargs"
            )
        check_networks(ac_kwargs)
    known = _keywords(constructor)
    for key in ac_kwargs:
        if known is not None and key not in known:
            hint = nearest(str(key), known)
            raise ConfigError(
                f"ac_kwargs: {_name(constructor)} takes no {key!r}{hint}; it takes {', '.join(known)}"
            )


_DEFAULTS = tuple(variant.actor_critic for variant in VARIANTS)


def _keywords(constructor: Constructor) -> list[str] | None:
    """The keyword arguments that it takes besides the two spaces; None if it takes any."""
    parameters = inspect.signature(constructor).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return None
    return list(parameters)[2:]


def _makes_module(activation: Any) -> bool:
    try:
        return isinstance(activation(), nn.Module)
    except Exception:  # a class that needs arguments, or no class at all
        return False


def _name(thing: Any) -> str:
    return str(getattr(thing, "__name__", None) or repr(thing))
