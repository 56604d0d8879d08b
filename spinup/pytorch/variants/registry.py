"""Which variant of SAC a configuration and an action space ask for, and what does not go together."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

from gymnasium.spaces import Box, Discrete
from torch import nn

from spinup.config import SACConfig, check_ac_kwargs, nearest
from spinup.errors import ConfigError, SpinupError
from spinup.pytorch.agent import Objective, SoftQ
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.variants.discrete import DiscreteMLPActorCritic, DiscreteSoftQ, default_target_entropy
from spinup.pytorch.variants.sac_v1 import MLPValueActorCritic, SoftV

Constructor = Callable[..., Any]
_OURS = (MLPActorCritic, DiscreteMLPActorCritic, MLPValueActorCritic)


def choose_actor_critic(
    constructor: Constructor, spaces: tuple[Box, Box | Discrete], ac_kwargs: dict[str, Any], config: SACConfig
) -> Constructor:
    """The constructor to use: the one given, or what stands for the default MLPActorCritic here.

    Raises:
        ConfigError: for values that do not go together, and for an entry of `ac_kwargs` that the
            constructor does not take, or that the default networks cannot be built from.
    """
    if not callable(constructor):
        raise ConfigError(
            f"actor_critic={constructor!r}: give a class or function, to be called as "
            "actor_critic(observation_space, action_space, **ac_kwargs)"
        )
    if not isinstance(ac_kwargs, dict):
        check_ac_kwargs(ac_kwargs)
    discrete = isinstance(spaces[1], Discrete)
    if isinstance(spaces[1], Discrete):
        _check_discrete(spaces[1], ac_kwargs, config)
    if constructor is MLPActorCritic and discrete:
        constructor = DiscreteMLPActorCritic
    elif constructor is MLPActorCritic and config.variant == "sac_v1":
        constructor = MLPValueActorCritic
    _check_arguments(constructor, spaces, ac_kwargs)
    return constructor


def build_actor_critic(
    constructor: Constructor, spaces: tuple[Box, Box | Discrete], ac_kwargs: dict[str, Any]
) -> Any:
    """`constructor(*spaces, **ac_kwargs)`.

    Raises:
        ConfigError: if that raises.
    """
    try:
        return constructor(*spaces, **ac_kwargs)
    except SpinupError:
        raise
    except Exception as error:
        text = (str(error).strip().splitlines() or ["no message"])[0]
        raise ConfigError(
            f"actor_critic failed: {type(error).__name__}: {text}; mend {_name(constructor)} or its ac_kwargs"
        ) from error


def check_networks(ac_kwargs: Any) -> None:
    """Check what the default networks are built from.

    Raises:
        ConfigError: naming the first entry that cannot work, and what would.
    """
    check_ac_kwargs(ac_kwargs)
    activation = ac_kwargs.get("activation", nn.ReLU)
    if not _makes_module(activation):
        raise ConfigError(f"activation={_name(activation)}: give a class of torch.nn, such as torch.nn.ReLU")
    free = ac_kwargs.get("state_dependent_std", True)
    if not isinstance(free, bool):
        raise ConfigError(f"state_dependent_std={free!r}: give True or False")


def make_objective(ac: nn.Module, config: SACConfig, action_space: Box | Discrete) -> Objective:
    """The losses of the variant that `config` and the action space ask for, over the networks of `ac`."""
    if isinstance(action_space, Discrete):
        return DiscreteSoftQ(ac, config.gamma)
    return SoftV(ac, config.gamma) if config.variant == "sac_v1" else SoftQ(ac, config.gamma)


def target_entropy(config: SACConfig, action_space: Box | Discrete) -> float:
    """The entropy in nats that a learned alpha aims at.

    As given; else -act_dim for a Box (Haarnoja et al. 2018b), measured in tanh space, and a
    fixed fraction of log n for n discrete actions (`discrete.default_target_entropy`).
    """
    if not isinstance(config.target_entropy, str):
        return config.target_entropy
    if isinstance(action_space, Discrete):
        return default_target_entropy(int(action_space.n))
    return -float(math.prod(action_space.shape))


def _check_discrete(space: Discrete, ac_kwargs: dict[str, Any], config: SACConfig) -> None:
    if config.variant == "sac_v1":
        raise ConfigError(
            f"variant='sac_v1' has no form for discrete actions, and this environment's are {space}: "
            "leave variant out, where V is an exact sum over the actions"
        )
    if "state_dependent_std" in ac_kwargs:
        raise ConfigError(
            f"state_dependent_std is about Gaussian policies, and this environment's actions are {space}: "
            "leave it out of ac_kwargs"
        )
    most = math.log(int(space.n))
    if not isinstance(config.target_entropy, str) and not 0.0 <= config.target_entropy < most:
        raise ConfigError(
            f"target_entropy={config.target_entropy:g} cannot be met with {space.n} discrete actions, whose "
            f"entropy lies from 0 to log {space.n} = {most:.3f}: give a number between, or 'auto'"
        )


def _check_arguments(constructor: Constructor, spaces: tuple[Any, Any], ac_kwargs: dict[str, Any]) -> None:
    if constructor in _OURS:
        check_networks(ac_kwargs)
    parameters = inspect.signature(constructor).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    known = list(parameters)[len(spaces) :]
    for key in ac_kwargs:
        if key not in known:
            hint = nearest(str(key), known)
            raise ConfigError(
                f"ac_kwargs: {_name(constructor)} takes no {key!r}{hint}; it takes {', '.join(known)}"
            )


def _makes_module(activation: Any) -> bool:
    try:
        return isinstance(activation(), nn.Module)
    except Exception:  # whatever it is, it is not called with nothing
        return False


def _name(thing: Any) -> str:
    return str(getattr(thing, "__name__", None) or repr(thing))
