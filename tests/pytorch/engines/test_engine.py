"""What an engine does not declare is refused: options, batch fields, optimizers, networks, objectives."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers import make_agent, small_ac

from spinup.config import SACConfig
from spinup.errors import ConfigError
from spinup.pytorch.agent import UpdateOptions
from spinup.pytorch.engines.compile import CompileEngine
from spinup.pytorch.engines.cuda_graph import CudaGraphEngine
from spinup.pytorch.engines.eager import EagerEngine
from spinup.pytorch.engines.engine import unsupported_by
from spinup.pytorch.engines.native import NativeEngine
from spinup.pytorch.engines.registry import ENGINES, choose_engine
from spinup.pytorch.networks.actor_critic import MLPActorCritic
from spinup.pytorch.variants.sac import SACObjective

ACT = Box(-1.0, 1.0, (2,), np.float32)
DECLARING = (NativeEngine, CompileEngine, CudaGraphEngine)


def reason(engine: Any, agent: Any, objective: Any, fields: tuple[str, ...]) -> str | None:
    """What the engine's declaration lacks, as if it ran on every device."""
    supported = dataclasses.replace(engine.supported, devices=("cpu",))
    return unsupported_by(supported, engine.name, agent, objective, fields)


def plain(ac: Any = None) -> tuple[Any, Any, tuple[str, ...]]:
    """An update that every engine supports."""
    return make_agent(small_ac() if ac is None else ac, SACConfig(batch_size=5), ACT)


@dataclasses.dataclass(frozen=True)
class MadeUpUpdateOptions(UpdateOptions):
    """An option that no engine declares."""

    made_up_schedule: float = 0.0


class MadeUpNetwork(MLPActorCritic):
    """A network that no engine declares."""


def with_made_up_objective_option(value: float) -> Any:
    """An update whose objective has one more option; its class is another than SACObjective."""
    agent, objective, fields = plain()
    kind = dataclasses.make_dataclass(
        "SACObjective", [("made_up_loss", float, 0.0)], bases=(SACObjective,), frozen=True
    )
    return agent, kind(**dataclasses.asdict(objective), made_up_loss=value), fields


def with_made_up_update_option(value: float = 1.0) -> Any:
    """An update with one more option."""
    agent, objective, fields = plain()
    agent.options = MadeUpUpdateOptions(**dataclasses.asdict(agent.options), made_up_schedule=value)
    return agent, objective, fields


def with_optimizer(**changes: Any) -> Any:
    """An update whose critic optimizer has other settings."""
    agent, objective, fields = plain()
    agent.optimizers.critic.param_groups[0].update(changes)
    return agent, objective, fields


def with_another_optimizer() -> Any:
    """An update with another kind of optimizer."""
    agent, objective, fields = plain()
    agent.optimizers = agent.optimizers._replace(actor=torch.optim.AdamW(agent.actor_params))
    return agent, objective, fields


def with_made_up_field() -> Any:
    """An update whose batches have one more field."""
    agent, objective, fields = plain()
    return agent, objective, (*fields, "made_up_field")


UPDATES = [
    (with_made_up_update_option, "it does not implement made_up_schedule=1.0"),
    (lambda: with_optimizer(weight_decay=0.1), "it does not implement an optimizer's own weight_decay=0.1"),
    (
        lambda: with_optimizer(betas=(0.5, 0.999)),
        r"it does not implement an optimizer's own betas=(0.5, 0.999)",
    ),
    (with_another_optimizer, "it does not implement optimizer=AdamW"),
    (with_made_up_field, "the batches have the field 'made_up_field'"),
    (lambda: plain(MadeUpNetwork(Box(-1, 1, (3,)), ACT, (8, 8))), "the actor-critic is MadeUpNetwork"),
    (lambda: with_made_up_objective_option(1.0), "the objective is SACObjective"),
]


@pytest.mark.parametrize("engine", DECLARING)
def test_the_plain_update_is_supported(engine: Any) -> None:
    assert reason(engine, *plain()) is None


@pytest.mark.parametrize("engine", DECLARING)
@pytest.mark.parametrize(("update", "wanted"), UPDATES)
def test_what_is_not_declared_is_refused(engine: Any, update: Any, wanted: str) -> None:
    assert (reason(engine, *update()) or "").startswith(wanted)


@pytest.mark.parametrize("engine", DECLARING)
def test_an_option_added_to_a_supported_objective_is_refused_unless_it_has_its_default(engine: Any) -> None:
    for value, supported in ((0.0, True), (1.0, False)):
        agent, objective, fields = with_made_up_objective_option(value)
        declared = dataclasses.replace(
            engine.supported, devices=("cpu",), objectives=(*engine.supported.objectives, type(objective))
        )
        found = unsupported_by(declared, engine.name, agent, objective, fields)
        assert found == (None if supported else "it does not implement made_up_loss=1.0")
        found = reason(engine, *with_made_up_update_option(value))
        assert found == (None if supported else "it does not implement made_up_schedule=1.0")


@pytest.mark.parametrize(("update", "wanted"), UPDATES)
def test_eager_supports_everything_and_auto_falls_back_to_it(update: Any, wanted: str) -> None:
    assert EagerEngine.unsupported_reason(*update()) is None
    engine, note = choose_engine("auto", *update())
    assert type(engine) is EagerEngine
    assert f"not native, as {wanted}" in note
    with pytest.raises(ConfigError, match=r"^engine='native' cannot be used here, as [^\n]*$"):
        choose_engine("native", *update())


def test_every_engine_but_eager_declares() -> None:
    assert {engine for engine in ENGINES.values() if engine is not EagerEngine} == set(DECLARING)


def test_a_users_class_declares_engines_that_trace_it_and_no_others() -> None:
    class Declared(MLPActorCritic):
        """A user's subclass."""

        engines = ("compile", "native")

    ac = Declared(Box(-1, 1, (3,)), ACT, (8, 8))
    assert reason(CompileEngine, *plain(ac)) is None
    assert "attribute engines does not list 'cuda_graph'" in str(reason(CudaGraphEngine, *plain(ac)))
    assert reason(NativeEngine, *plain(ac)) == "the actor-critic is Declared"


@pytest.mark.parametrize("engine", DECLARING)
def test_critics_beyond_two(engine: Any) -> None:
    assert reason(engine, *make_agent(small_ac(critics=4), SACConfig(critics=4), ACT)) is None
