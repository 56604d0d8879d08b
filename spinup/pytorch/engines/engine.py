"""The interface of engines, and how one declares what it supports."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, ClassVar

import torch
from numpy.random import Generator

from spinup.interfaces import Metrics
from spinup.pytorch.agent import Agent
from spinup.pytorch.variants.objective import Objective
from spinup.replay.transition import Batches


@dataclasses.dataclass(frozen=True)
class Supported:
    """What an engine implements. It refuses everything that is not listed here.

    Args:
        networks: classes of actor-critics. If `traces_modules` is set, a custom class is supported too if its
            class attribute `engines`, a tuple of names, lists the engine; subclasses do not inherit this.
        objectives: classes of objectives.
        fields: names of the fields of a batch.
        options: options of the objective, the update and the optimizers that may have any value; every
            other option must have its default.
        devices: types of torch devices.
        traces_modules: whether the engine computes networks by calling the modules' `forward`.
    """

    networks: tuple[type, ...]
    objectives: tuple[type[Objective], ...]
    fields: frozenset[str]
    options: frozenset[str]
    devices: tuple[str, ...]
    traces_modules: bool = False


class Engine(abc.ABC):
    """Computes updates. All engines compute the same update from the same agent and batches.

    An engine holds only compiled code and workspaces. All learned state belongs to the agent and is changed
    in place, so a run may be continued with another engine.

    Args:
        objective: the losses.
        threads: maximum number of threads of an engine that starts its own; torch's number is not changed.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    supported: ClassVar[Supported]

    def __init__(self, objective: Objective, threads: int = 1) -> None:
        self.objective, self.threads = objective, threads

    def draw_noise(self, batches: Batches, rng: Generator) -> Batches:
        """Draw the random inputs of the losses for these batches; returns them as additional fields."""
        return self.objective.draw_noise(batches, rng)

    @classmethod
    def unsupported_reason(cls, agent: Agent, objective: Objective, fields: tuple[str, ...]) -> str | None:
        """Why the engine does not support this update, in a few words; None if it does.

        Args:
            agent: the agent to update.
            objective: the losses.
            fields: the fields of a batch, noise included.
        """
        return unsupported_by(cls.supported, cls.name, agent, objective, fields)

    def prepare(self, agent: Agent) -> str:
        """Compile code before the first update, if necessary; returns an addition to the engine's log line.

        Raises:
            ConfigError: if compilation fails.
        """
        return ""

    @abc.abstractmethod
    def update(self, agent: Agent, batches: Batches) -> Metrics:
        """One gradient step per batch.

        Args:
            agent: the agent to update, in place.
            batches: fields of n batches, (n, B, *shape), including the fields of `draw_noise`.

        Returns:
            Metrics on the host, in the dtype of the agent: LossQ, Alpha and TargetEntropy (n,), Q1Vals and
            Q2Vals (n, B); LossPi and Entropy (k,) and LogPi (k, B) for the k steps that update the policy;
            TDError (n, B) if batches have the field `weight`.

        Raises:
            ConfigError: if the engine cannot compile or capture the actor-critic's update.
        """


def unsupported_by(
    supported: Supported, name: str, agent: Agent, objective: Objective, fields: tuple[str, ...]
) -> str | None:
    """The first part of an update that `supported` does not list, in a few words; None if all are listed."""
    kind = type(agent.ac)
    declared = supported.traces_modules and name in vars(kind).get("engines", ())
    if agent.reference_parameter.device.type not in supported.devices:
        return f"the device is {agent.reference_parameter.device}, not {' or '.join(supported.devices)}"
    if type(objective) not in supported.objectives:
        return f"the objective is {type(objective).__name__}"
    if kind not in supported.networks and not declared:
        remedy = f", whose attribute engines does not list {name!r}" if supported.traces_modules else ""
        return f"the actor-critic is {kind.__name__}{remedy}"
    for option, value in changed_options(agent, objective).items():
        if option not in supported.options:
            return f"it does not implement {option}={value}"
    for field in fields:
        if field not in supported.fields:
            return f"the batches have the field {field!r}"
    return None


def changed_options(agent: Agent, objective: Objective) -> dict[str, Any]:
    """Every option of the losses, the update and the optimizers that differs from its default."""
    found: dict[str, Any] = {}
    for options in (objective, agent.options):
        for field in dataclasses.fields(options):
            if (value := getattr(options, field.name)) != field.default:
                found[field.name] = value
    for name, optimizer in agent.optimizers._asdict().items():
        if optimizer is None:
            continue
        decay = 0.0 if name == "alpha" else agent.options.weight_decay
        kind = torch.optim.AdamW if decay else torch.optim.Adam
        if type(optimizer) is not kind or len(optimizer.param_groups) != 1:
            found["optimizer"] = type(optimizer).__name__
            continue
        wanted = _ADAM | {"betas": agent.options.betas, "weight_decay": decay}
        wanted |= {"decoupled_weight_decay": bool(decay)}
        if agent.options.lr_schedule == "constant":
            wanted["lr"] = agent.options.lr
        for key, default in wanted.items():
            if (value := optimizer.param_groups[0].get(key, default)) != default:
                found[f"an optimizer's own {key}"] = value
    return found


# Options that do not change Adam's results, and lr, which is an option of the update.
_IMPLEMENTATION = ("lr", "foreach", "fused", "capturable")
_ADAM = {
    key: value
    for key, value in torch.optim.Adam([torch.zeros(1)]).defaults.items()
    if key not in _IMPLEMENTATION
}
