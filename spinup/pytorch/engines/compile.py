"""The compile engine: torch.compile applied to the whole of `gradient_step`.

One graph holds the losses, their gradients, Adam, alpha and polyak averaging. A graph break is an error,
since a compiled update with code outside the graph may silently compute something different.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from spinup.errors import ConfigError
from spinup.interfaces import Metrics
from spinup.pytorch.agent import Agent, Optimizers
from spinup.pytorch.engines.eager import OneStep, gradient_step, gradient_steps
from spinup.pytorch.engines.engine import Engine, Supported
from spinup.pytorch.networks.actor_critic import (
    DiscreteMLPActorCritic,
    MLPActorCritic,
    MLPValueActorCritic,
)
from spinup.pytorch.variants.discrete import DiscreteSACObjective
from spinup.pytorch.variants.distributional import CategoricalSACObjective, QuantileSACObjective
from spinup.pytorch.variants.objective import Batch, Objective
from spinup.pytorch.variants.sac import SACObjective
from spinup.pytorch.variants.sac_v1 import SACv1Objective
from spinup.replay.transition import Batches

_TRACE_AUTOGRAD = "trace_autograd_ops"  # lets torch.autograd.grad be part of a graph
# Supported by the engines that trace `gradient_step` into a graph.
TRACED_NETWORKS = (MLPActorCritic, DiscreteMLPActorCritic, MLPValueActorCritic)
TRACED_OBJECTIVES = (
    SACObjective, DiscreteSACObjective, SACv1Objective, CategoricalSACObjective, QuantileSACObjective,
)  # fmt: skip
TRACED_FIELDS = frozenset(
    {"obs", "action", "reward", "discount", "next_obs", "weight", "noise", "critic_subset"}
)
TRACED_OPTIONS = frozenset(
    {
        "critics", "target_critics", "policy_q", "target_networks", "drop_quantiles", "atoms", "value_bound",
        "actor_first", "policy_delay", "normalize_weights", "lr", "lr_schedule", "lr_end", "total_updates",
        "betas", "weight_decay", "polyak", "alpha", "target_entropy", "alpha_loss",
    }
)  # fmt: skip


@final
class CompileEngine(Engine):
    """The compiled update; its first call takes about half a minute."""

    name: ClassVar[str] = "compile"
    description: ClassVar[str] = "torch.compile; the first update takes half a minute"
    supported: ClassVar[Supported] = Supported(
        TRACED_NETWORKS,
        TRACED_OBJECTIVES,
        TRACED_FIELDS,
        TRACED_OPTIONS,
        ("cpu", "cuda"),
        traces_modules=True,
    )

    def __init__(self, objective: Objective, threads: int = 1) -> None:
        super().__init__(objective, threads)
        self._agent: Agent | None = None
        self._step: OneStep

    @classmethod
    def unsupported_reason(cls, agent: Agent, objective: Objective, fields: tuple[str, ...]) -> str | None:
        if reason := super().unsupported_reason(agent, objective, fields):
            return reason
        if _TRACE_AUTOGRAD not in torch._dynamo.config.get_config_copy():
            return f"torch {torch.__version__} cannot compile a gradient into a graph"
        compilers = [os.environ.get("CXX"), "g++", "clang++", "cl"]
        if not any(shutil.which(name) for name in compilers if name):
            return "no C++ compiler is installed"
        return None

    def update(self, agent: Agent, batches: Batches) -> Metrics:
        if self._agent is not agent:
            self._agent, self._step = agent, self._compile(agent)
        settings = agent.begin_steps(len(batches["reward"]))
        try:
            with torch._dynamo.config.patch({_TRACE_AUTOGRAD: True}):
                metrics = gradient_steps(agent, agent.to_tensors(batches), settings, self._step)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).split("\n")[:2]).strip()
            raise ConfigError(
                f"engine='compile' cannot compile this actor-critic ({reason}): give engine='eager'"
            ) from error
        return {key: value.cpu().numpy() for key, value in metrics.items()}

    def _compile(self, agent: Agent) -> OneStep:
        optimizers = Optimizers(*(o and TraceableAdam(o) for o in agent.optimizers))
        step = partial(gradient_step, agent, self.objective, optimizers)
        # A custom policy that draws from torch's generator must draw the same numbers as in eager mode.
        options: dict[str, Any] = {"fallback_random": True}
        compiled = torch.compile(step, fullgraph=True, dynamic=False, options=options)

        def one_step(batch: Batch, updates_policy: bool) -> dict[str, Tensor]:
            for optimizer in filter(None, optimizers):
                optimizer.read_learning_rate()
            return compiled(batch, updates_policy)

        return one_step


class TraceableAdam:
    """The step of a torch.optim.Adam or AdamW, on its state, in operations that the compiler fuses.

    The optimizer's own `step` causes graph breaks. The bias corrections 1 - beta^t are computed in float64,
    since in float32 they lose half of their digits in the first steps. All state is passed as vectors:
    torch 2.13 may compile a 0-dim input into a constant and discard writes to it.

    Args:
        optimizer: has one parameter group; its state must be allocated.
    """

    def __init__(self, optimizer: torch.optim.Adam) -> None:
        (group,) = optimizer.param_groups
        self._group, self._params, (self._beta1, self._beta2) = group, group["params"], group["betas"]
        self._eps, self._decay = group["eps"], group["weight_decay"]
        self._lr = torch.empty(1, dtype=torch.float64, device=self._params[0].device)
        self.read_learning_rate()
        states = [optimizer.state[p] for p in self._params]
        self._first = [state["exp_avg"].view(-1) for state in states]
        self._second = [state["exp_avg_sq"].view(-1) for state in states]
        self._steps = [state["step"].view(1) for state in states]

    def read_learning_rate(self) -> None:
        """Use the optimizer's current learning rate from now on."""
        self._lr.fill_(self._group["lr"])

    @torch.no_grad()
    def step(self) -> None:
        """One step (Kingma & Ba 2015, algorithm 1; weight decay as Loshchilov & Hutter 2019, algorithm 2).

        A parameter without a gradient is left unchanged.
        """
        for p, m, v, t in zip(self._params, self._first, self._second, self._steps, strict=True):
            if p.grad is None:
                continue
            g = p.grad.reshape(-1)
            t.add_(1.0)
            m.lerp_(g, 1.0 - self._beta1)
            v.mul_(self._beta2).addcmul_(g, g, value=1.0 - self._beta2)
            steps = t.double()
            spread = v.sqrt() / (1.0 - self._beta2**steps).sqrt().to(v.dtype) + self._eps
            rate = (self._lr / (1.0 - self._beta1**steps)).to(m.dtype)
            if self._decay:
                p.mul_((1.0 - self._lr * self._decay).to(p.dtype).view(()))
            p.sub_((rate * m / spread).view(p.shape))
