"""Trap 19: evaluation that should be deterministic samples actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from helpers import FourCalls, Point, make, small_ac

ACTIONS: list[tuple[Any, float]] = []


class Noted(Point):
    """Records each observation with the action taken there."""

    def reset(self, **kwargs: Any) -> Any:
        self.last, info = super().reset(**kwargs)
        return self.last, info

    def step(self, action: Any) -> Any:
        ACTIONS.append((self.last, float(action[0])))
        self.last, *rest = super().step(action)
        return self.last, *rest


def test_tests_of_a_run_take_the_mean_action(run: Any, engine: str) -> None:
    check_actions(run, engine=engine)


def test_tests_of_a_users_module_take_the_mean_action(run: Any) -> None:
    check_actions(run, actor_critic=FourCalls)


def check_actions(run: Any, **settings: Any) -> None:
    """Compare the actions of test episodes with the deterministic ones of the policy."""
    ACTIONS.clear()
    ac = run(Noted, epochs=1, start_steps=0, update_after=10_000, **settings)[0]
    obs = torch.from_numpy(np.array([obs for obs, _ in ACTIONS]))
    mean = np.asarray(ac.act(obs, deterministic=True)).ravel()
    exact = np.isclose([action for _, action in ACTIONS], mean, atol=1e-5)
    assert exact[100:].all()  # two test episodes after a hundred steps of training
    assert len(exact) == 100 + 2 * 15
    assert exact[:100].sum() < 5


def test_act_is_deterministic_on_request(engine: str) -> None:
    ac = small_ac()
    learner, obs = make(ac, engine), np.ones((3, 3), np.float32)
    assert np.array_equal(learner.act(obs, True), learner.act(obs, True))
    assert np.allclose(learner.act(obs, True), ac.act(obs, deterministic=True), atol=1e-6)
    assert not np.array_equal(learner.act(obs, False), learner.act(obs, False))
    assert not np.array_equal(ac.act(obs), ac.act(obs))
