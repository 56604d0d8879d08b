"""The rule that picks an engine, and what it says; what an engine refuses."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from helpers import FourCalls, make_agent, small_ac
from torch import nn

from spinup.config import SACConfig
from spinup.errors import ConfigError
from spinup.pytorch.engines.compile import CompileEngine
from spinup.pytorch.engines.eager import EagerEngine
from spinup.pytorch.engines.native import NativeEngine
from spinup.pytorch.engines.registry import AUTO, ENGINES, choose_engine
from spinup.pytorch.networks.actor_critic import (
    DiscreteMLPActorCritic,
    MLPActorCritic,
    MLPValueActorCritic,
)
from spinup.pytorch.networks.mlp import MLPQFunction

OBS, ACT = Box(-np.inf, np.inf, (3,)), Box(-1.0, 1.0, (2,))


class Subclass(MLPActorCritic):
    """A user's own, which may change anything."""


def changed(change: Any) -> nn.Module:
    """A default actor-critic after `change(ac)`."""
    ac = small_ac()
    change(ac)
    return ac


def replace_q2(ac: Any) -> None:
    """A second critic with one more layer."""
    ac.q2 = MLPQFunction(3, 2, (4, 4, 4), nn.ReLU)


def share_layers(ac: Any) -> None:
    """Critics that share a layer."""
    ac.q2.q[0] = ac.q1.q[0]


NOT_NATIVE = [
    (lambda: FourCalls(OBS, ACT), "the actor-critic is FourCalls"),
    (lambda: Subclass(OBS, ACT, (8,)), "the actor-critic is Subclass"),
    (lambda: small_ac(activation=nn.Hardsigmoid), "the layer Hardsigmoid"),
    (lambda: small_ac(activation=functools.partial(nn.Softplus, 2.0)), "Softplus with beta=2.0"),
    (lambda: changed(replace_q2), "differ in depth"),
    (lambda: changed(share_layers), "shared"),
    (lambda: changed(lambda ac: ac.pi.net[0].weight.requires_grad_(False)), "frozen"),
    (lambda: changed(lambda ac: ac.q1.double()), "not all float32"),
    (lambda: small_ac().to(torch.bfloat16), "bfloat16"),
    (lambda: changed(lambda ac: ac.q1.register_forward_hook(lambda *a: None)), "hook"),
    (lambda: changed(lambda ac: setattr(ac, "q1", nn.Sequential(*ac.q1.q))), "replaced"),
    (lambda: changed(lambda ac: nn.utils.parametrizations.weight_norm(ac.q1.q[0])), "ParametrizedLinear"),
]


def chosen(ac: nn.Module, space: Any = ACT, **changes: Any) -> tuple[Any, str]:
    """The engine that is chosen for the configuration, and the line about it."""
    config = SACConfig(**changes)
    agent, objective, fields = make_agent(ac, config, space)
    return choose_engine(config.engine, agent, objective, fields)


def test_auto_is_native_for_the_default_networks_on_the_cpu() -> None:
    engine, note = chosen(small_ac(), batch_size=5)
    assert type(engine) is NativeEngine
    assert note == ("engine: native, machine code for this processor (the fastest that supports this run)")


@pytest.mark.parametrize(("build", "reason"), NOT_NATIVE)
def test_auto_is_eager_elsewhere_and_native_by_name_is_refused(build: Any, reason: str) -> None:
    engine, note = chosen(build())
    assert type(engine) is EagerEngine
    assert reason in note
    with pytest.raises(
        ConfigError, match=r"^engine='native' cannot be used here, as .*give engine='auto'$"
    ) as error:
        chosen(build(), engine="native")
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("ac", "space", "changes"),
    [
        (DiscreteMLPActorCritic(OBS, Discrete(3), (8,)), Discrete(3), {}),
        (MLPValueActorCritic(OBS, ACT, (8,)), ACT, {"variant": "sac_v1"}),
    ],
)
def test_auto_is_native_for_every_variant(ac: nn.Module, space: Any, changes: Any) -> None:
    assert type(chosen(ac, space, **changes)[0]) is NativeEngine


def test_eager_can_be_asked_for() -> None:
    engine, note = chosen(small_ac(), engine="eager")
    assert type(engine) is EagerEngine
    assert note == "engine: eager, plain autograd (as requested)"


def test_a_cuda_graph_needs_cuda() -> None:
    with pytest.raises(ConfigError, match=r"engine='cuda_graph' cannot be used here, as the device is cpu"):
        chosen(small_ac(), engine="cuda_graph")


def test_compile_is_only_used_by_name_and_needs_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(chosen(FourCalls(OBS, ACT), engine="compile")[0]) is CompileEngine
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigError, match=r"engine='compile' .* no C\+\+ compiler is installed"):
        chosen(FourCalls(OBS, ACT), engine="compile")


def test_auto_is_eager_on_other_devices_than_the_cpu() -> None:
    """The meta device stands for any of them."""
    for ac in (small_ac(), FourCalls(OBS, ACT), Subclass(OBS, ACT, (8,))):
        engine, note = chosen(ac.to("meta"))
        assert type(engine) is EagerEngine
        assert "(not native, as the device is meta, not cpu)" in note


def test_auto_takes_no_engine_that_is_unmeasured_or_slow_to_start() -> None:
    assert AUTO == ("native", "eager")
    assert set(ENGINES) == {"eager", "native", "compile", "cuda_graph"}
