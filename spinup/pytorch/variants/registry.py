"""The registry of variants, and checks of the options that a variant is combined with."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any

from gymnasium.spaces import Box, Discrete
from torch import nn

from spinup.checks import check_choice
from spinup.config import BUILT_IN_VARIANTS, SACConfig, check_ac_kwargs, field_defaults
from spinup.errors import ConfigError, SpinupError, first_line
from spinup.hints import nearest
from spinup.pytorch.agent import UpdateOptions
from spinup.pytorch.networks.actor_critic import (
    DiscreteMLPActorCritic,
    MLPActorCritic,
    MLPValueActorCritic,
)
from spinup.pytorch.networks.encoded import EncodedActorCritic, encoder_options, features_space
from spinup.pytorch.networks.layers import NORMS
from spinup.pytorch.policy import MakePolicy, categorical_policy, gaussian_policy, uses_module_act
from spinup.pytorch.variants.discrete import (
    DiscreteObjective,
    DiscreteSACObjective,
    default_target_entropy,
)
from spinup.pytorch.variants.distributional import (
    CategoricalSACObjective,
    DistributionalObjective,
    QuantileSACObjective,
)
from spinup.pytorch.variants.objective import Objective
from spinup.pytorch.variants.sac import SACObjective
from spinup.pytorch.variants.sac_v1 import SACv1Objective
from spinup.recipes import RECIPES
from spinup.replay.image_layout import ImageLayout

Constructor = Callable[..., Any]
Spaces = tuple[Box, Box | Discrete]


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
        options: values of those fields of the objective that are no arguments of a training call.
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
_BUILT_IN = tuple(VARIANTS)


# Columns of the log that no objective may add.
RESERVED_COLUMNS = frozenset(
    {
        "Epoch", "EpRet", "TestEpRet", "EpLen", "TestEpLen", "TotalEnvInteracts", "Q1Vals", "Q2Vals", "LogPi",
        "LossPi", "LossQ", "TDError", "Time", "Alpha", "Entropy", "TargetEntropy", "StepsPerSecond",
        "AskedUpdatesPerStep", "UpdatesPerStep", "Staleness", "MaxStaleness", "LearnerWait", "CollectorWait",
        "BlocksRefused", "CollectorRestarts", "SaturatedActions", "TestQVals", "TestQBias", "CriticSpread",
        "GradNormPi", "GradNormQ",
    }
)  # fmt: skip
_RESERVED_PREFIXES = ("Average", "Std", "Max", "Min", "DeadUnits")


def register_variant(name: str, objective: type[Objective], **options: Any) -> None:
    """Add a variant with losses of your own, which `sac_pytorch(..., variant=name)` then selects.

    It has the networks, the policy and the automatic target entropy of `variant="sac"`, and runs on the
    engine "eager". `variant="module:name"` imports `module` first, which should call this function.
    Registering a name again replaces the variant.

    Args:
        name: an identifier other than the names of the package's variants.
        objective: a class decorated with `@dataclass(frozen=True)`, subclass of `GaussianObjective` or, for
            discrete actions, of `DiscreteObjective`, which have the policy's loss of SAC; or of `Objective`.
            Its fields get the values of the arguments with their names of the training call, such as
            `critics`.
        options: values of further fields of the objective; the others keep their defaults.

    Raises:
        ConfigError: for an invalid name, objective or option.
    """
    if not isinstance(name, str) or not name.isidentifier() or name in BUILT_IN_VARIANTS:
        raise ConfigError(
            f"register_variant: name {name!r}: give an identifier other than {', '.join(BUILT_IN_VARIANTS)}"
        )
    if reason := _cannot_register(objective, options):
        raise ConfigError(f"register_variant: {_name(objective)} {reason}")
    like = next(
        entry for entry in _BUILT_IN if issubclass(objective, DiscreteObjective) == _is_discrete(entry)
    )
    VARIANTS[:] = [variant for variant in VARIANTS if variant.selected_by != name]
    VARIANTS.append(replace(like, selected_by=name, objective=objective, options=options))


def _is_discrete(variant: Variant) -> bool:
    return variant.action_space is Discrete


def _cannot_register(objective: Any, options: dict[str, Any]) -> str:
    """Why an objective with these options cannot be a variant, and the remedy; empty if it can."""
    if not isinstance(objective, type) or not issubclass(objective, Objective):
        return "is no objective: give a subclass of Objective"
    if "__dataclass_fields__" not in vars(objective):
        return "is not a dataclass itself: decorate it with @dataclass(frozen=True)"
    if missing := sorted(objective.__abstractmethods__):
        return f"has no {missing[0]}: define it"
    if issubclass(objective, (DistributionalObjective, SACv1Objective)):
        return (
            "needs other networks than variant='sac' with scalar critics has: write its losses without these"
        )
    columns: Any = objective.columns
    if not isinstance(columns, tuple) or not all(
        isinstance(key, str) and key.isidentifier() for key in columns
    ):
        return f"has columns = {columns!r}: give a tuple of identifiers"
    for key in columns:
        if key in RESERVED_COLUMNS or key.startswith(_RESERVED_PREFIXES) or columns.count(key) > 1:
            return f"has the column {key!r}, which the log has already: give another name"
    own = {f.name: f for f in fields(objective) if f.name not in field_defaults()}
    for option in options:
        if option not in own:
            known = f"its own fields are {', '.join(own)}" if own else "it has no fields of its own"
            return f"has no option {option!r}{nearest(option, list(own))}; {known}"
    for option, entry in own.items():
        if option not in options and entry.default is MISSING and entry.default_factory is MISSING:
            return f"has the field {option!r} without a default: give it a value, {option}=..."
    return ""


def own_options(objective: Objective) -> dict[str, Any]:
    """The values of those fields of an objective that are no arguments of a training call."""
    names = [f.name for f in fields(objective) if f.name not in field_defaults()]
    return {name: getattr(objective, name) for name in names}


def check_variant(variant: Any) -> None:
    """Check "name" or "module:name", after importing the module.

    Raises:
        ConfigError: if the module cannot be imported, or no variant has the name.
    """
    module, colon, name = variant.rpartition(":") if isinstance(variant, str) else ("", "", variant)
    if colon:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # a module may raise anything when it is imported
            raise ConfigError(
                f"variant={variant!r}: the module cannot be imported ({first_line(error)})"
            ) from None
    known = list(dict.fromkeys(entry.selected_by for entry in VARIANTS))
    if name not in known or (colon and name in BUILT_IN_VARIANTS):
        raise ConfigError(
            f"variant={variant!r}: give one of {', '.join(known)}, or 'module:name' if a module of yours "
            f"registers it with spinup.register_variant{nearest(str(name), known)}"
        )


def choose_variant(config: SACConfig, action_space: Box | Discrete) -> Variant:
    """The entry for `config.variant` and this action space.

    Raises:
        ConfigError: if there is none, `target_entropy` cannot be reached with these actions, or an option
            does not apply to it.
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
            source = f" of recipe={config.recipe!r}" if config.recipe is not None else ""
            raise ConfigError(
                f"critic={config.critic!r}{source} is defined for variant='sac' and continuous actions "
                "alone: leave it out"
            )
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
    """The losses of the variant; their options are the fields of `config` with their names, and its own."""
    names = [f.name for f in fields(variant.objective) if f.name in field_defaults()]
    return variant.objective(**{name: getattr(config, name) for name in names}, **variant.options)


def update_options(variant: Variant, config: SACConfig, action_space: Box | Discrete) -> UpdateOptions:
    """The settings of updates in `config`, with "auto" replaced by its value."""
    target = config.target_entropy
    if isinstance(target, str):
        target = variant.default_target_entropy(action_space) * config.target_entropy_factor
    learned = target if config.learns_alpha else None
    same = ("lr", "polyak", "policy_delay", "actor_first", "betas", "weight_decay", "lr_schedule", "lr_end")
    return UpdateOptions(
        **{name: getattr(config, name) for name in (*same, "normalize_weights")},
        alpha=config.initial_alpha,
        target_entropy=learned,
        total_updates=0 if config.lr_schedule == "constant" else max(config.total_updates, 1),
    )


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


def build_actor_critic(
    variant: Variant,
    constructor: Constructor,
    spaces: Spaces,
    ac_kwargs: dict[str, Any],
    config: SACConfig,
    layout: ImageLayout | None = None,
) -> tuple[Any, Constructor, dict[str, Any]]:
    """The actor-critic, with the constructor and keyword arguments that made it.

    MLPActorCritic is replaced by the variant's default networks. The constructor receives the keyword
    `critics` if it is not 2, and `critic` with its options if it is not "scalar". If observations have images
    (`layout` is given), the constructor makes an actor-critic of the encoder's features; the entry `encoder`
    of `ac_kwargs` holds the encoder's options.

    Raises:
        ConfigError: for an entry of `ac_kwargs` that the constructor does not take, or that the default
            networks cannot be built from, and if the constructor raises.
    """
    if not callable(constructor) or isinstance(constructor, nn.Module):
        what = f"a {type(constructor).__name__}" if isinstance(constructor, nn.Module) else repr(constructor)
        raise ConfigError(
            f"actor_critic={what}: give a class or function, to be called as "
            "actor_critic(observation_space, action_space, **ac_kwargs)"
        )
    if not isinstance(ac_kwargs, dict):
        check_ac_kwargs(ac_kwargs)
    if layout is not None:
        encoder = encoder_options(ac_kwargs.get("encoder", {}))
        given = {key: value for key, value in ac_kwargs.items() if key != "encoder"}
        features = features_space(layout.features(encoder["features"])), spaces[1]
        _, constructor, kwargs = build_actor_critic(variant, constructor, features, given, config)
        made_by = {"actor_critic": constructor, "ac_kwargs": kwargs}
        kwargs = {**made_by, "layout": layout.to_json(), "encoder": encoder}
        return EncodedActorCritic(*spaces, **kwargs), EncodedActorCritic, kwargs
    if constructor is MLPActorCritic:
        constructor = variant.actor_critic
    _check_arguments(constructor, spaces, ac_kwargs, config.recipe)
    ac_kwargs = _with_critics(constructor, ac_kwargs, config)
    if variant.has_value and str(ac_kwargs.get("critic_norm")).startswith("batch"):
        raise ConfigError(
            f"critic_norm={ac_kwargs['critic_norm']!r}: variant={variant.selected_by!r} has no batch "
            "statistics of critics; give 'layer', or leave critic_norm out"
        )
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
    _check_own_keywords(ac_kwargs)
    activation = ac_kwargs.get("activation", nn.ReLU)
    if not _makes_module(activation):
        raise ConfigError(f"activation={_name(activation)}: give a class of torch.nn, such as torch.nn.ReLU")
    state_dependent = ac_kwargs.get("state_dependent_std", True)
    if not isinstance(state_dependent, bool):
        raise ConfigError(f"state_dependent_std={state_dependent!r}: give True or False")
    for name in ("actor_norm", "critic_norm"):
        if ac_kwargs.get(name) is not None:
            check_choice(name, ac_kwargs[name], NORMS)
    for name in ("actor_dropout", "critic_dropout"):
        p = ac_kwargs.get(name, 0.0)
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0.0 <= p < 1.0:
            raise ConfigError(f"{name}={p!r}: give a probability >= 0 and < 1, such as 0.01")
    residual = ac_kwargs.get("residual", False)
    if not isinstance(residual, bool):
        raise ConfigError(f"residual={residual!r}: give True or False")
    for name in ("hidden_sizes", "critic_hidden_sizes") if residual else ():
        if ac_kwargs.get(name) is not None and len(set(ac_kwargs[name])) != 1:
            raise ConfigError(
                f"{name}={ac_kwargs[name]!r}: residual blocks are of one width; give it once for each block, "
                "such as [512, 512]"
            )


# Keyword arguments of a training call that are passed on to the constructor, by the value of `critic`.
_CRITIC_KEYWORDS = {
    "scalar": (), "categorical": ("critic", "atoms", "value_bound"), "quantile": ("critic", "quantiles"),
}  # fmt: skip


def _check_own_keywords(ac_kwargs: dict[str, Any]) -> None:
    for name in ("critics", "critic", "atoms", "value_bound", "quantiles"):
        if name in ac_kwargs:
            raise ConfigError(f"ac_kwargs has {name!r}: give {name} as a keyword argument of its own")


def _with_critics(constructor: Constructor, ac_kwargs: dict[str, Any], config: SACConfig) -> dict[str, Any]:
    added = {name: getattr(config, name) for name in _CRITIC_KEYWORDS[config.critic]}
    if config.critics != 2:
        added["critics"] = config.critics
    if added:
        _check_own_keywords(ac_kwargs)
    keywords = _keywords(constructor)
    for name, value in added.items():
        if keywords is not None and name not in keywords:
            offer = f"q1 to q{value}" if name == "critics" else "critics with the method `distribution`"
            raise ConfigError(
                f"{name}={value!r}: {_name(constructor)} takes no keyword {name!r}: leave {name} out, or let "
                f"the constructor take it and offer {offer}"
            )
    return {**ac_kwargs, **added}


def _check_arguments(
    constructor: Constructor, spaces: Spaces, ac_kwargs: dict[str, Any], recipe: str | None
) -> None:
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
            if recipe in RECIPES and key in RECIPES[recipe].settings.get("ac_kwargs", {}):
                raise ConfigError(
                    f"recipe={recipe!r} has {key!r} in ac_kwargs, which {_name(constructor)} does not take: "
                    f"let it take this keyword, or give single settings that `spinup recipes {recipe}` lists"
                )
            hint = nearest(str(key), known)
            raise ConfigError(
                f"ac_kwargs: {_name(constructor)} takes no {key!r}{hint}; it takes {', '.join(known)}"
            )


_DEFAULTS = tuple(variant.actor_critic for variant in _BUILT_IN)


def _keywords(constructor: Constructor) -> list[str] | None:
    """The keyword arguments that `constructor` takes in addition to the two spaces; None if it takes any."""
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
