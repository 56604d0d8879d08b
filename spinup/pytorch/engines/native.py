"""The native engine: the update of the default networks as machine code, compiled for the run's sizes.

csrc/ computes the gradients of the losses in closed form, a whole block of updates per call, on the agent's
own tensors. It uses torch only for tensor storage.
"""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor, nn

from spinup.interfaces import Metrics
from spinup.pytorch import losses
from spinup.pytorch.agent import Agent
from spinup.pytorch.engines.engine import Engine, Supported
from spinup.pytorch.engines.native_build import build, missing_compiler
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.networks.actors import LOG_STD_MAX, LOG_STD_MIN, FreeVector, SquashedGaussianActor
from spinup.pytorch.networks.mlp import MLPQFunction
from spinup.pytorch.variants.objective import Objective
from spinup.pytorch.variants.sac import SACObjective
from spinup.replay.transition import Batches

_SCALARS = {torch.float32: "float", torch.float64: "double"}
_BATCH = ("obs", "action", "reward", "discount", "next_obs", "noise")
# Fields of the struct `Arguments` in csrc/step.h; a test compares their names and offsets.
_BOUNDS = ("center", "half_range", "low", "high")
_TABLES = ("pi", "pi_m", "pi_v", "q", "q_m", "q_v", "target")
_ALPHA = ("fixed_alpha", "log_alpha", "alpha_m", "alpha_v")
_OUTPUTS = ("log_prob", "q_out", "target_out", "q_pi", "alpha")
_NUMBERS = (
    "lr", "polyak", "target_entropy", "log_std_min", "log_std_max", "pi_steps", "q_steps", "alpha_steps",
)  # fmt: skip


class Arguments(ctypes.Structure):
    """The struct of that name in csrc/step.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in (*_BATCH, *_BOUNDS, *_TABLES, *_ALPHA, *_OUTPUTS, "workspace")),
        *((name, ctypes.c_double) for name in _NUMBERS),
        *((name, ctypes.c_long) for name in ("n", "threads")),
    ]


class Kernel(NamedTuple):
    """Machine code for one set of sizes, and memory for its intermediate values."""

    update: Any
    workspace: Tensor


@final
class NativeEngine(Engine):
    """MLPActorCritic with ReLU on the CPU. The first run with given sizes compiles for some seconds."""

    name: ClassVar[str] = "native"
    description: ClassVar[str] = "machine code compiled for these sizes"
    supported: ClassVar[Supported] = Supported(
        (MLPActorCritic,),
        (SACObjective,),
        frozenset(_BATCH),
        frozenset({"lr", "polyak", "alpha", "target_entropy"}),
        ("cpu",),
    )

    def __init__(self, objective: Objective) -> None:
        super().__init__(objective)
        self._kernels: dict[Any, Kernel] = {}

    @classmethod
    def unsupported_reason(cls, agent: Agent, objective: Objective, fields: tuple[str, ...]) -> str | None:
        return (
            super().unsupported_reason(agent, objective, fields)
            or _unsupported_layers(agent.ac)
            or missing_compiler()
        )

    def prepare(self, agent: Agent, batch_size: int) -> None:
        self._kernel(agent, batch_size)

    def update(self, agent: Agent, batches: Batches) -> Metrics:
        if set(batches) != set(_BATCH):
            raise ValueError(f"batches hold {sorted(batches)}, and the native engine reads {sorted(_BATCH)}")
        dtype = agent.like.dtype
        tensors = {name: torch.as_tensor(batches[name]).to(dtype).contiguous() for name in _BATCH}
        n, batch_size = tensors["reward"].shape
        kernel, new = self._kernel(agent, batch_size), agent.like.detach().new_empty
        logged = {
            "log_prob": new(n, batch_size), "q_out": new(2, n, batch_size), "target_out": new(n, batch_size),
            "q_pi": new(n, batch_size), "alpha": new(n),
        }  # fmt: skip
        actor, critic, temperature = agent.optimizers.actor, agent.optimizers.critic, agent.temperature
        target = [p for layer in _critic_layers(agent.networks.target) for p in (layer.weight, layer.bias)]
        tables = {
            **_parameter_tables("pi", _actor_layers(agent.ac), actor),
            **_parameter_tables("q", _critic_layers(agent.networks.critics), critic),
            "target": _table(target),
        }
        steps = {"pi_steps": _steps(actor), "q_steps": _steps(critic)}
        tensors |= logged | {name: getattr(agent.ac.pi, name) for name in _BOUNDS}
        tensors |= {"workspace": kernel.workspace, "fixed_alpha": temperature.value()}
        if temperature.log_alpha is not None:
            state = agent.optimizers.alpha.state[temperature.log_alpha]
            tensors |= {"log_alpha": temperature.log_alpha, "alpha_m": state["exp_avg"]}
            tensors |= {"alpha_v": state["exp_avg_sq"]}
            steps["alpha_steps"] = _steps(agent.optimizers.alpha)
        arguments = Arguments(
            **{name: tensor.data_ptr() for name, tensor in tensors.items()},
            **{name: ctypes.addressof(table) for name, table in tables.items()},
            **steps,
            lr=agent.options.lr,
            polyak=agent.options.polyak,
            target_entropy=agent.options.target_entropy or 0.0,
            log_std_min=LOG_STD_MIN,
            log_std_max=LOG_STD_MAX,
            n=n,
            threads=min(2, torch.get_num_threads()),
        )
        kernel.update(ctypes.byref(arguments))
        for optimizer in filter(None, agent.optimizers):
            for state in optimizer.state.values():
                state["step"] += n
        return {key: value.numpy() for key, value in _metrics(logged, temperature.target_entropy).items()}

    def _kernel(self, agent: Agent, batch_size: int) -> Kernel:
        ac: Any = agent.ac
        pi, critic = ac.pi, _linear(ac.q1.q)
        obs_dim, act_dim = _linear(pi.net)[0].in_features, len(pi.center)
        widths = [[layer.out_features for layer in layers] for layers in (_linear(pi.net), critic[:-1])]
        definitions = {
            "SCALAR": _SCALARS[agent.like.dtype], "OBS": obs_dim, "ACT": act_dim, "BATCH": batch_size,
            "PI_WIDTHS": ",".join(map(str, widths[0])), "Q_WIDTHS": ",".join(map(str, widths[1])),
        }  # fmt: skip
        key = tuple(definitions.values())
        if key not in self._kernels:
            library = build("update.cpp", {name: str(value) for name, value in definitions.items()})
            library.workspace_size.restype, library.update.restype = ctypes.c_long, None
            workspace = torch.zeros(library.workspace_size(), dtype=agent.like.dtype)
            self._kernels[key] = Kernel(library.update, workspace)
        return self._kernels[key]


def _metrics(logged: dict[str, Tensor], target_entropy: Tensor) -> dict[str, Tensor]:
    """What n eager steps log, from the values that the kernel wrote."""
    log_prob, q, alpha = logged["log_prob"], logged["q_out"], logged["alpha"]
    return {
        "LossQ": losses.q_loss(q, logged["target_out"]),
        "Q1Vals": q[0],
        "Q2Vals": q[1],
        "LossPi": losses.actor_loss(logged["q_pi"], log_prob, alpha[:, None]),
        "LogPi": log_prob,
        "Entropy": -log_prob.mean(-1),
        "Alpha": alpha,
        "TargetEntropy": target_entropy.expand(len(alpha)),
    }


def _linear(net: nn.Module) -> list[nn.Linear]:
    return [layer for layer in net.children() if isinstance(layer, nn.Linear)]


def _actor_layers(ac: Any) -> list[nn.Linear]:
    return [*_linear(ac.pi.net), ac.pi.mu_layer, ac.pi.log_std_layer]


def _critic_layers(critics: Any) -> list[nn.Linear]:
    return [layer for critic in critics for layer in _linear(critic.q)]


def _parameter_tables(name: str, layers: list[nn.Linear], optimizer: torch.optim.Adam) -> dict[str, Any]:
    """Pointers to weight and bias of each layer in turn, and to both moments of Adam in the same order."""
    params = [p for layer in layers for p in (layer.weight, layer.bias)]
    states = [optimizer.state[p] for p in params]
    return {
        name: _table(params),
        f"{name}_m": _table([state["exp_avg"] for state in states]),
        f"{name}_v": _table([state["exp_avg_sq"] for state in states]),
    }


def _table(tensors: list[Tensor]) -> Any:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _steps(optimizer: torch.optim.Adam) -> float:
    return float(next(iter(optimizer.state.values()))["step"])


def _unsupported_layers(ac: Any) -> str | None:
    """Where the closed-form gradients are not those of `ac`, in a few words; None where they are."""
    parts = {type(ac.pi): SquashedGaussianActor, type(ac.q1): MLPQFunction, type(ac.q2): MLPQFunction}
    if any(got is not wanted for got, wanted in parts.items()):
        return "a part of the actor-critic was replaced"
    if type(ac.pi.log_std_layer) is FreeVector:
        return "the log std does not depend on the state"
    if not type(ac.pi.mu_layer) is type(ac.pi.log_std_layer) is nn.Linear:
        return "a head of the policy was replaced"
    for net in (ac.pi.net, ac.q1.q, ac.q2.q):
        kinds = [type(layer) for layer in net]
        for kind in kinds:
            if kind not in (nn.Linear, nn.ReLU):
                return f"the activation is {kind.__name__}, not ReLU"
        hidden = [nn.Linear, nn.ReLU] * (len(kinds) // 2)
        if len(kinds) < 2 or kinds != (hidden if net is ac.pi.net else [*hidden, nn.Linear]):
            return "there is no hidden layer"
    if any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in ac.modules()):
        return "a hook is registered on a network"
    return _unsupported_parameters(ac)


def _unsupported_parameters(ac: Any) -> str | None:
    layers = [*_actor_layers(ac), *_critic_layers((ac.q1, ac.q2))]
    expected = [p for layer in layers for p in (layer.weight, layer.bias)]
    given = list(ac.parameters())
    if len(given) != len(expected) or {id(p) for p in given} != {id(p) for p in expected}:
        return "parameters are shared or were added"
    shapes = [[layer.weight.shape for layer in _linear(critic.q)] for critic in (ac.q1, ac.q2)]
    if shapes[0] != shapes[1] or ac.pi.mu_layer.weight.shape != ac.pi.log_std_layer.weight.shape:
        return "the critics, or the policy's heads, differ in shape"
    if not all(p.requires_grad for p in given):
        return "a parameter is frozen"
    if len({p.dtype for p in given}) > 1 or given[0].dtype not in _SCALARS:
        return f"the parameters are {given[0].dtype}, not all float32 or all float64"
    if not all(p.is_contiguous() for p in given):
        return "a parameter is not contiguous"
    return None
