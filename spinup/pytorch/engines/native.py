"""The native engine: gradients in closed form, as machine code that is compiled once per machine.

csrc/ computes a whole block of updates per call, in place on the agent's tensors. It uses torch only for
tensor storage. A network is described to it as a sequence of layers.
"""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, NamedTuple, final

import torch
from numpy.random import Generator
from torch import Tensor, nn

from spinup.interfaces import Metrics
from spinup.pytorch import losses
from spinup.pytorch.agent import Agent
from spinup.pytorch.engines.engine import Engine, Supported
from spinup.pytorch.engines.native_build import Library, build, missing_compiler
from spinup.pytorch.networks.actor_critic import (
    DiscreteMLPActorCritic,
    MLPActorCritic,
    MLPValueActorCritic,
)
from spinup.pytorch.networks.actors import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    CategoricalActor,
    FreeVector,
    SquashedGaussianActor,
)
from spinup.pytorch.networks.distributional import QuantileQFunction
from spinup.pytorch.networks.layers import BatchNorm, BatchRenorm, Dropout
from spinup.pytorch.networks.mlp import MLPDiscreteQFunction, MLPQFunction, MLPValueFunction
from spinup.pytorch.variants.discrete import DiscreteSACObjective
from spinup.pytorch.variants.distributional import QuantileSACObjective
from spinup.pytorch.variants.objective import Objective
from spinup.pytorch.variants.sac import SACObjective
from spinup.pytorch.variants.sac_v1 import SACv1Objective
from spinup.replay.transition import Batches

_SCALARS = {torch.float32: "float", torch.float64: "double"}
_BATCH = ("obs", "action", "reward", "discount", "next_obs")
_OPTIONAL = ("noise", "weight", "critic_subset", "dropout_seed")
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
# Names of fields of the structs in csrc/, in order; a test compares names and offsets.
_BOUNDS = ("center", "half_range", "low", "high")
_NETWORKS = ("actor", "critic", "value")
_ARRAYS = (*_BATCH, *_OPTIONAL, *_BOUNDS, "lr", *_NETWORKS, "fixed_alpha")
_OUTPUTS = ("log_prob", "q_out", "target_out", "q_pi", "alpha", "loss_out")
_NUMBERS = (
    "beta1", "beta2", "weight_decay", "polyak", "target_entropy", "log_std_min", "log_std_max",
    "actor_steps", "critic_steps", "alpha_steps",
)  # fmt: skip
_SIZES = (
    "n", "batch", "obs_dim", "act_dim", "discrete", "trunk_layers", "critics", "critic_layers",
    "value_layers", "subset_size", "workers", "policy_delay", "quantiles", "target_quantiles",
)  # fmt: skip


class Parameter(ctypes.Structure):
    """The struct of that name in csrc/adam.h."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("p", "m", "v", "target")]


class Normalization(ctypes.Structure):
    """The struct `BatchNormArguments` in csrc/batch_norm.h."""

    _fields_ = [
        *((name, Parameter) for name in ("scale", "shift")),
        *((name, ctypes.c_void_p) for name in ("mean", "var", "batches")),
        *((name, ctypes.c_double) for name in ("eps", "momentum", "r_max", "d_max")),
        ("warm_up", ctypes.c_long),
    ]


class Layer(ctypes.Structure):
    """The struct `LayerArguments` in csrc/layers.h."""

    _fields_ = [
        *((name, Parameter) for name in ("weight", "bias", "slope", "scale", "shift")),
        ("batch_norm", Normalization),
        *((name, ctypes.c_double) for name in ("constant", "eps", "dropout")),
        *((name, ctypes.c_long) for name in ("inputs", "outputs", "kind")),
    ]


class Arguments(ctypes.Structure):
    """The struct of that name in csrc/update.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in _ARRAYS),
        ("log_alpha", Parameter),
        *((name, ctypes.c_void_p) for name in (*_OUTPUTS, "workspace")),
        *((name, ctypes.c_double) for name in _NUMBERS),
        *((name, ctypes.c_long) for name in _SIZES),
    ]


class Linear(NamedTuple):
    """A linear layer, or a learned vector, and what follows it: dropout, normalizations, activation.

    Without a linear layer, it is the normalization of a network's inputs.
    """

    linear: nn.Module | None
    activation: nn.Module | None = None
    norm: nn.LayerNorm | None = None
    dropout: float = 0.0
    batch_norm: BatchNorm | None = None


@final
class NativeEngine(Engine):
    """Updates of the default networks on the CPU. The first run on a machine takes seconds to compile."""

    name: ClassVar[str] = "native"
    description: ClassVar[str] = "machine code for this processor"
    supported: ClassVar[Supported] = Supported(
        (MLPActorCritic, MLPValueActorCritic, DiscreteMLPActorCritic),
        (SACObjective, SACv1Objective, DiscreteSACObjective, QuantileSACObjective),
        frozenset((*_BATCH, *_OPTIONAL)),
        frozenset(
            {
                "lr",
                "lr_schedule",
                "lr_end",
                "total_updates",
                "betas",
                "weight_decay",
                "polyak",
                "alpha",
                "target_entropy",
                "critics",
                "target_critics",
                "target_networks",
                "policy_delay",
                "reward_scale",
                "drop_quantiles",
            }
        ),
        ("cpu",),
    )

    def __init__(self, objective: Objective, threads: int = 1) -> None:
        super().__init__(objective, threads)
        self._libraries: dict[torch.dtype, Library] = {}
        self._workspaces: dict[tuple[Any, ...], Tensor] = {}
        self._has_dropout = False

    @classmethod
    def unsupported_reason(cls, agent: Agent, objective: Objective, fields: tuple[str, ...]) -> str | None:
        return (
            super().unsupported_reason(agent, objective, fields)
            or _unsupported_layers(agent, objective)
            or missing_compiler()
        )

    def prepare(self, agent: Agent, batch_size: int) -> str:
        self._has_dropout = _has(Dropout, agent.networks.critics)
        seconds = self._load(agent.like.dtype).seconds
        return f", compiled in {seconds:.1f} s, once for this machine" if seconds else ""

    def draw_noise(self, batches: Batches, rng: Generator) -> Batches:
        drawn = super().draw_noise(batches, rng)
        if self._has_dropout:
            drawn["dropout_seed"] = rng.integers(2**32, size=len(batches["reward"]))
        return drawn

    def _load(self, dtype: torch.dtype) -> Library:
        if dtype not in self._libraries:
            library = build("update.cpp", {"SCALAR": _SCALARS[dtype]})
            library.code.workspace_size.restype, library.code.update.restype = ctypes.c_long, None
            self._libraries[dtype] = library
        return self._libraries[dtype]

    def update(self, agent: Agent, batches: Batches) -> Metrics:
        networks = _describe_networks(agent)
        wanted = {*_BATCH, *self.objective.noise_fields()}
        if any(layer.dropout > 0 for layer in networks["critic"]):
            wanted.add("dropout_seed")
        if not wanted <= set(batches) <= {*wanted, "weight"}:
            raise ValueError(f"batches hold {sorted(batches)}, and the native engine reads {sorted(wanted)}")
        inputs = _inputs(agent, batches, self.objective.reward_scale)
        logged = _outputs(agent, self.objective, *inputs["reward"].shape)
        tensors = inputs | logged
        arguments = Arguments(
            **{name: tensor.data_ptr() for name, tensor in tensors.items()},
            **{name: ctypes.addressof(layers) for name, layers in networks.items() if len(layers)},
            **_numbers(agent),
            **self._sizes(networks, inputs, agent.options.policy_delay),
        )
        log_alpha = agent.temperature.log_alpha
        if log_alpha is not None:
            arguments.log_alpha = _parameter(log_alpha, agent.optimizers.alpha)
        arguments.workspace = self._workspace(agent.like.dtype, arguments, networks).data_ptr()
        self._load(agent.like.dtype).code.update(ctypes.byref(arguments))
        steps, delay = int(arguments.critic_steps), agent.options.policy_delay
        if agent.options.lr_schedule != "constant":
            agent.set_learning_rate(steps + arguments.n - 1)
        improved = [k for k in range(arguments.n) if (steps + k + 1) % delay == 0]
        for name, optimizer in agent.optimizers._asdict().items():
            for state in {} if optimizer is None else optimizer.state.values():
                state["step"] += arguments.n if name == "critic" else len(improved)
        metrics = _metrics(logged, inputs.get("weight"), agent.temperature.target_entropy, improved)
        return {key: value.numpy() for key, value in metrics.items()}

    def _sizes(self, networks: dict[str, Any], inputs: dict[str, Tensor], delay: int) -> dict[str, int]:
        n, batch_size = inputs["reward"].shape
        critics, discrete = self.objective.critics, isinstance(self.objective, DiscreteSACObjective)
        quantiles = kept = 0
        if isinstance(self.objective, QuantileSACObjective):
            quantiles = networks["critic"][-1].outputs
            kept = self.objective.target_critics * (quantiles - self.objective.drop_quantiles)
        values = (
            n, batch_size, inputs["obs"].shape[-1], networks["actor"][-1].outputs, int(discrete),
            len(networks["actor"]) - (1 if discrete else 2), critics, len(networks["critic"]) // critics,
            len(networks["value"]), self.objective.target_critics, min(max(2, critics), self.threads), delay,
            quantiles, kept,
        )  # fmt: skip
        return dict(zip(_SIZES, values, strict=True))

    def _workspace(self, dtype: torch.dtype, arguments: Arguments, networks: dict[str, Any]) -> Tensor:
        """Memory for intermediate values, initially zero; one tensor for each combination of sizes."""
        layers: list[Any] = []
        for x in (layer for network in networks.values() for layer in network):
            present = map(bool, (x.weight.p, x.weight.target, x.scale.p, x.batch_norm.mean))
            layers.append((x.inputs, x.outputs, x.kind, *present))
        key = dtype, arguments.n == 1, *(getattr(arguments, name) for name in _SIZES[1:]), *layers
        if key not in self._workspaces:
            size = self._load(dtype).code.workspace_size(ctypes.byref(arguments))
            self._workspaces[key] = torch.zeros(size, dtype=dtype)
        return self._workspaces[key]


def _inputs(agent: Agent, batches: Batches, reward_scale: float) -> dict[str, Tensor]:
    """The batches, learning rates, the bounds of actions and a fixed alpha, by field of `Arguments`."""
    found = {name: torch.as_tensor(values).to(agent.like.dtype) for name, values in batches.items()}
    if reward_scale != 1.0:
        found["reward"] = reward_scale * found["reward"]
    for name in {"critic_subset", "dropout_seed"} & set(batches):
        found[name] = torch.as_tensor(batches[name]).long()
    found["fixed_alpha"] = agent.temperature.value()
    first = int(_steps(agent.optimizers.critic))
    rates = [agent.options.lr_at(first + k) for k in range(len(found["reward"]))]
    found["lr"] = torch.tensor(rates, dtype=torch.float64)
    if isinstance(agent.ac.pi, SquashedGaussianActor):
        found |= {name: getattr(agent.ac.pi, name) for name in _BOUNDS}
    return {name: tensor.contiguous() for name, tensor in found.items()}


def _outputs(agent: Agent, objective: Objective, n: int, batch_size: int) -> dict[str, Tensor]:
    """Tensors into which the kernel writes values for the log, by field of `Arguments`."""
    new = agent.like.detach().new_empty
    critics = len(list(agent.networks.critics.children()))
    found = {name: new(n, batch_size) for name in ("log_prob", "target_out", "q_pi")}
    if isinstance(objective, QuantileSACObjective):
        found["loss_out"] = new(critics, n, batch_size)
    return {**found, "q_out": new(critics, n, batch_size), "alpha": new(n)}


def _numbers(agent: Agent) -> dict[str, float]:
    options, optimizers = agent.options, agent.optimizers
    values = (
        *options.betas, options.weight_decay, options.polyak, options.target_entropy or 0.0,
        LOG_STD_MIN, LOG_STD_MAX,
        _steps(optimizers.actor), _steps(optimizers.critic),
        0.0 if optimizers.alpha is None else _steps(optimizers.alpha),
    )  # fmt: skip
    return dict(zip(_NUMBERS, values, strict=True))


def _metrics(
    logged: dict[str, Tensor], weight: Tensor | None, target_entropy: Tensor, improved: list[int]
) -> dict[str, Tensor]:
    """The metrics of n gradient steps, from the kernel's outputs; `improved` lists those of the policy."""
    q, alpha = logged["q_out"], logged["alpha"]
    if "loss_out" in logged:
        loss_q = losses.summed_over_critics(logged["loss_out"], weight)
    else:
        loss_q = losses.q_loss(q, logged["target_out"], weight)
    found = {} if weight is None else {"TDError": losses.td_error(q, logged["target_out"])}
    found |= {
        "LossQ": loss_q,
        **{f"Q{i}Vals": values for i, values in enumerate(q[:2], 1)},
    }
    if improved:
        log_prob, q_pi, of_policy = logged["log_prob"], logged["q_pi"], alpha
        if len(improved) < len(alpha):
            log_prob, q_pi, of_policy = log_prob[improved], q_pi[improved], alpha[improved]
        found["LossPi"] = losses.actor_loss(q_pi, log_prob, of_policy[:, None])
        found |= {"LogPi": log_prob, "Entropy": -log_prob.mean(-1)}
    return found | {"Alpha": alpha, "TargetEntropy": target_entropy.expand(len(alpha))}


def _sequence(net: nn.Sequential) -> list[Linear]:
    """The linear layers of `net` with the layers after each; first a normalization of the inputs, if any."""
    found: list[Linear] = []
    for layer in net:
        if isinstance(layer, nn.Linear):
            found.append(Linear(layer))
        elif isinstance(layer, BatchNorm):
            before = found.pop() if found else Linear(None)
            found.append(before._replace(batch_norm=layer))
        elif isinstance(layer, nn.LayerNorm):
            found[-1] = found[-1]._replace(norm=layer)
        elif isinstance(layer, Dropout):
            found[-1] = found[-1]._replace(dropout=layer.p)
        else:
            found[-1] = found[-1]._replace(activation=layer)
    return found


def _actor_layers(pi: Any) -> list[Linear]:
    if isinstance(pi, CategoricalActor):
        return _sequence(pi.logits)
    return [*_sequence(pi.net), Linear(pi.mu_layer), Linear(pi.log_std_layer)]


def _net(critic: Any) -> nn.Sequential:
    net: nn.Sequential = critic.v if isinstance(critic, MLPValueFunction) else critic.q
    return net


def _critic_layers(critic: Any) -> list[Linear]:
    return _sequence(_net(critic))


def _networks(agent: Agent) -> dict[str, list[Linear]]:
    value = agent.networks.value
    return {
        "actor": _actor_layers(agent.ac.pi),
        "critic": [layer for critic in agent.networks.critics.children() for layer in _critic_layers(critic)],
        "value": [] if value is None else _critic_layers(value),
    }


def _describe_networks(agent: Agent) -> dict[str, Any]:
    """Arrays of `Layer`, by field of `Arguments`."""
    averaged = "critic" if agent.networks.value is None else "value"
    target = agent.target if agent.target_params else nn.ModuleList()
    copies_of = target.children() if averaged == "critic" else [target]
    targets = [layer for critic in copies_of for layer in _critic_layers(critic)]
    found = {}
    for name, layers in _networks(agent).items():
        optimizer = agent.optimizers.actor if name == "actor" else agent.optimizers.critic
        copies = targets if name == averaged and targets else [None] * len(layers)
        described = [_describe(*pair, optimizer) for pair in zip(layers, copies, strict=True)]
        found[name] = (Layer * len(described))(*described)
    return found


def _describe(layer: Linear, target: Linear | None, optimizer: torch.optim.Adam) -> Layer:
    kind = nn.Identity if layer.activation is None else type(layer.activation)
    attribute = ACTIVATIONS[kind][0]
    found = Layer(
        kind=_KINDS.index(kind),
        constant=getattr(layer.activation, attribute) if attribute else 0.0,
        eps=0.0 if layer.norm is None else layer.norm.eps,
        dropout=layer.dropout,
    )
    copies: dict[str, Any] = {} if target is None else _parameters(target)
    for name, parameter in _parameters(layer).items():
        struct, _, field = name.rpartition(".")
        to = getattr(found, struct) if struct else found
        setattr(to, field, _parameter(parameter, optimizer, copies.get(name)))
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


def _describe_statistics(to: Normalization, norm: BatchNorm) -> None:
    to.mean, to.var = norm.running_mean.data_ptr(), norm.running_var.data_ptr()
    to.eps, to.momentum = norm.eps, norm.momentum
    if isinstance(norm, BatchRenorm):
        to.batches, to.warm_up = norm.batches.data_ptr(), int(norm.warm_up)
        to.r_max, to.d_max = norm.R_MAX, norm.D_MAX


def _parameters(layer: Linear) -> dict[str, nn.Parameter]:
    """The parameters of a layer, by field of the struct `Layer`, such as "weight" or "batch_norm.scale"."""
    linear: Any = layer.linear
    found: dict[str, nn.Parameter] = {}
    if isinstance(linear, FreeVector):
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


def _parameter(p: nn.Parameter, optimizer: torch.optim.Adam, target: Tensor | None = None) -> Parameter:
    state = optimizer.state[p]
    tensors = (p, state["exp_avg"], state["exp_avg_sq"], target)
    return Parameter(*(None if tensor is None else tensor.data_ptr() for tensor in tensors))


def _steps(optimizer: torch.optim.Adam) -> float:
    return float(next(iter(optimizer.state.values()))["step"])


def _unsupported_layers(agent: Agent, objective: Objective) -> str | None:
    """Why the closed-form gradients do not apply to the networks, in a few words; None if they apply."""
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
        if heads[0] is not nn.Linear or heads[1] not in (nn.Linear, FreeVector):
            return "a head of the policy was replaced"
    if _has(Dropout, ac.pi) or (value is not None and _has(Dropout, *critics, value)):
        return "it implements dropout only in critics, without a value network"
    if _has(BatchNorm, *critics) and objective.target_networks:
        return "it implements batch statistics of critics only without target networks"
    if value is not None and _has(BatchNorm, ac):
        return "it implements no batch statistics with a value network"
    sequences = [module for module in ac.modules() if isinstance(module, nn.Sequential)]
    for net in sequences:
        if reason := _unsupported_sequence(list(net)):
            return reason
    nets = [_net(part) for part in (*critics, *([] if value is None else [value]))]
    if any(type(net[-1]) is not nn.Linear for net in (*nets, *([ac.pi.logits] if discrete else []))):
        return "the last layer of a network is not linear"
    if len({len(_critic_layers(critic)) for critic in critics}) > 1:
        return "the critics differ in depth"
    if any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in ac.modules()):
        return "a hook is registered on a network"
    return _unsupported_parameters(agent)


def _has(kind: type[nn.Module], *networks: nn.Module) -> bool:
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
    layers = [layer for layers in _networks(agent).values() for layer in layers]
    described = [p for layer in layers for p in _parameters(layer).values()]
    given = list(agent.ac.parameters())
    if len(given) != len(described) or {id(p) for p in given} != {id(p) for p in described}:
        return "parameters are shared, were added or were removed"
    if not all(p.requires_grad for p in given):
        return "a parameter is frozen"
    if len({p.dtype for p in given}) > 1 or given[0].dtype not in _SCALARS:
        return f"the parameters are {given[0].dtype}, not all float32 or all float64"
    statistics = [
        x for m in agent.ac.modules() if isinstance(m, BatchNorm) for x in (m.running_mean, m.running_var)
    ]
    if any(x.dtype != given[0].dtype for x in statistics):
        return "running statistics have another dtype than the parameters"
    if not all(x.is_contiguous() for x in (*given, *statistics)):
        return "a parameter or running statistic is not contiguous"
    return None
