"""Trap 22: evaluation changes training: it draws from the same generator or steps the same env."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import FourCalls, Point, parameters


class Drawing(FourCalls):
    """A user's module that draws from the global generator even when it acts deterministically."""

    def act(self, obs: Any, deterministic: bool = False) -> Any:
        torch.randn(3)
        return super().act(obs, deterministic)


def test_training_is_the_same_with_and_without_tests(run: Any, engine: str) -> None:
    check_training(run, engine=engine)


@pytest.mark.parametrize("kind", [FourCalls, Drawing])
def test_training_of_users_modules_is_the_same_with_and_without_tests(run: Any, kind: Any) -> None:
    check_training(run, actor_critic=kind)


def check_training(run: Any, **settings: Any) -> None:
    """Compare parameters and rows of runs without test episodes, with one and with three."""
    found = [run(num_test_episodes=n, **settings) for n in (0, 1, 3)]
    for ac, rows in found[1:]:
        assert torch.equal(parameters(ac), parameters(found[0][0]))
        for key in ("AverageEpRet", "AverageQ1Vals", "LossPi", "Entropy"):
            assert [row[key] for row in rows] == [row[key] for row in found[0][1]]


def test_tests_step_separate_environments(run: Any) -> None:
    lives: list[list[int]] = []

    class Noted(Point):
        """Each instance records the lengths of its episodes."""

        def __init__(self) -> None:
            super().__init__()
            self.life: list[int] = []
            lives.append(self.life)

        def reset(self, **kwargs: Any) -> Any:
            self.life.append(0)
            return super().reset(**kwargs)

        def step(self, action: Any) -> Any:
            self.life[-1] += 1
            return super().step(action)

    run(Noted, num_test_episodes=2)
    used = [life for life in lives if life]
    assert [sum(life) for life in used] == [200, 30, 30]  # training; two tests of one episode in each
    assert np.all([length <= 15 for life in used for length in life])
