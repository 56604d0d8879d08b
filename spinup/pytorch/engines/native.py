"""The native engine: the fused engine's update as machine code, compiled for the sizes of the run.

csrc/update.cpp computes what `FusedLearner.step` computes, on the same memory, a whole block in one call.
Torch's products of a hundred rows run far below what a core can do, and between them lie a hundred small
operations; here sizes are constants, products end in what follows them, and two threads share each step.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from spinup.config import SACConfig
from spinup.pytorch.agent import Float, Objective, Save, SoftQ
from spinup.pytorch.engines.fused import ExplicitAlpha, FusedLearner, why_not_fused
from spinup.pytorch.engines.fused_math import AdamGroup
from spinup.pytorch.engines.fused_memory import block_metrics, linear_layers
from spinup.pytorch.engines.native_build import build, why_no_compiler
from spinup.pytorch.engines.wrapped import WrappedLearner
from spinup.pytorch.networks.actor_critic import LOG_STD_MAX, LOG_STD_MIN, MLPActorCritic
from spinup.replay.storage import Block

_SCALARS = {torch.float32: "float", torch.float64: "double"}
_ARRAYS = (
    *("rows", "noise", "center", "half", "low", "high", "fixed_alpha"),
    *("pi", "pi_m", "pi_v", "q", "q_m", "q_v", "target", "log_alpha", "alpha_m", "alpha_v"),
    *("pi_steps", "q_steps", "alpha_steps", "logp", "q_out", "error", "q_pi", "alpha", "room"),
)
_NUMBERS = ("lr", "gamma", "polyak", "target_entropy", "log_std_min", "log_std_max")


class Arguments(ctypes.Structure):
    """The struct of that name in csrc/step.h, field by field."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in _ARRAYS),
        *((name, ctypes.c_double) for name in _NUMBERS),
        *((name, ctypes.c_long) for name in ("n", "threads")),
    ]


class Kernel(NamedTuple):
    """Machine code for one batch size, and room for its intermediate values."""

    update: Any
    room: Tensor


class NativeLearner(WrappedLearner):
    """The default actor-critic's update on the CPU. Arguments are those of EagerLearner.

    The first one of its sizes on a machine takes some seconds to compile.

    Raises:
        ConfigError: if it cannot be compiled.
    """

    def __init__(
        self, ac: MLPActorCritic, objective: SoftQ, config: SACConfig, target_entropy: float, save: Save
    ) -> None:
        self.fused = FusedLearner(ac, objective, config, target_entropy, save)
        self.eager = self.fused.eager
        self._ac, self._config, self._target_entropy = ac, config, target_entropy
        self._kernels = dict[int, Kernel]()
        self._kernel(config.batch_size)  # what cannot be compiled is refused now

    def adopt(self) -> None:
        self.fused.adopt()

    def update(self, block: Block) -> dict[str, Float]:
        """One gradient step per batch, all in one call; metrics of all n."""
        like = self.fused.critic_group.params
        rows, noise = (torch.as_tensor(x).to(like.dtype).contiguous() for x in (block.rows, block.noise))
        n, batch = rows.shape[:2]
        kernel = self._kernel(batch)
        logp, q_pi, alpha = like.new_empty(n, batch), like.new_empty(n, batch), like.new_empty(n)
        q, error = like.new_empty(n, 2, batch), like.new_empty(n, 2, batch)
        logged = {"logp": logp, "q_out": q, "error": error, "q_pi": q_pi, "alpha": alpha}
        tensors = {**self._state(), **logged, "rows": rows, "noise": noise, "room": kernel.room}
        config = self._config
        arguments = Arguments(
            **{name: tensor.data_ptr() for name, tensor in tensors.items()},
            **{name: getattr(config, name) for name in ("lr", "gamma", "polyak")},
            target_entropy=self._target_entropy,
            log_std_min=LOG_STD_MIN,
            log_std_max=LOG_STD_MAX,
            n=n,
            threads=min(2, torch.get_num_threads()),
        )
        kernel.update(ctypes.byref(arguments))
        metrics = block_metrics(logp, q, error, q_pi, alpha, self.eager.target_entropy)
        return {key: value.numpy() for key, value in metrics.items()}

    def _state(self) -> dict[str, Tensor]:
        """What a block reads and writes besides its batches, by the names of `Arguments`."""
        fused, temperature = self.fused, self.fused.temperature
        found = {
            **{"center": fused.center, "half": fused.half_range, "low": fused.low, "high": fused.high},
            **_group("pi", fused.policy_group),
            **_group("q", fused.critic_group),
            "target": fused.target_flat.values,
        }
        if isinstance(temperature, ExplicitAlpha):
            group = temperature.group
            found |= {"log_alpha": group.params, "alpha_m": group.exp_avg, "alpha_v": group.exp_avg_sq}
            found["alpha_steps"] = group.steps
        else:
            found["fixed_alpha"] = temperature.value()
        return found

    def _kernel(self, batch: int) -> Kernel:
        if batch not in self._kernels:
            self._kernels[batch] = self._compile(batch)
        return self._kernels[batch]

    def _compile(self, batch: int) -> Kernel:
        pi, like = self._ac.pi, self.fused.critic_group.params
        hidden = linear_layers(pi.net), linear_layers(self._ac.q1.q)[:-1]
        widths = [",".join(str(layer.out_features) for layer in layers) for layers in hidden]
        act_dim, obs_dim = len(pi.center), hidden[0][0].in_features
        library = build(
            "update.cpp",
            {
                "SCALAR": _SCALARS[like.dtype],
                "OBS": str(obs_dim),
                "ACT": str(act_dim),
                "BATCH": str(batch),
                "PI_WIDTHS": widths[0],
                "Q_WIDTHS": widths[1],
            },
        )
        library.room.restype, library.update.restype = ctypes.c_long, None
        return Kernel(library.update, like.new_zeros(library.room()))


def _group(name: str, group: AdamGroup) -> dict[str, Tensor]:
    return {
        name: group.params,
        f"{name}_m": group.exp_avg,
        f"{name}_v": group.exp_avg_sq,
        f"{name}_steps": group.steps,
    }


def why_not_native(ac: nn.Module, objective: Objective) -> str | None:
    """What the native engine lacks here, in a few words; None where it applies."""
    return why_not_fused(ac, objective) or why_no_compiler()
