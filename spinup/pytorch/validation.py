"""Checks of an actor-critic against the documented protocol, made once before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from spinup.errors import ConfigError, first_line


def check_actor_critic(
    ac: Any,
    observation_space: Box,
    action_space: Box | Discrete,
    *,
    critics: int = 2,
    has_value: bool = False,
    critic_outputs: int | None = None,
) -> None:
    """Call all methods that SAC uses with batches of 1 and 3; see `sac_pytorch` for the protocol.

    Args:
        ac: the actor-critic.
        observation_space, action_space: the spaces it was constructed with.
        critics: number of critics, q1 to q<critics>.
        has_value: whether the variant also learns a value network `v`.
        critic_outputs: number of outputs that the method `distribution` of critics must return; None if
            critics are scalar.

    Raises:
        ConfigError: naming the part, what it returned and what it must return.
    """
    name = type(ac).__name__
    if not isinstance(ac, nn.Module):
        raise ConfigError(f"actor_critic returned {name}: it must return a torch.nn.Module")
    critic_names = [f"q{i}" for i in range(1, critics + 1)]
    for part in ("pi", *critic_names, *(["v"] if has_value else [])):
        if not isinstance(getattr(ac, part, None), nn.Module):
            raise ConfigError(f"{name}.{part} is missing or not a torch.nn.Module: this run trains it")
    pi: Any = ac.pi
    of_critics = {id(p) for part in critic_names for p in getattr(ac, part).parameters()}
    if not any(p.requires_grad and id(p) not in of_critics for p in pi.parameters()):
        raise ConfigError(f"{name}.pi has no trainable parameters of its own: this run trains them")
    if not callable(getattr(ac, "act", None)):
        raise ConfigError(f"{name}.act is missing: it must map observations to numpy actions")
    dtype = next((p.dtype for p in ac.parameters() if p.is_floating_point()), torch.float32)
    device = next((p.device for p in ac.parameters()), torch.device("cpu"))
    for batch in (1, 3):
        kind = torch.uint8 if observation_space.dtype == np.uint8 else dtype  # images arrive as rows of bytes
        obs = torch.zeros(batch, observation_space.shape[0], dtype=kind, device=device)
        if isinstance(action_space, Discrete):
            _check_discrete(ac, name, obs, int(action_space.n), critic_names)
        else:
            action = _check_continuous(ac, name, obs, action_space.shape[0], critic_names)
            if critic_outputs is not None:
                _check_distributions(ac, name, critic_names, (obs, action), critic_outputs)
        if has_value:
            value: Any = ac.v
            _check_shape(f"{name}.v(obs)", _call(name, "v", value, obs), (batch,), _FLATTEN)


def _check_continuous(ac: Any, name: str, obs: Tensor, act_dim: int, critics: list[str]) -> Tensor:
    batch = len(obs)
    _check_act(ac, name, obs, (batch, act_dim))
    a = _check_pi(ac, name, obs, batch, act_dim)
    for part in critics:
        value = _call(name, part, getattr(ac, part), obs, a)
        _check_shape(f"{name}.{part}(obs, a)", value, (batch,), _FLATTEN)
    return a


def _check_distributions(
    ac: Any, name: str, critics: list[str], inputs: tuple[Tensor, Tensor], outputs: int
) -> None:
    for part in critics:
        distribution = getattr(getattr(ac, part), "distribution", None)
        if not callable(distribution):
            raise ConfigError(
                f"{name}.{part} has no method distribution(obs, a), which critics with {outputs} outputs "
                "need: give critic='scalar', or define the method"
            )
        values = _call(name, f"{part}.distribution", distribution, *inputs)
        _check_shape(f"{name}.{part}.distribution(obs, a)", values, (len(inputs[0]), outputs), "")


def _check_discrete(ac: Any, name: str, obs: Tensor, n: int, critics: list[str]) -> None:
    wanted = (len(obs), n)
    for action in _check_act(ac, name, obs, wanted[:1]):
        if not np.issubdtype(action.dtype, np.integer) or action.min() < 0 or action.max() >= n:
            raise ConfigError(
                f"{name}.act returned {action} of {action.dtype}: it must return integers from 0 to {n - 1}"
            )
    with torch.enable_grad():
        probs, logp = _pair(name, _call(name, "pi", ac.pi, obs), "probabilities and log probabilities")
        _check_shape(f"{name}.pi(obs)[0], the probabilities,", probs, wanted, "")
        _check_shape(f"{name}.pi(obs)[1], the log probabilities,", logp, wanted, "; do not sum over actions")
        _check_gradient(name, {"the probabilities": probs, "the log probabilities": logp})
    if not torch.allclose(probs.sum(-1), probs.new_ones(()), atol=1e-3) or (probs < 0).any():
        raise ConfigError(f"{name}.pi(obs)[0] must be probabilities that sum to 1: apply softmax to logits")
    if not torch.allclose(logp.exp(), probs, atol=1e-3):
        raise ConfigError(f"{name}.pi(obs)[1] must be the logarithms of pi(obs)[0]: use log_softmax")
    for part in critics:
        value = _call(name, part, getattr(ac, part), obs)
        _check_shape(f"{name}.{part}(obs)", value, wanted, ", one value per action")


_FLATTEN = "; flatten the last axis with squeeze(-1), or the loss broadcasts it to (batch, batch)"


def _call(name: str, part: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    try:
        return function(*args, **kwargs)
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in args)
        raise ConfigError(
            f"{name}.{part} failed on inputs of shape {shapes}: {first_line(error)}; it "
            "must take batches of any size"
        ) from error


def _check_act(ac: Any, name: str, obs: Tensor, wanted: tuple[int, ...]) -> list[Any]:
    actions = []
    for deterministic in (False, True):
        action = _call(name, "act", ac.act, obs, deterministic=deterministic)
        if not isinstance(action, np.ndarray):
            raise ConfigError(f"{name}.act returned {type(action).__name__}: it must return a numpy array")
        _check_shape(f"{name}.act(obs)", action, wanted, "")
        actions.append(action)
    return actions


def _check_pi(ac: Any, name: str, obs: Tensor, batch: int, act_dim: int) -> Tensor:
    with torch.enable_grad():
        a, logp = _pair(name, _call(name, "pi", ac.pi, obs), "a, logp_pi")
        _check_shape(f"{name}.pi(obs)[0], the actions,", a, (batch, act_dim), "")
        _check_shape(f"{name}.pi(obs)[1], logp_pi,", logp, (batch,), "; sum over the action dimensions")
        _check_gradient(name, {"the actions": a, "logp_pi": logp}, "sample with rsample() and ")
    return a.detach()


def _pair(name: str, out: Any, what: str) -> tuple[Tensor, Tensor]:
    if not isinstance(out, tuple) or len(out) != 2:
        raise ConfigError(f"{name}.pi returned {type(out).__name__}: it must return the pair {what}")
    return out


def _check_gradient(name: str, values: dict[str, Tensor], how: str = "") -> None:
    for what, value in values.items():
        if not value.requires_grad:
            raise ConfigError(f"{name}.pi returned {what} without a gradient: {how}keep them attached")


def _check_shape(what: str, value: Any, wanted: tuple[int, ...], remedy: str) -> None:
    got = tuple(getattr(value, "shape", ()))
    if got != wanted:
        raise ConfigError(
            f"{what} has shape {got} for a batch of {wanted[0]}, and must have {wanted}{remedy}"
        )
