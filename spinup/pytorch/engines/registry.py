"""Which engine computes the updates: a fixed rule, or the one asked for by name (docs/engines.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from spinup.config import SACConfig
from spinup.envs.spaces import ActionSpec
from spinup.errors import ConfigError
from spinup.pytorch.agent import EagerLearner, Objective, Save
from spinup.pytorch.engines.compile import CompiledLearner, why_not_compiled
from spinup.pytorch.engines.cuda_graph import CudaGraphLearner, why_not_cuda_graph
from spinup.pytorch.engines.fused import FusedLearner, why_not_fused
from spinup.pytorch.engines.native import NativeLearner, why_not_native
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.variants.discrete import DiscreteMLPActorCritic
from spinup.pytorch.variants.registry import target_entropy
from spinup.pytorch.variants.sac_v1 import MLPValueActorCritic
from spinup.training import Learner

WhyNot = Callable[[Any, Objective], str | None]
_ENGINES: dict[str, tuple[Callable[..., Learner], WhyNot, str]] = {
    "eager": (EagerLearner, lambda ac, objective: None, "plain autograd"),
    "fused": (FusedLearner, why_not_fused, "explicit gradients of the default networks"),
    "native": (NativeLearner, why_not_native, "explicit gradients as machine code for these sizes"),
    "compile": (CompiledLearner, why_not_compiled, "torch.compile; the first update takes half a minute"),
    "cuda_graph": (CudaGraphLearner, why_not_cuda_graph, "blocks of updates as CUDA graphs"),
}
_OURS = (MLPActorCritic, DiscreteMLPActorCritic, MLPValueActorCritic)


def make_learner(
    ac: nn.Module, objective: Objective, config: SACConfig, actions: ActionSpec, save: Save
) -> tuple[Learner, str, str]:
    """The learner, the engine's name and one line that says why it was chosen.

    `auto` is what `preferred` names where that applies, else eager.

    Raises:
        ConfigError: if the engine asked for cannot compute this update.
    """
    name = config.engine
    wanted = preferred(ac, objective) if name == "auto" else name
    learner, why_not, what = _ENGINES[wanted]
    reason = why_not(ac, objective)
    if reason is not None and name != "auto":
        raise ConfigError(f"engine={name!r} cannot be used here, as {reason}: give engine='auto'")
    if reason is not None:
        chosen, note = "eager", f"engine: eager, plain autograd (not {wanted}, as {reason})"
        learner = EagerLearner
    else:
        why = "as asked for, or as before" if name == wanted else "the quickest that needs no compiler"
        chosen, note = wanted, f"engine: {wanted}, {what} ({why})"
    return learner(ac, objective, config, target_entropy(config, actions.space), save), chosen, note


def preferred(ac: nn.Module, objective: Objective) -> str:
    """What `auto` would use: fused on the CPU, cuda_graph on CUDA for networks of this package.

    A user's own module may branch in Python, and a captured graph would go on taking the branch of its
    first run; so it is captured only when asked for by name.
    """
    if objective.critic_params[0].device.type == "cpu":
        return "fused"
    return "cuda_graph" if type(ac) in _OURS else "eager"
