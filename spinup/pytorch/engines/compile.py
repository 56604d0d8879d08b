"""The compile engine: torch.compile applied to the whole of `gradient_step`.

One graph holds the losses, their gradients, Adam, alpha and polyak averaging. A graph break is an error,
since a compiled update with code outside the graph may silently compute something different.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from spinup.errors import ConfigError
from spinup.interfaces import Metrics
from spinup.pytorch.agent import Agent, Optimizers
from spinup.pytorch.engines.eager import gradient_step, unstacked
from spinup.pytorch.engines.engine import Engine, Supported
from spinup.pytorch.networks.actor_critic import (
    DiscreteMLPActorCritic,
    MLPActorCritic,
    MLPValueActorCritic,
)
from spinup.pytorch.variants.discrete import DiscreteSACObjective
from spinup.pytorch.variants.objective import Batch, Objective
from spinup.pytorch.variants.sac import SACObjective
from spinup.pytorch.variants.sac_v1 import SACv1Objective
from spinup.replay.transition import Batches

_TRACE_AUTOGRAD = "trace_autograd_ops"  # lets torch.autograd.grad be part of a graph
# What an engine supports that traces `gradient_step` into a graph.
TRACED_NETWORKS = (MLPActorCritic, DiscreteMLPActorCritic, MLPValueActorCritic)
TRACED_OBJECTIVES = (SACObjective, DiscreteSACObjective, SACv1Objective)
TRACED_FIELDS = frozenset(
    {"obs", "action", "reward", "discount", "next_obs", "weight", "noise", "critic_subset"}
)
TRACED_OPTIONS = frozenset(
    {
        "critics", "target_critics", "target_networks", "reward_scale", "actor_first", "lr", "polyak",
        "alpha", "target_entropy",
    }
)  # fmt: skip


def untraceable_layers(agent: Agent) -> str | None:
    """Why a graph cannot represent updates of these networks, in a few words; None if it can."""
    if agent.networks.modes.any:
        return "the networks have dropout or batch statistics"
    return None


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
        self._step: Callable[[Batch], dict[str, Tensor]]

    @classmethod
    def unsupported_reason(cls, agent: Agent, objective: Objective, fields: tuple[str, ...]) -> str | None:
        if reason := super().unsupported_reason(agent, objective, fields) or untraceable_layers(agent):
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
        steps: list[dict[str, Tensor]] = []
        try:
            with torch._dynamo.config.patch({_TRACE_AUTOGRAD: True}):
                for batch in unstacked(agent.to_tensors(batches)):
                    steps.append(self._step(batch))
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).split("\n")[:2]).strip()
            raise ConfigError(
                f"engine='compile' cannot compile this actor-critic ({reason}): give engine='eager'"
            ) from error
        return {key: torch.stack([m[key] for m in steps]).cpu().numpy() for key in steps[0]}

    def _compile(self, agent: Agent) -> Callable[[Batch], dict[str, Tensor]]:
        objective = self.objective
        optimizers = Optimizers(*(o and TraceableAdam(o) for o in agent.optimizers))

        def step(batch: Batch) -> dict[str, Tensor]:
            return gradient_step(agent, objective, batch, optimizers)

        # A user's policy that draws from torch's generator must draw the same numbers as without compilation.
        options: dict[str, Any] = {"fallback_random": True}
        return torch.compile(step, fullgraph=True, dynamic=False, options=options)


class TraceableAdam:
    """Adam's step on the state of a given torch.optim.Adam, in operations that the compiler fuses.

    torch's `step` causes graph breaks. The bias corrections 1 - beta^t are computed in float64, since in
    float32 they lose half of their digits in the first steps. All state is passed as vectors: torch 2.13
    may compile a 0-dim input into a constant and drop what is written to it.
    """

    def __init__(self, optimizer: torch.optim.Adam) -> None:
        (group,) = optimizer.param_groups
        self._params, self._lr, (self._beta1, self._beta2) = group["params"], group["lr"], group["betas"]
        self._eps = group["eps"]
        states = [optimizer.state[p] for p in self._params]
        self._first = [state["exp_avg"].view(-1) for state in states]
        self._second = [state["exp_avg_sq"].view(-1) for state in states]
        self._steps = [state["step"].view(1) for state in states]

    @torch.no_grad()
    def step(self) -> None:
        """One step (Kingma & Ba 2015, algorithm 1); a parameter without a gradient is left unchanged."""
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
            p.sub_((rate * m / spread).view(p.shape))
