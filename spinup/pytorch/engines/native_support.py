"""Checks whether the native engine supports an agent's networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from spinup.pytorch.agent import Agent
from spinup.pytorch.engines.native_layers import (
    ACTIVATIONS,
    critic_layers,
    critic_net,
    layers_of,
    parameters_of,
)
from spinup.pytorch.networks.actors import CategoricalActor, SquashedGaussianActor, StateIndependentLogStd
from spinup.pytorch.networks.distributional import QuantileQFunction
from spinup.pytorch.networks.layers import BatchNorm, BatchRenorm, Dropout
from spinup.pytorch.networks.mlp import MLPDiscreteQFunction, MLPQFunction, MLPValueFunction
from spinup.pytorch.variants.distributional import QuantileSACObjective
from spinup.pytorch.variants.objective import Objective

SCALARS = {torch.float32: "float", torch.float64: "double"}  # of parameters, and their names in C++


def unsupported_networks(agent: Agent, objective: Objective) -> str | None:
    """Why the native engine does not support the networks, in a few words; None if it does."""
    ac, value = agent.ac, agent.networks.value
    critics: list[Any] = list(agent.networks.critics.children())
    quantiles = isinstance(objective, QuantileSACObjective)
    of_critics = (QuantileQFunction,) if quantiles else (MLPQFunction, MLPDiscreteQFunction)
    parts = [
        (ac.pi, (SquashedGaussianActor, CategoricalActor)),
        *((critic, of_critics) for critic in critics),
        *([(value, (MLPValueFunction,))] if value is not None else []),
    ]
    if any(type(part) not in kinds for part, kinds in parts):
        return "a part of the actor-critic was replaced"
    discrete = isinstance(ac.pi, CategoricalActor)
    if any(isinstance(critic, MLPDiscreteQFunction) is not discrete for critic in critics):
        return "a part of the actor-critic was replaced"
    if not discrete:
        heads = type(ac.pi.mu_layer), type(ac.pi.log_std_layer)
        if heads[0] is not nn.Linear or heads[1] not in (nn.Linear, StateIndependentLogStd):
            return "a head of the policy was replaced"
        if ac.pi.log_std_range is not None:
            return "it implements no log_std_range"
    if has_layer(Dropout, ac.pi) or (value is not None and has_layer(Dropout, *critics, value)):
        return "it implements dropout only in critics, without a value network"
    if has_layer(BatchNorm, *critics) and objective.target_networks:
        return "it implements batch statistics of critics only without target networks"
    if value is not None and has_layer(BatchNorm, ac):
        return "it implements no batch statistics with a value network"
    sequences = [module for module in ac.modules() if isinstance(module, nn.Sequential)]
    for net in sequences:
        if reason := _unsupported_sequence(list(net)):
            return reason
    nets = [critic_net(part) for part in (*critics, *([] if value is None else [value]))]
    if any(type(net[-1]) is not nn.Linear for net in (*nets, *([ac.pi.logits] if discrete else []))):
        return "the last layer of a network is not linear"
    if len({len(critic_layers(critic)) for critic in critics}) > 1:
        return "the critics differ in depth"
    if any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in ac.modules()):
        return "a hook is registered on a network"
    return _unsupported_parameters(agent)


def has_layer(kind: type[nn.Module], *networks: nn.Module) -> bool:
    """Whether any network has a module of this class."""
    return any(isinstance(module, kind) for network in networks for module in network.modules())


def _unsupported_sequence(modules: list[Any]) -> str | None:
    width = next((module.in_features for module in modules if type(module) is nn.Linear), 0)
    for before, module in zip([None, *modules], modules, strict=False):
        if type(module) is nn.Linear:
            width = module.out_features
            if module.bias is None:
                return "a linear layer has no bias"
            continue
        if type(module) is Dropout:
            if type(before) is not nn.Linear:
                return "dropout does not follow a linear layer"
            continue
        if type(module) is nn.LayerNorm:
            affine = module.elementwise_affine and module.bias is not None
            after_linear = type(before) in (nn.Linear, Dropout) and module.normalized_shape == (width,)
            if not after_linear or not affine:
                return "a LayerNorm does not follow a linear layer, or lacks parameters"
            continue
        if type(module) in (BatchNorm, BatchRenorm):
            after_activation = before is None or type(before) in ACTIVATIONS
            if not after_activation or len(module.weight) != (width or len(module.weight)):
                return "a batch normalization does not follow an activation of its size"
            continue
        if type(module) not in ACTIVATIONS:
            return f"it does not implement the layer {type(module).__name__}"
        if type(before) not in (nn.Linear, Dropout, nn.LayerNorm):
            return "an activation does not follow a linear layer"
        for attribute, value in ACTIVATIONS[type(module)][1].items():
            if (given := getattr(module, attribute)) != value:
                return f"it does not implement {type(module).__name__} with {attribute}={given!r}"
    return None


def _unsupported_parameters(agent: Agent) -> str | None:
    layers = [layer for layers in layers_of(agent).values() for layer in layers]
    described = [p for layer in layers for p in parameters_of(layer).values()]
    given = list(agent.ac.parameters())
    if len(given) != len(described) or {id(p) for p in given} != {id(p) for p in described}:
        return "parameters are shared, were added or were removed"
    if not all(p.requires_grad for p in given):
        return "a parameter is frozen"
    if len({p.dtype for p in given}) > 1 or given[0].dtype not in SCALARS:
        return f"the parameters are {given[0].dtype}, not all float32 or all float64"
    statistics = [
        x for m in agent.ac.modules() if isinstance(m, BatchNorm) for x in (m.running_mean, m.running_var)
    ]
    if any(x.dtype != given[0].dtype for x in statistics):
        return "running statistics have another dtype than the parameters"
    if not all(x.is_contiguous() for x in (*given, *statistics)):
        return "a parameter or running statistic is not contiguous"
    return None
