"""The rule that picks an engine, and what it says; what an engine refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from helpers import FourCalls, small_ac
from torch import nn

from spinup.config import SACConfig
from spinup.envs.spaces import action_spec
from spinup.errors import ConfigError
from spinup.pytorch.agent import EagerLearner, SoftQ
from spinup.pytorch.engines.compile import CompiledLearner
from spinup.pytorch.engines.fused import FusedLearner
from spinup.pytorch.engines.registry import make_learner, preferred
from spinup.pytorch.networks.actor_critic import MLPActorCritic, MLPQFunction
from spinup.pytorch.variants.discrete import DiscreteMLPActorCritic
from spinup.pytorch.variants.registry import make_objective
from spinup.pytorch.variants.sac_v1 import MLPValueActorCritic

OBS, ACT = Box(-np.inf, np.inf, (3,)), Box(-1.0, 1.0, (2,))


class Subclass(MLPActorCritic):
    """A user's own, which may change anything."""


def changed(change: Any) -> nn.Module:
    """A default actor-critic after `change(ac)`."""
    ac = small_ac()
    change(ac)
    return ac


def replace_q2(ac: Any) -> None:
    """A second critic of other widths."""
    ac.q2 = MLPQFunction(3, 2, (4, 4), nn.ReLU)


def share_layers(ac: Any) -> None:
    """Critics that share a layer."""
    ac.q2.q[0] = ac.q1.q[0]


NOT_FUSED = [
    (lambda: FourCalls(OBS, ACT), "the actor-critic is FourCalls"),
    (lambda: Subclass(OBS, ACT, (8,)), "the actor-critic is Subclass"),
    (lambda: small_ac(activation=nn.Tanh), "the activation is Tanh"),
    (lambda: small_ac(hidden_sizes=()), "no hidden layer"),
    (lambda: small_ac(state_dependent_std=False), "log std does not depend on the state"),
    (lambda: changed(replace_q2), "differ in shape"),
    (lambda: changed(share_layers), "shared"),
    (lambda: changed(lambda ac: ac.pi.net[0].weight.requires_grad_(False)), "frozen"),
    (lambda: changed(lambda ac: ac.q1.double()), "not all float32"),
    (lambda: small_ac().to(torch.bfloat16), "bfloat16"),
    (lambda: changed(lambda ac: ac.q1.register_forward_hook(lambda *a: None)), "hook"),
    (lambda: changed(lambda ac: setattr(ac, "q1", nn.Sequential(*ac.q1.q))), "replaced"),
    (lambda: changed(lambda ac: nn.utils.parametrizations.weight_norm(ac.q1.q[0])), "ParametrizedLinear"),
]


def chosen(ac: nn.Module, space: Any = ACT, **changes: Any) -> tuple[Any, str, str]:
    """What make_learner returns."""
    config = SACConfig(**changes)
    return make_learner(
        ac, make_objective(ac, config, space), config, action_spec(space), lambda ac, path: None
    )


def test_auto_is_fused_for_the_default_networks_on_the_cpu() -> None:
    learner, name, note = chosen(small_ac())
    assert type(learner) is FusedLearner
    assert name == "fused"
    assert note == (
        "engine: fused, explicit gradients of the default networks (the quickest that needs no compiler)"
    )


@pytest.mark.parametrize(("build", "reason"), NOT_FUSED)
def test_auto_is_eager_elsewhere_and_fused_by_name_is_refused(build: Any, reason: str) -> None:
    learner, name, note = chosen(build())
    assert type(learner) is EagerLearner
    assert name == "eager"
    assert reason in note
    with pytest.raises(
        ConfigError, match=r"^engine='fused' cannot be used here, as .*give engine='auto'$"
    ) as error:
        chosen(build(), engine="fused")
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("ac", "space", "changes"),
    [
        (DiscreteMLPActorCritic(OBS, Discrete(3), (8,)), Discrete(3), {}),
        (MLPValueActorCritic(OBS, ACT, (8,)), ACT, {"variant": "sac_v1"}),
    ],
)
def test_variants_run_on_eager(ac: nn.Module, space: Any, changes: Any) -> None:
    assert type(chosen(ac, space, **changes)[0]) is EagerLearner
    with pytest.raises(ConfigError, match="as this variant has losses of its own"):
        chosen(ac, space, engine="fused", **changes)


def test_eager_is_there_for_the_asking() -> None:
    learner, name, note = chosen(small_ac(), engine="eager")
    assert type(learner) is EagerLearner
    assert (name, note) == ("eager", "engine: eager, plain autograd (as asked for, or as before)")


def test_a_cuda_graph_needs_cuda() -> None:
    with pytest.raises(ConfigError, match=r"engine='cuda_graph' cannot be used here, as the device is cpu"):
        chosen(small_ac(), engine="cuda_graph")


def test_compile_is_only_used_by_name_and_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(chosen(FourCalls(OBS, ACT), engine="compile")[0]) is CompiledLearner
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match=r"engine='compile' .* no C\+\+ compiler is installed"):
        chosen(FourCalls(OBS, ACT), engine="compile")


def test_on_cuda_auto_captures_networks_of_this_package_and_no_others() -> None:
    """The meta device stands for any that is not the CPU."""
    for ac, engine in (
        (small_ac(), "cuda_graph"),
        (FourCalls(OBS, ACT), "eager"),
        (Subclass(OBS, ACT), "eager"),
    ):
        ac.to("meta")
        assert preferred(ac, SoftQ(ac, 0.99)) == engine
