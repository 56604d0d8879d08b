"""Builds the actor-critic of a run, and checks its arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from gymnasium.spaces import Box, Discrete
from torch import nn

from spinup.checks import check_choice, check_switch, is_finite
from spinup.collect.collector import EnvCollector
from spinup.config import SACConfig, check_ac_kwargs
from spinup.envs.spaces import policy_columns
from spinup.errors import ConfigError, SpinupError, first_line, name_of
from spinup.hints import nearest
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.networks.asymmetric import AsymmetricActorCritic
from spinup.pytorch.networks.encoded import EncodedActorCritic, encoder_options, features_space
from spinup.pytorch.networks.layers import INITS, NORMS
from spinup.pytorch.torch_settings import preserved_generators
from spinup.pytorch.validation import check_actor_critic
from spinup.pytorch.variants.registry import BUILT_IN, Variant
from spinup.recipes import RECIPES
from spinup.replay.image_layout import ImageLayout

Constructor = Callable[..., Any]
Spaces = tuple[Box, Box | Discrete]


class BuiltNetworks(NamedTuple):
    """An actor-critic, and the constructor and keyword arguments that made it."""

    ac: Any
    constructor: Constructor
    kwargs: dict[str, Any]


def make_networks(
    config: SACConfig,
    variant: Variant,
    constructor: Constructor,
    ac_kwargs: dict[str, Any],
    collector: EnvCollector,
) -> BuiltNetworks:
    """The actor-critic of a run on the environments of `collector`, checked by calls of its networks.

    Raises:
        ConfigError: for invalid `ac_kwargs`, if the constructor raises, or if a network returns values of
            another shape than it must.
        EnvError: if the environment has no such `critic_keys`.
    """
    spaces, layout = (collector.observation_space, collector.actions.space), collector.layout
    if layout is not None and config.critic_keys:
        raise ConfigError(
            f"critic_keys={config.critic_keys} cannot be combined with images, whose encoder the policy "
            "shares with the critics: leave critic_keys out"
        )
    built = _build(variant, constructor, spaces, ac_kwargs, config, layout)
    if config.critic_keys:
        columns = policy_columns(collector.vector.original_space, config.critic_keys)
        kwargs: dict[str, Any] = {
            "actor_critic": built.constructor, "ac_kwargs": built.kwargs, "columns": columns,
        }  # fmt: skip
        built = BuiltNetworks(AsymmetricActorCritic(*spaces, **kwargs), AsymmetricActorCritic, kwargs)
    outputs = {"categorical": config.atoms, "quantile": config.quantiles}.get(config.critic)
    with preserved_generators():
        check_actor_critic(
            built.ac, *spaces, critics=config.critics, has_value=variant.has_value, critic_outputs=outputs
        )
    return built


def _build(
    variant: Variant,
    constructor: Constructor,
    spaces: Spaces,
    ac_kwargs: dict[str, Any],
    config: SACConfig,
    layout: ImageLayout | None = None,
) -> BuiltNetworks:
    """Build the networks.

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
        _, constructor, kwargs = _build(variant, constructor, features, given, config)
        made_by = {"actor_critic": constructor, "ac_kwargs": kwargs}
        kwargs = {**made_by, "layout": layout.to_json(), "encoder": encoder}
        return BuiltNetworks(EncodedActorCritic(*spaces, **kwargs), EncodedActorCritic, kwargs)
    if constructor is MLPActorCritic:
        constructor = variant.actor_critic
    ac_kwargs = _applicable(constructor, ac_kwargs, config.recipe)
    _check_arguments(constructor, spaces, ac_kwargs, config.recipe)
    ac_kwargs = _with_critics(constructor, ac_kwargs, config)
    if variant.has_value and str(ac_kwargs.get("critic_norm")).startswith("batch"):
        raise ConfigError(
            f"critic_norm={ac_kwargs['critic_norm']!r}: variant={variant.selected_by!r} has no batch "
            "statistics of critics; give 'layer', or leave critic_norm out"
        )
    try:
        return BuiltNetworks(constructor(*spaces, **ac_kwargs), constructor, ac_kwargs)
    except SpinupError:
        raise
    except Exception as error:
        raise ConfigError(
            f"actor_critic failed: {first_line(error)}; fix {name_of(constructor)} or its ac_kwargs"
        ) from error


def check_networks(ac_kwargs: Any) -> None:
    """Check the keyword arguments of the default networks.

    Raises:
        ConfigError: naming the first entry that is invalid, and what is valid.
    """
    check_ac_kwargs(ac_kwargs)
    _check_own_keywords(ac_kwargs)
    activation = ac_kwargs.get("activation", nn.ReLU)
    if not _makes_module(activation):
        given = name_of(activation)
        raise ConfigError(f"activation={given}: give a class of torch.nn, such as torch.nn.ReLU")
    check_switch("state_dependent_std", ac_kwargs.get("state_dependent_std", True))
    for name in ("actor_norm", "critic_norm"):
        if ac_kwargs.get(name) is not None:
            check_choice(name, ac_kwargs[name], NORMS)
    for name in ("actor_dropout", "critic_dropout"):
        p = ac_kwargs.get(name, 0.0)
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0.0 <= p < 1.0:
            raise ConfigError(f"{name}={p!r}: give a probability >= 0 and < 1, such as 0.01")
    if ac_kwargs.get("init") is not None:
        check_choice("init", ac_kwargs["init"], tuple(INITS))
    if ac_kwargs.get("log_std_range") is not None:
        _check_range("log_std_range", ac_kwargs["log_std_range"])
    residual = ac_kwargs.get("residual", False)
    check_switch("residual", residual)
    for name in ("hidden_sizes", "critic_hidden_sizes") if residual else ():
        if ac_kwargs.get(name) is not None and len(set(ac_kwargs[name])) != 1:
            raise ConfigError(
                f"{name}={ac_kwargs[name]!r}: residual blocks are of one width; give it once for each block, "
                "such as [512, 512]"
            )


def _check_range(name: str, value: Any) -> None:
    pair = isinstance(value, (tuple, list)) and len(value) == 2
    if not pair or not all(is_finite(bound) for bound in value) or value[0] >= value[1]:
        raise ConfigError(f"{name}={value!r}: give two increasing numbers, such as (-10, 2)")


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
                f"{name}={value!r}: {name_of(constructor)} takes no keyword {name!r}: leave {name} out, or "
                f"let the constructor take it and offer {offer}"
            )
    return {**ac_kwargs, **added}


def _check_arguments(
    constructor: Constructor, spaces: Spaces, ac_kwargs: dict[str, Any], recipe: str | None
) -> None:
    if constructor in _DEFAULTS:
        for name in _OF_GAUSSIANS if isinstance(spaces[1], Discrete) else ():
            if name in ac_kwargs:
                raise ConfigError(
                    f"{name} applies to Gaussian policies, and this environment's actions are {spaces[1]}: "
                    "leave it out of ac_kwargs"
                )
        check_networks(ac_kwargs)
    known = _keywords(constructor)
    for key in ac_kwargs:
        if known is not None and key not in known:
            if recipe in RECIPES and key in RECIPES[recipe].settings.get("ac_kwargs", {}):
                raise ConfigError(
                    f"recipe={recipe!r} has {key!r} in ac_kwargs, which {name_of(constructor)} does not "
                    f"take: let it take this keyword, or give single settings that `spinup recipes {recipe}` "
                    "lists"
                )
            hint = nearest(str(key), known)
            raise ConfigError(
                f"ac_kwargs: {name_of(constructor)} takes no {key!r}{hint}; it takes {', '.join(known)}"
            )


_OF_GAUSSIANS = ("state_dependent_std", "log_std_range")
# Settings of recipes that are left out for networks that do not have them.
_DISPENSABLE = ("init", "log_std_range")


def _applicable(constructor: Constructor, ac_kwargs: dict[str, Any], recipe: str | None) -> dict[str, Any]:
    """`ac_kwargs` without the recipe's settings of `_DISPENSABLE` that the constructor does not take."""
    of_recipe = RECIPES[recipe].settings.get("ac_kwargs", {}) if recipe in RECIPES else {}
    known = _keywords(constructor)
    left_out = [
        name
        for name in _DISPENSABLE
        if name in of_recipe and known is not None and name not in known
        and repr(_as_json(ac_kwargs.get(name))) == repr(_as_json(of_recipe[name]))
    ]  # fmt: skip
    return {name: value for name, value in ac_kwargs.items() if name not in left_out}


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


_DEFAULTS = tuple(variant.actor_critic for variant in BUILT_IN)


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
