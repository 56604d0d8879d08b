"""The native engine: closed-form gradients in C++, compiled once per machine.

The code in csrc/ computes a whole block of updates per call, in place on the agent's tensors. It uses torch
only for tensor storage. Each network is passed to it as a sequence of layers.
"""

from __future__ import annotations

import ctypes
from typing import Any, ClassVar, final

import torch
from numpy.random import Generator
from torch import Tensor

from spinup.interfaces import Metrics
from spinup.pytorch import losses
from spinup.pytorch.agent import Agent, StepSettings, UpdateOptions
from spinup.pytorch.engines.engine import Engine, Supported
from spinup.pytorch.engines.native_build import Library, build, missing_compiler
from spinup.pytorch.engines.native_layers import Description, Parameter, describe_parameter
from spinup.pytorch.engines.native_support import SCALARS, has_layer, unsupported_networks
from spinup.pytorch.networks.actor_critic import (
    DiscreteMLPActorCritic,
    MLPActorCritic,
    MLPValueActorCritic,
)
from spinup.pytorch.networks.actors import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    SquashedGaussianActor,
)
from spinup.pytorch.networks.layers import Dropout
from spinup.pytorch.variants.discrete import DiscreteSACObjective
from spinup.pytorch.variants.distributional import QuantileSACObjective
from spinup.pytorch.variants.objective import Objective
from spinup.pytorch.variants.sac import SACObjective
from spinup.pytorch.variants.sac_v1 import SACv1Objective
from spinup.replay.transition import Batches

_BATCH = ("obs", "action", "reward", "discount", "next_obs")
_OPTIONAL = ("noise", "weight", "critic_subset", "dropout_seed")
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
    "value_layers", "subset_size", "policy_takes_mean", "workers", "policy_delay", "quantiles",
    "target_quantiles", "log_alpha_loss",
)  # fmt: skip


class Arguments(ctypes.Structure):
    """The struct of that name in csrc/update.h."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in _ARRAYS),
        ("log_alpha", Parameter),
        *((name, ctypes.c_void_p) for name in (*_OUTPUTS, "workspace")),
        *((name, ctypes.c_double) for name in _NUMBERS),
        *((name, ctypes.c_long) for name in _SIZES),
    ]


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
                "alpha_loss",
                "critics",
                "target_critics",
                "policy_q",
                "target_networks",
                "policy_delay",
                "drop_quantiles",
            }
        ),
        ("cpu",),
    )

    def __init__(self, objective: Objective, threads: int = 1) -> None:
        super().__init__(objective, threads)
        self._libraries: dict[torch.dtype, Library] = {}
        self._workspaces: dict[tuple[Any, ...], Tensor] = {}
        self._description: Description | None = None
        self._has_dropout = False

    @classmethod
    def unsupported_reason(cls, agent: Agent, objective: Objective, fields: tuple[str, ...]) -> str | None:
        return (
            super().unsupported_reason(agent, objective, fields)
            or unsupported_networks(agent, objective)
            or missing_compiler()
        )

    def prepare(self, agent: Agent) -> str:
        self._has_dropout = has_layer(Dropout, agent.networks.critics)
        seconds = self._load(agent.reference_parameter.dtype).seconds
        return f", compiled in {seconds:.1f} s, once for this machine" if seconds else ""

    def draw_noise(self, batches: Batches, rng: Generator) -> Batches:
        drawn = super().draw_noise(batches, rng)
        if self._has_dropout:
            drawn["dropout_seed"] = rng.integers(2**32, size=len(batches["reward"]))
        return drawn

    def _load(self, dtype: torch.dtype) -> Library:
        if dtype not in self._libraries:
            library = build("update.cpp", {"SCALAR": SCALARS[dtype]})
            library.code.workspace_size.restype, library.code.update.restype = ctypes.c_long, None
            self._libraries[dtype] = library
        return self._libraries[dtype]

    def update(self, agent: Agent, batches: Batches) -> Metrics:
        description = self._describe(agent)
        networks = description.networks
        wanted = {*_BATCH, *self.objective.noise_fields()}
        if any(layer.dropout > 0 for layer in networks["critic"]):
            wanted.add("dropout_seed")
        if not wanted <= set(batches) <= {*wanted, "weight"}:
            raise ValueError(f"batches hold {sorted(batches)}, and the native engine reads {sorted(wanted)}")
        first, settings = agent.gradient_steps, agent.begin_steps(len(batches["reward"]))
        inputs = _inputs(agent, batches, settings)
        logged = _outputs(agent, self.objective, *inputs["reward"].shape)
        tensors = inputs | logged
        arguments = Arguments(
            **{name: tensor.data_ptr() for name, tensor in tensors.items()},
            **{name: ctypes.addressof(layers) for name, layers in networks.items() if len(layers)},
            **_numbers(agent, first),
            **self._sizes(networks, inputs, agent.options),
        )
        log_alpha = agent.temperature.log_alpha
        if log_alpha is not None:
            arguments.log_alpha = describe_parameter(log_alpha, agent.optimizers.alpha)
        dtype = agent.reference_parameter.dtype
        arguments.workspace = self._workspace(dtype, arguments, description.shapes).data_ptr()
        self._load(dtype).code.update(ctypes.byref(arguments))
        if settings[-1].lr is not None:
            agent.set_learning_rate(settings[-1].lr)
        improved = [k for k, step in enumerate(settings) if step.updates_policy]
        for name, optimizer in agent.optimizers._asdict().items():
            if optimizer is not None and (done := arguments.n if name == "critic" else len(improved)):
                torch._foreach_add_([state["step"] for state in optimizer.state.values()], done)
        metrics = _metrics(self.objective, inputs, logged, agent.temperature.target_entropy, improved)
        return {key: value.numpy() for key, value in metrics.items()}

    def _describe(self, agent: Agent) -> Description:
        if self._description is None or not self._description.is_of(agent):
            self._description = Description(agent)
        return self._description

    def _sizes(
        self, networks: dict[str, Any], inputs: dict[str, Tensor], options: UpdateOptions
    ) -> dict[str, int]:
        n, batch_size = inputs["reward"].shape
        critics, discrete = self.objective.critics, isinstance(self.objective, DiscreteSACObjective)
        quantiles = kept = 0
        if isinstance(self.objective, QuantileSACObjective):
            quantiles = networks["critic"][-1].outputs
            kept = self.objective.target_critics * (quantiles - self.objective.drop_quantiles)
        values = (
            n, batch_size, inputs["obs"].shape[-1], networks["actor"][-1].outputs, int(discrete),
            len(networks["actor"]) - (1 if discrete else 2), critics, len(networks["critic"]) // critics,
            len(networks["value"]), self.objective.target_critics, int(self.objective.policy_takes_mean),
            min(max(2, critics), self.threads), options.policy_delay, quantiles, kept,
            int(options.alpha_loss == "log_alpha"),
        )  # fmt: skip
        return dict(zip(_SIZES, values, strict=True))

    def _workspace(self, dtype: torch.dtype, arguments: Arguments, shapes: tuple[Any, ...]) -> Tensor:
        """Memory for intermediate values, initially zero; one tensor per combination of sizes."""
        key = dtype, arguments.n == 1, *(getattr(arguments, name) for name in _SIZES[1:]), *shapes
        if key not in self._workspaces:
            size = self._load(dtype).code.workspace_size(ctypes.byref(arguments))
            self._workspaces[key] = torch.zeros(size, dtype=dtype)
        return self._workspaces[key]


def _inputs(agent: Agent, batches: Batches, settings: list[StepSettings]) -> dict[str, Tensor]:
    """The batches, learning rates, the bounds of actions and a fixed alpha, by field of `Arguments`."""
    dtype = agent.reference_parameter.dtype
    tensors = {name: torch.as_tensor(values).to(dtype) for name, values in batches.items()}
    for name in {"critic_subset", "dropout_seed"} & set(batches):
        tensors[name] = torch.as_tensor(batches[name]).long()
    tensors["fixed_alpha"] = agent.temperature.value()
    rates = [agent.options.lr if step.lr is None else step.lr for step in settings]
    tensors["lr"] = torch.tensor(rates, dtype=torch.float64)
    if isinstance(agent.ac.pi, SquashedGaussianActor):
        tensors |= {name: getattr(agent.ac.pi, name) for name in _BOUNDS}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def _outputs(agent: Agent, objective: Objective, n: int, batch_size: int) -> dict[str, Tensor]:
    """Tensors into which the C++ code writes values for the log, by field of `Arguments`."""
    new = agent.reference_parameter.detach().new_empty
    critics = len(list(agent.networks.critics.children()))
    outputs = {name: new(n, batch_size) for name in ("log_prob", "target_out", "q_pi")}
    if isinstance(objective, QuantileSACObjective):
        outputs["loss_out"] = new(critics, n, batch_size)
    return {**outputs, "q_out": new(critics, n, batch_size), "alpha": new(n)}


def _numbers(agent: Agent, first: int) -> dict[str, float]:
    """Values of the fields of `_NUMBERS`, given the number of gradient steps before this call."""
    options, optimizers = agent.options, agent.optimizers
    values = (
        *options.betas, options.weight_decay, options.polyak, options.target_entropy or 0.0,
        LOG_STD_MIN, LOG_STD_MAX,
        _steps(optimizers.actor), float(first),
        0.0 if optimizers.alpha is None else _steps(optimizers.alpha),
    )  # fmt: skip
    return dict(zip(_NUMBERS, values, strict=True))


def _metrics(
    objective: Objective,
    inputs: dict[str, Tensor],
    logged: dict[str, Tensor],
    target_entropy: Tensor,
    improved: list[int],
) -> dict[str, Tensor]:
    """Metrics of n gradient steps.

    Args:
        objective: the losses.
        inputs, logged: the C++ code's inputs and outputs.
        target_entropy: 0-dim.
        improved: indices of the steps that updated the policy.
    """
    q, alpha, weight = logged["q_out"], logged["alpha"], inputs.get("weight")
    if "loss_out" in logged:
        loss_q = losses.summed_over_critics(logged["loss_out"], weight)
    else:
        loss_q = losses.q_loss(q, logged["target_out"], weight)
    metrics = objective.metrics(loss_q, q, logged["target_out"], inputs)
    if improved:
        log_prob, q_pi, of_policy = logged["log_prob"], logged["q_pi"], alpha
        if len(improved) < len(alpha):
            log_prob, q_pi, of_policy = log_prob[improved], q_pi[improved], alpha[improved]
        metrics["LossPi"] = losses.actor_loss(q_pi, log_prob, of_policy[:, None])
        metrics |= {"LogPi": log_prob, "Entropy": -log_prob.mean(-1)}
    return metrics | {"Alpha": alpha, "TargetEntropy": target_entropy.expand(len(alpha))}


def _steps(optimizer: torch.optim.Adam) -> float:
    return float(next(iter(optimizer.state.values()))["step"])
