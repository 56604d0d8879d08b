"""Converts networks to the sequences of layers that csrc/ computes, as ctypes structs."""

from __future__ import annotations

import ctypes
import operator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spinup.pytorch.agent import Agent
from spinup.pytorch.networks.actors import CategoricalActor, StateIndependentLogStd
from spinup.pytorch.networks.layers import BatchNorm, BatchRenorm, Dropout
from spinup.pytorch.networks.mlp import MLPValueFunction

# In the order of the enumeration `Kind` in csrc/activations.h: for each class, the attribute that is passed
# as `constant`, and the attributes that must have the given values.
ACTIVATIONS: dict[type[nn.Module], tuple[str | None, dict[str, Any]]] = {
    nn.Identity: (None, {}), nn.ReLU: (None, {}), nn.CELU: ("alpha", {}), nn.ELU: ("alpha", {}),
    nn.GELU: (None, {"approximate": "none"}), nn.Hardswish: (None, {}),
    nn.Hardtanh: (None, {"min_val": -1.0, "max_val": 1.0}), nn.LeakyReLU: ("negative_slope", {}),
    nn.Mish: (None, {}), nn.PReLU: (None, {"num_parameters": 1}), nn.ReLU6: (None, {}), nn.SELU: (None, {}),
    nn.SiLU: (None, {}), nn.Sigmoid: (None, {}), nn.Softplus: (None, {"beta": 1.0, "threshold": 20.0}),
    nn.Softsign: (None, {}), nn.Tanh: (None, {}),
}  # fmt: skip
_KINDS = list(ACTIVATIONS)


class Parameter(ctypes.Structure):
    """The struct of that name in csrc/adam.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("p", "m", "v", "target")]


class BatchNormArguments(ctypes.Structure):
    """The struct of that name in csrc/batch_norm.h."""

    _fields_ = [
        *((name, Parameter) for name in ("scale", "shift")),
        *((name, ctypes.c_void_p) for name in ("mean", "var", "batches")),
        *((name, ctypes.c_double) for name in ("eps", "momentum", "r_max", "d_max")),
        ("warm_up", ctypes.c_long),
    ]


class LayerArguments(ctypes.Structure):
    """The struct of that name in csrc/layers.h."""

    _fields_ = [
        *((name, Parameter) for name in ("weight", "bias", "slope", "scale", "shift")),
        ("batch_norm", BatchNormArguments),
        *((name, ctypes.c_double) for name in ("constant", "eps", "dropout")),
        *((name, ctypes.c_long) for name in ("inputs", "outputs", "kind")),
    ]


class FusedLayer(NamedTuple):
    """A linear layer or a learned vector, followed by dropout, LayerNorm, activation and batch normalization.

    Each of these is optional. Without a linear layer, it is the normalization of a network's inputs.
    """

    linear: nn.Module | None
    activation: nn.Module | None = None
    norm: nn.LayerNorm | None = None
    dropout: float = 0.0
    batch_norm: BatchNorm | None = None


def _sequence(net: nn.Sequential) -> list[FusedLayer]:
    """The layers of `net` in groups: a normalization of the inputs, if any, then one per linear layer."""
    found: list[FusedLayer] = []
    for layer in net:
        if isinstance(layer, nn.Linear):
            found.append(FusedLayer(layer))
        elif isinstance(layer, BatchNorm):
            before = found.pop() if found else FusedLayer(None)
            found.append(before._replace(batch_norm=layer))
        elif isinstance(layer, nn.LayerNorm):
            found[-1] = found[-1]._replace(norm=layer)
        elif isinstance(layer, Dropout):
            found[-1] = found[-1]._replace(dropout=layer.p)
        else:
            found[-1] = found[-1]._replace(activation=layer)
    return found


def _actor_layers(pi: Any) -> list[FusedLayer]:
    if isinstance(pi, CategoricalActor):
        return _sequence(pi.logits)
    return [*_sequence(pi.net), FusedLayer(pi.mu_layer), FusedLayer(pi.log_std_layer)]


def critic_net(critic: Any) -> nn.Sequential:
    """The modules of a critic or a value network, in sequence."""
    net: nn.Sequential = critic.v if isinstance(critic, MLPValueFunction) else critic.q
    return net


def critic_layers(critic: Any) -> list[FusedLayer]:
    """The layers of a critic or a value network."""
    return _sequence(critic_net(critic))


def layers_of(agent: Agent) -> dict[str, list[FusedLayer]]:
    """The layers of the policy, all critics and the value network, by field of `Arguments`."""
    value = agent.networks.value
    return {
        "actor": _actor_layers(agent.ac.pi),
        "critic": [layer for critic in agent.networks.critics.children() for layer in critic_layers(critic)],
        "value": [] if value is None else critic_layers(value),
    }


class Description:
    """The structs of an agent's networks, valid as long as the agent has the same modules and tensors.

    Attributes:
        networks: arrays of `LayerArguments`, by field of `Arguments`.
        shapes: the values on which the size of the workspace depends.
    """

    def __init__(self, agent: Agent) -> None:
        self.networks = _describe_networks(agent)
        self.shapes: tuple[Any, ...] = ()
        for x in (layer for network in self.networks.values() for layer in network):
            present = map(bool, (x.weight.p, x.weight.target, x.scale.p, x.batch_norm.mean))
            self.shapes += (x.inputs, x.outputs, x.kind, *present)
        modules = [module for root in _roots(agent) if root is not None for module in root.modules()]
        contents = [x for m in modules for x in (m._modules, m._parameters, m._buffers)]
        self._contents = [x for x in contents if x]
        self._constants = [(m, name) for m in modules for name in _constants_of(m)]
        self._parts = self._parts_of(agent)
        self._tensors = [part for part in self._parts if isinstance(part, Tensor)]
        self._numbers = self._numbers_now()

    def is_of(self, agent: Agent) -> bool:
        """Whether `agent` has the same modules, constants, and tensors at the same addresses as before."""
        parts = self._parts_of(agent)
        same = len(parts) == len(self._parts) and all(map(operator.is_, parts, self._parts))
        return same and self._numbers_now() == self._numbers

    def _parts_of(self, agent: Agent) -> list[Any]:
        """The modules and tensors that a description depends on."""
        found = _roots(agent)
        for contents in self._contents:
            found += contents.values()
        for optimizer in (agent.optimizers.actor, agent.optimizers.critic):
            for p, state in optimizer.state.items():
                found += p, state["exp_avg"], state["exp_avg_sq"]
        return found

    def _numbers_now(self) -> list[float]:
        addresses: list[float] = [tensor.data_ptr() for tensor in self._tensors]
        return addresses + [getattr(module, name) for module, name in self._constants]


def _roots(agent: Agent) -> list[Any]:
    return [agent.ac.pi, agent.networks.critics, agent.target, agent.networks.value]


def _constants_of(module: nn.Module) -> tuple[str, ...]:
    """Names of the attributes of a module that are copied into a struct."""
    if isinstance(module, BatchRenorm):
        return "eps", "momentum", "warm_up", "R_MAX", "D_MAX"
    if isinstance(module, BatchNorm):
        return "eps", "momentum"
    if isinstance(module, nn.LayerNorm):
        return ("eps",)
    if isinstance(module, Dropout):
        return ("p",)
    attribute = ACTIVATIONS.get(type(module), (None,))[0]
    return () if attribute is None else (attribute,)


def _describe_networks(agent: Agent) -> dict[str, Any]:
    """Arrays of `LayerArguments`, by field of `Arguments`."""
    averaged = "critic" if agent.networks.value is None else "value"
    target = agent.target if agent.target_params else nn.ModuleList()
    copies_of = target.children() if averaged == "critic" else [target]
    targets = [layer for critic in copies_of for layer in critic_layers(critic)]
    found = {}
    for name, layers in layers_of(agent).items():
        optimizer = agent.optimizers.actor if name == "actor" else agent.optimizers.critic
        copies = targets if name == averaged and targets else [None] * len(layers)
        described = [_describe(*pair, optimizer) for pair in zip(layers, copies, strict=True)]
        found[name] = (LayerArguments * len(described))(*described)
    return found


def _describe(layer: FusedLayer, target: FusedLayer | None, optimizer: torch.optim.Adam) -> LayerArguments:
    kind = nn.Identity if layer.activation is None else type(layer.activation)
    attribute = ACTIVATIONS[kind][0]
    found = LayerArguments(
        kind=_KINDS.index(kind),
        constant=getattr(layer.activation, attribute) if attribute else 0.0,
        eps=0.0 if layer.norm is None else layer.norm.eps,
        dropout=layer.dropout,
    )
    copies: dict[str, Any] = {} if target is None else parameters_of(target)
    for name, parameter in parameters_of(layer).items():
        struct, _, field = name.rpartition(".")
        to = getattr(found, struct) if struct else found
        setattr(to, field, describe_parameter(parameter, optimizer, copies.get(name)))
    if layer.batch_norm is not None:
        _describe_statistics(found.batch_norm, layer.batch_norm)
    linear: Any = layer.linear
    if linear is None:
        found.inputs = found.outputs = len(layer.batch_norm.weight)  # type: ignore[union-attr]
    elif isinstance(linear, nn.Linear):
        found.inputs, found.outputs = linear.in_features, linear.out_features
    else:
        found.inputs, found.outputs = 0, len(linear.value)
    return found


def _describe_statistics(to: BatchNormArguments, norm: BatchNorm) -> None:
    to.mean, to.var = norm.running_mean.data_ptr(), norm.running_var.data_ptr()
    to.eps, to.momentum = norm.eps, norm.momentum
    if isinstance(norm, BatchRenorm):
        to.batches, to.warm_up = norm.batches.data_ptr(), int(norm.warm_up)
        to.r_max, to.d_max = norm.R_MAX, norm.D_MAX


def parameters_of(layer: FusedLayer) -> dict[str, nn.Parameter]:
    """The parameters of a layer, by field of `LayerArguments`, such as "weight" or "batch_norm.scale"."""
    linear: Any = layer.linear
    found: dict[str, nn.Parameter] = {}
    if isinstance(linear, StateIndependentLogStd):
        found = {"bias": linear.value}
    elif linear is not None:
        found = {"weight": linear.weight, "bias": linear.bias}
    if isinstance(layer.activation, nn.PReLU):
        found["slope"] = layer.activation.weight
    if layer.norm is not None:
        found |= {"scale": layer.norm.weight, "shift": layer.norm.bias}
    if layer.batch_norm is not None:
        found |= {"batch_norm.scale": layer.batch_norm.weight, "batch_norm.shift": layer.batch_norm.bias}
    return found


def describe_parameter(
    p: nn.Parameter, optimizer: torch.optim.Adam, target: Tensor | None = None
) -> Parameter:
    """Addresses of a parameter, of its Adam moments, and of its polyak average in a target network."""
    state = optimizer.state[p]
    tensors = (p, state["exp_avg"], state["exp_avg_sq"], target)
    return Parameter(*(None if tensor is None else tensor.data_ptr() for tensor in tensors))
