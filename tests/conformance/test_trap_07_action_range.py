"""Trap 7: log-probability wrong when the range is not [-1, 1], or only the first dimension's bound used."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from helpers import Point, small_ac

LOW, HIGH = np.array([-3.0, 0.5], np.float32), np.array([-1.0, 8.5], np.float32)


def test_actions_fill_each_dimensions_own_range() -> None:
    torch.manual_seed(0)
    ac = small_ac(low=LOW, high=HIGH)
    a = ac.pi(torch.randn(4000, 3))[0].detach().numpy()
    assert (a >= LOW).all()
    assert (a <= HIGH).all()
    assert (a.min(0) < LOW + 0.1 * (HIGH - LOW)).all()
    assert (a.max(0) > HIGH - 0.1 * (HIGH - LOW)).all()


def test_log_probability_is_that_of_the_squashed_action_before_scaling() -> None:
    ac, o, xi = small_ac(low=LOW, high=HIGH), torch.randn(6, 3), torch.randn(6, 2)
    a, logp = ac.pi(o, noise=xi)
    squashed = (a.double() - torch.tensor((LOW + HIGH) / 2)) / torch.tensor((HIGH - LOW) / 2)
    mu, log_std = (x.double() for x in ac.pi.distribution(o))
    u = torch.atanh(squashed)
    normal = torch.distributions.Normal(mu, log_std.exp()).log_prob(u)
    assert torch.allclose(logp.double(), (normal - torch.log(1 - squashed**2)).sum(-1), atol=1e-3)


class Wide(Point):
    """Two action dimensions with different bounds; records the actions it receives."""

    seen: list[Any] = []  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.action_space = Box(LOW, HIGH)

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.seen.append(action.copy())
        return super().step(action)


def test_the_env_and_the_replay_see_the_envs_units(run: Any, engine: str) -> None:
    Wide.seen.clear()
    run(Wide, engine=engine)
    actions = np.array(Wide.seen)
    assert (actions.min(0) < [-2.5, 2.5]).all()
    assert (actions.max(0) > [-1.5, 6.5]).all()
