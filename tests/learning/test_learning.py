"""Short runs on tasks whose best return, or entropy, is known."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box


class StayOrQuit(gym.Env[Any, Any]):
    """Five phases in a cycle: staying pays 1 per step, forever; quitting pays 3 and terminates.

    With gamma = 0.9 staying is worth 10, so it is always best to stay, though the run cuts the episode
    after five steps. Both ends look like the first phase. An agent that treats the cut as a terminal
    therefore quits in the last phase (3 against 1) and returns 7; one that treats the terminal as a cut
    expects to quit forever (3 per step against 1), and returns 3.
    """

    observation_space = Box(0.0, 1.0, (5,), np.float32)
    action_space = Box(-1.0, 1.0, (1,), np.float32)

    def __init__(self) -> None:
        self.phase = 0

    def observe(self) -> Any:
        """The phase, one-hot."""
        return np.eye(5, dtype=np.float32)[self.phase]

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.phase = 0
        return self.observe(), {}

    def step(self, action: Any) -> Any:
        if action[0] > 0:
            self.phase = 0
            return self.observe(), 3.0, True, False, {}
        self.phase = (self.phase + 1) % 5
        return self.observe(), 1.0, False, False, {}


def test_terminals_and_cuts_are_distinguished(run: Any, engine: str) -> None:
    rows = run(
        StayOrQuit, engine=engine, ac_kwargs={"hidden_sizes": (32, 32)}, gamma=0.9, alpha=0.05, lr=3e-3,
        polyak=0.98, batch_size=64, steps_per_epoch=2000, epochs=1, start_steps=500, update_after=200,
        update_every=20, max_ep_len=5, num_test_episodes=2,
    )[1]  # fmt: skip
    assert float(rows[-1]["AverageTestEpRet"]) == 5.0
    assert float(rows[-1]["TestEpLen"]) == 5.0


def test_pendulum_is_solved_in_ten_thousand_steps(run: Any, engine: str) -> None:
    rows = run(
        "Pendulum-v1", engine=engine, ac_kwargs={"hidden_sizes": (64, 64)}, alpha=0.2, steps_per_epoch=10_000,
        epochs=1, start_steps=1000, update_after=1000, update_every=50, batch_size=100, max_ep_len=200,
        num_test_episodes=10,
    )[1]  # fmt: skip
    assert float(rows[-1]["AverageTestEpRet"]) > -250


@pytest.mark.parametrize("alpha", ["auto_0.2"])
def test_a_learned_alpha_brings_the_entropy_to_its_target(run: Any, engine: str, alpha: str) -> None:
    rows = run(
        StayOrQuit, engine=engine, alpha=alpha, target_entropy=-0.5, ac_kwargs={"hidden_sizes": (32, 32)},
        gamma=0.9, lr=3e-3, polyak=0.98, batch_size=64, steps_per_epoch=1500, epochs=2, start_steps=300,
        update_after=200, update_every=20, max_ep_len=5, num_test_episodes=0,
    )[1]  # fmt: skip
    assert float(rows[-1]["Entropy"]) == pytest.approx(-0.5, abs=0.25)
    assert float(rows[-1]["TargetEntropy"]) == -0.5
