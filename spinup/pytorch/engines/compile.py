"""The compile engine: torch.compile around the whole of `EagerLearner.step`, for any actor-critic.

One graph holds the losses, their gradients, Adam, alpha and polyak averaging: a graph break is refused, as
what falls out of a graph is where a compiled update silently becomes something else.
"""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch
from torch import Tensor, nn

from spinup.config import SACConfig
from spinup.errors import ConfigError
from spinup.pytorch.agent import EagerLearner, Float, LearnedAlpha, Objective, Save, split
from spinup.pytorch.engines.wrapped import WrappedLearner, adopt_state
from spinup.pytorch.state_arrays import Optimiser
from spinup.replay.storage import Block

_TRACE_AUTOGRAD = "trace_autograd_ops"  # lets torch.autograd.grad be part of a graph


class CompiledLearner(WrappedLearner):
    """A learner whose update is compiled at its first call, which takes about half a minute."""

    def __init__(
        self, ac: nn.Module, objective: Objective, config: SACConfig, target_entropy: float, save: Save
    ) -> None:
        self.eager = eager = EagerLearner(ac, objective, config, target_entropy, save)
        self._adams = [TraceableAdam(eager.pi_optimiser), TraceableAdam(eager.critic_optimiser)]
        eager.pi_optimiser, eager.critic_optimiser = self._adams
        if isinstance(eager.temperature, LearnedAlpha):
            self._adams.append(TraceableAdam(eager.temperature.optimiser))
            eager.temperature.optimiser = self._adams[-1]
        # A user's policy that draws from torch's generator shall draw what it draws uncompiled.
        options: dict[str, Any] = {"fallback_random": True}
        self._step = torch.compile(eager.step, fullgraph=True, dynamic=False, options=options)

    def adopt(self) -> None:
        for optimiser in self._adams:
            optimiser.adopt()

    def update(self, block: Block) -> dict[str, Float]:
        """One gradient step per batch; metrics of all n, brought to the host once."""
        like = self.eager.objective.critic_params[0]
        rows, noise = (torch.as_tensor(x).to(like.device, like.dtype) for x in (block.rows, block.noise))
        steps: list[dict[str, Tensor]] = []
        try:
            with torch._dynamo.config.patch({_TRACE_AUTOGRAD: True}):
                for r, x in zip(rows, noise, strict=True):
                    steps.append(self._step(split(r, x, block.layout)))
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).split("\n")[:2]).strip()
            raise ConfigError(
                f"engine='compile' cannot compile this actor-critic ({reason}): give engine='eager'"
            ) from error
        return {key: torch.stack([m[key] for m in steps]).cpu().numpy() for key in steps[0]}


class TraceableAdam:
    """The steps of a torch.optim.Adam, whose own `step` breaks graphs, written out for the compiler to fuse.

    The state stays in the optimiser given, in tensors that stay in place. Steps are counted in float64,
    since the bias corrections 1 - beta^t lose half of float32's digits in the first steps. All state is
    held in vectors, never in 0-dim tensors: torch 2.13 compiles a 0-dim float64 input into a number and
    drops what is written to it.
    """

    def __init__(self, optimiser: Optimiser) -> None:
        self._optimiser = optimiser
        (group,) = optimiser.param_groups
        self._params, self._lr, (self._beta1, self._beta2) = group["params"], group["lr"], group["betas"]
        self._eps = group["eps"]
        self._first = [p.detach().new_zeros(p.numel()) for p in self._params]
        self._second = [p.detach().new_zeros(p.numel()) for p in self._params]
        self._steps = [p.detach().new_zeros(1, dtype=torch.float64) for p in self._params]
        self.adopt()

    @property
    def state(self) -> Any:
        """Moments and step counts by parameter."""
        return self._optimiser.state

    @property
    def param_groups(self) -> Any:
        """Parameters and their settings."""
        return self._optimiser.param_groups

    def adopt(self) -> None:
        """Take over the state that was loaded."""
        for p, m, v, t in zip(self._params, self._first, self._second, self._steps, strict=True):
            ours = {"step": t.view(()), "exp_avg": m.view(p.shape), "exp_avg_sq": v.view(p.shape)}
            adopt_state(self._optimiser, p, ours)

    @torch.no_grad()
    def step(self) -> None:
        """One step (Kingma & Ba 2015, algorithm 1); a parameter without a gradient stays as it is."""
        for p, m, v, t in zip(self._params, self._first, self._second, self._steps, strict=True):
            if p.grad is None:
                continue
            g = p.grad.reshape(-1)
            t.add_(1.0)
            m.lerp_(g, 1.0 - self._beta1)
            v.mul_(self._beta2).addcmul_(g, g, value=1.0 - self._beta2)
            spread = v.sqrt() / (1.0 - self._beta2**t).sqrt().to(v.dtype) + self._eps
            rate = (self._lr / (1.0 - self._beta1**t)).to(m.dtype)
            p.sub_((rate * m / spread).view(p.shape))

    def state_dict(self) -> dict[str, Any]:
        """As torch.optim.Optimizer."""
        return self._optimiser.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As torch.optim.Optimizer; call `adopt` after it."""
        self._optimiser.load_state_dict(state_dict)


def why_not_compiled(ac: nn.Module, objective: Objective) -> str | None:
    """What the compile engine lacks here, in a few words; None where it applies."""
    if _TRACE_AUTOGRAD not in torch._dynamo.config.get_config_copy():
        return f"torch {torch.__version__} cannot compile a gradient into a graph"
    compilers = [os.environ.get("CXX"), "g++", "clang++", "cl"]
    if not any(shutil.which(name) for name in compilers if name):
        return "no C++ compiler is installed"
    return None
