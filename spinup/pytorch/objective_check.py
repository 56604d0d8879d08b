"""Checks of user-defined losses, made once before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from spinup.errors import ConfigError, first_line
from spinup.pytorch.agent import Agent
from spinup.pytorch.variants.objective import Objective
from spinup.replay.transition import Field


def check_objective(
    objective: Objective, agent: Agent, fields: dict[str, Field], batch_fields: tuple[str, ...]
) -> None:
    """Compute the losses of a custom objective once, on a batch of zeros.

    Args:
        objective: the losses.
        agent: the agent whose networks they are computed for.
        fields: the fields of transitions, by name.
        batch_fields: names of the fields of batches.

    Raises:
        ConfigError: naming the method, what it returned and what it must return.
    """
    count, name = 3, type(objective).__name__
    zeros: dict[str, Any] = {key: np.zeros((1, count), np.float32) for key in ("discount", "weight")}
    zeros |= {key: np.zeros((1, count, *field.shape), field.dtype) for key, field in fields.items()}
    zeros = {key: values for key, values in zeros.items() if key in batch_fields}
    rng = np.random.default_rng(0)
    batches = {**zeros, **_called(f"{name}.draw_noise", objective.draw_noise, zeros, rng)}
    batch = {key: values[0] for key, values in agent.to_tensors(batches).items()}
    alpha, networks = agent.temperature.value(), agent.networks

    returned = _called(f"{name}.critic_loss", objective.critic_loss, networks, batch, alpha)
    loss, metrics = _pair(f"{name}.critic_loss", returned, "the loss and a dict of what to log")
    _check_loss(f"{name}.critic_loss", loss)
    logged = {"LossQ": (), "Q1Vals": (count,), **dict.fromkeys(objective.columns)}
    logged |= {"TDError": (count,)} if "weight" in batch_fields else {}
    logged |= {"Q2Vals": (count,)} if objective.critics > 1 else {}
    for key, shape in logged.items():
        value = metrics.get(key) if isinstance(metrics, dict) else None
        if not isinstance(value, Tensor) or (shape is not None and value.shape != shape):
            wanted = "a tensor" if shape is None else f"a tensor of shape {shape}"
            raise ConfigError(
                f"{name}.critic_loss returned {_described(value)} as metric {key!r}: it must be {wanted}, "
                "see Objective.metrics"
            )
    for key in set(metrics) - set(logged):
        raise ConfigError(f"{name}.critic_loss returned the metric {key!r}: list it in {name}.columns")

    returned = _called(f"{name}.actor_loss", objective.actor_loss, networks, batch, alpha)
    loss, log_prob = _pair(f"{name}.actor_loss", returned, "the loss and log pi")
    _check_loss(f"{name}.actor_loss", loss)
    if not isinstance(log_prob, Tensor) or log_prob.shape != (count,):
        raise ConfigError(
            f"{name}.actor_loss returned {_described(log_prob)} as log pi: it must be of shape (batch,)"
        )


def _called(what: str, method: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return method(*arguments)
    except Exception as error:  # the user's code may raise anything
        raise ConfigError(f"{what} failed: {first_line(error)}; fix it") from error


def _pair(what: str, returned: Any, wanted: str) -> tuple[Any, Any]:
    if not isinstance(returned, tuple) or len(returned) != 2:
        raise ConfigError(f"{what} returned {_described(returned)}: it must return {wanted}")
    return returned


def _check_loss(what: str, loss: Any) -> None:
    if not isinstance(loss, Tensor) or loss.shape != () or not loss.requires_grad:
        without = " without gradient" * (isinstance(loss, Tensor) and not loss.requires_grad)
        raise ConfigError(
            f"{what} returned {_described(loss)}{without} as loss: it must be of shape () and depend on "
            "parameters"
        )


def _described(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}" if value is not None else "nothing"
    return f"a tensor of shape {tuple(value.shape)}"
