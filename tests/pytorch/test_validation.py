"""Checks of users' actor-critics: each violation of the protocol is named in one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box
from helpers import FourCalls, SharedByAll, SharedCritics, small_ac
from torch import nn

from spinup.errors import ConfigError
from spinup.pytorch.validation import check_actor_critic

SPACES = Box(-np.inf, np.inf, (3,)), Box(-1.0, 1.0, (2,))


class Wrapped(nn.Module):
    """A module whose result a function changes."""

    def __init__(self, inner: nn.Module, change: Any) -> None:
        super().__init__()
        self.inner, self.change = inner, change

    def forward(self, *args: Any) -> Any:
        """The changed result."""
        return self.change(self.inner(*args))


def with_change(part: str, change: Any) -> FourCalls:
    """A valid actor-critic of which one part is broken."""
    ac = FourCalls(*SPACES)
    if part == "act":
        valid = ac.act
        ac.act = lambda obs, deterministic=False: change(valid(obs, deterministic))  # type: ignore[method-assign]
    else:
        ac.act = FourCalls(*SPACES).act  # type: ignore[method-assign]
        setattr(ac, part, Wrapped(getattr(ac, part), change))
    return ac


BROKEN = [
    ("q1", lambda q: q[:, None], r"\.q1\(obs, a\) has shape \(1, 1\) for a batch of 1, and must have \(1,\)"),
    ("q2", lambda q: q[:, None], r"\.q2\(obs, a\) has shape \(1, 1\)[^\n]*broadcasts"),
    ("q1", lambda q: q.squeeze(), r"\.q1\(obs, a\) has shape \(\) for a batch of 1"),
    ("q2", lambda q: q.mean(0, keepdim=True), r"\.q2\(obs, a\) has shape \(1,\) for a batch of 3"),
    ("q1", lambda q: None, r"\.q1\(obs, a\) has shape \(\)"),
    ("pi", lambda out: out[0], r"\.pi returned Tensor: it must return the pair a, logp_pi"),
    ("pi", lambda out: (out[0], out[1][:, None]), r"logp_pi, has shape \(1, 1\)"),
    ("pi", lambda out: (out[0], out[0]), r"logp_pi, has shape \(1, 2\)[^\n]*sum over the action"),
    ("pi", lambda out: (out[0][:, :1], out[1]), r"the actions, has shape \(1, 1\)"),
    ("pi", lambda out: (out[0].detach(), out[1]), r"the actions without a gradient: sample with rsample"),
    ("pi", lambda out: (out[0], out[1].detach()), r"logp_pi without a gradient"),
    ("act", torch.as_tensor, r"\.act returned Tensor: it must return a numpy array"),
    ("act", lambda a: a.squeeze(), r"\.act\(obs\) has shape \(2,\) for a batch of 1"),
    (
        "pi",
        lambda out: 1 / 0,
        r"\.pi failed on inputs of shape \(1, 3\): ZeroDivisionError[^\n]*; it must take batches of any size",
    ),
]


@pytest.mark.parametrize(("part", "change", "words"), BROKEN)
def test_violations_are_named_in_one_line(part: str, change: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"^FourCalls[^\n]*{words}[^\n]*$"):
        check_actor_critic(with_change(part, change), *SPACES)


@pytest.mark.parametrize("part", ["pi", "q1", "q2"])
def test_a_missing_part_is_named(part: str) -> None:
    ac = FourCalls(*SPACES)
    delattr(ac, part)
    with pytest.raises(ConfigError, match=rf"^FourCalls\.{part} is missing or not a torch\.nn\.Module"):
        check_actor_critic(ac, *SPACES)


def test_a_policy_must_have_parameters_of_its_own() -> None:
    ac = FourCalls(*SPACES)
    ac.pi.requires_grad_(False)
    with pytest.raises(ConfigError, match=r"^FourCalls\.pi has no trainable parameters of its own: this run"):
        check_actor_critic(ac, *SPACES)


def test_act_must_exist_and_the_actor_critic_must_be_a_module() -> None:
    ac = FourCalls(*SPACES)
    ac.act = None  # type: ignore[assignment, method-assign]
    with pytest.raises(ConfigError, match=r"^FourCalls\.act is missing"):
        check_actor_critic(ac, *SPACES)
    with pytest.raises(ConfigError, match=r"^actor_critic returned int: it must return a torch\.nn\.Module"):
        check_actor_critic(3, *SPACES)


@pytest.mark.parametrize("kind", [FourCalls, SharedCritics, SharedByAll])
def test_valid_actor_critics_pass(kind: Any) -> None:
    check_actor_critic(kind(*SPACES), *SPACES)
    check_actor_critic(small_ac(), *SPACES)
    check_actor_critic(small_ac().double(), *SPACES)


def test_distributional_critics_need_the_method_distribution() -> None:
    with pytest.raises(ConfigError, match=r"^FourCalls\.q1 has no method distribution\(obs, a\)"):
        check_actor_critic(FourCalls(*SPACES), *SPACES, critic_outputs=25)
    ac = small_ac(critic="quantile", quantiles=5)
    check_actor_critic(ac, *SPACES, critic_outputs=5)
    with pytest.raises(
        ConfigError, match=r"q1\.distribution\(obs, a\) has shape \(1, 5\) .* must have \(1, 6\)"
    ):
        check_actor_critic(ac, *SPACES, critic_outputs=6)


def test_every_critic_is_checked() -> None:
    ac: Any = small_ac(critics=3)
    check_actor_critic(ac, *SPACES, critics=3)
    ac.q3 = Wrapped(ac.q3, lambda q: q[:, None])
    with pytest.raises(ConfigError, match=r"^MLPActorCritic\.q3\(obs, a\) has shape \(1, 1\)"):
        check_actor_critic(ac, *SPACES, critics=3)
    with pytest.raises(ConfigError, match=r"^MLPActorCritic\.q4 is missing or not a torch\.nn\.Module"):
        check_actor_critic(small_ac(critics=3), *SPACES, critics=4)
