"""Trap 1: Q of shape (B, 1) against a target of (B,) broadcasts to (B, B) and trains on nonsense."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from helpers import FourCalls, make, random_batches, small_ac

from spinup.errors import ConfigError


class Column(torch.nn.Module):
    """A critic that forgets to flatten its output."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, obs: Any, act: Any) -> Any:
        """Values (B, 1)."""
        return self.inner(obs, act)[:, None]


class Unflattened(FourCalls):
    """The classic user's mistake."""

    def __init__(self, *spaces: Any) -> None:
        super().__init__(*spaces)
        self.q2 = Column(self.q2)  # type: ignore[assignment]


def test_it_is_refused_before_training(run: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"^Unflattened\.q2\(obs, a\) has shape \(1, 1\)[^\n]*squeeze\(-1\)"
    ):
        run(actor_critic=Unflattened)


def test_values_are_flat(engine: str) -> None:
    metrics = make(small_ac(), engine).update(random_batches(count=2))
    assert metrics["Q1Vals"].shape == metrics["Q2Vals"].shape == metrics["LogPi"].shape == (2, 5)
    assert metrics["LossQ"].shape == (2,)
