"""Trap 17: a compiled or captured update that silently computes something else.

Every engine must equal the eager engine (tests/pytorch/engines). These tests cover faults that would pass
that comparison and still appear in a run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from admission import compare
from gymnasium.spaces import Box
from helpers import ENGINES, FourCalls, make, random_batches, small_ac
from torch import nn

from spinup import MLPActorCritic
from spinup.errors import ConfigError
from spinup.pytorch.engines.eager import EagerEngine

SPACES = Box(-np.inf, np.inf, (3,)), Box(-1.0, 1.0, (2,))


def test_the_result_does_not_depend_on_how_batches_are_grouped(engine: str) -> None:
    """No input of an earlier block is kept: only the sequence of batches matters."""
    learner, one_by_one = make(small_ac(), engine), make(small_ac(), engine)
    blocks = [random_batches(count=count, seed=count) for count in (3, 1, 4)]
    for block in blocks:
        got = learner.update(block)
        parts = [
            one_by_one.update({name: values[k : k + 1] for name, values in block.items()})
            for k in range(len(block["reward"]))
        ]
        for key, values in got.items():
            np.testing.assert_allclose(np.concatenate([p[key] for p in parts]), values, atol=1e-5, rtol=1e-5)


def test_metrics_of_a_block_are_not_overwritten_by_the_next(engine: str) -> None:
    learner = make(small_ac(), engine)
    first = learner.update(random_batches(count=2))
    kept = {key: value.copy() for key, value in first.items()}
    learner.update(random_batches(count=2, seed=1))
    compare(kept, first, 0.0, "metrics")


@pytest.mark.parametrize("engine", ENGINES)
def test_parameters_written_between_blocks_are_used(engine: str) -> None:
    """An update starts from parameters that were copied into the networks, as loading a model does."""
    learner, other = make(ac := small_ac(), engine), small_ac(seed=5)
    learner.update(random_batches())
    ac.load_state_dict(other.state_dict())
    got, wanted = learner.update(random_batches(seed=2)), make(other).update(random_batches(seed=2))
    for key in ("Q1Vals", "Q2Vals", "LogPi"):
        np.testing.assert_allclose(got[key], wanted[key], atol=1e-5)


class Scaled(MLPActorCritic):
    """A user's subclass of the default, whose critics differ by a hook and not by a parameter."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.q1.register_forward_hook(lambda module, inputs, q: 2.0 * q)


@pytest.mark.parametrize("build", [lambda: FourCalls(*SPACES), lambda: Scaled(*SPACES, (8,))])
def test_a_users_module_is_never_treated_as_the_default(build: Any) -> None:
    ac: nn.Module = build()
    assert type(make(ac, "auto").engine) is EagerEngine
    with pytest.raises(ConfigError, match="native"):
        make(ac, "native")


def test_a_default_module_with_a_hook_is_not_treated_as_the_default() -> None:
    ac = small_ac()
    ac.pi.register_forward_hook(lambda module, inputs, out: out)
    assert type(make(ac, "auto").engine) is EagerEngine
