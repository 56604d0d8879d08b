"""The fused and the native engine against the eager one, and the memory they put the parameters into."""

from __future__ import annotations

import copy
import io
from typing import Any

import numpy as np
import pytest
import torch
from admission import BOUNDS, CASES, LAYOUT, admit, compare, pair
from helpers import make, parameters, random_block, small_ac

from spinup.config import SACConfig
from spinup.pytorch.agent import SoftQ
from spinup.pytorch.engines import fused_math
from spinup.pytorch.engines.fused import FusedLearner
from spinup.pytorch.engines.fused_math import AdamGroup, adam_private, adam_public

DOUBLE = torch.float64


@pytest.fixture(params=["fused", "native"])
def engine(request: pytest.FixtureRequest) -> Any:
    """The engines with these gradients."""
    return request.param


@pytest.mark.parametrize(("hidden", "alpha", "dtype"), CASES)
def test_it_computes_the_eager_update(engine: str, hidden: Any, alpha: Any, dtype: torch.dtype) -> None:
    admit(*pair(small_ac(**BOUNDS, hidden_sizes=hidden).to(dtype), engine, alpha), dtype)


@pytest.mark.parametrize("log_std", [-30.0, 1.5, 7.0])
def test_no_gradient_passes_outside_the_clamp_of_log_std(engine: str, log_std: float) -> None:
    ac = small_ac(**BOUNDS).to(DOUBLE)
    with torch.no_grad():
        ac.pi.log_std_layer.bias.copy_(torch.tensor([log_std, 2.0, -20.0]))
        ac.pi.log_std_layer.weight.mul_(torch.tensor([[1.0], [0.0], [0.0]]))  # two exactly on a bound
    admit(*pair(ac, engine, 0.2), DOUBLE)


def test_critics_that_agree_share_the_policys_gradient(engine: str) -> None:
    ac = small_ac(**BOUNDS).to(DOUBLE)
    ac.q2.load_state_dict(ac.q1.state_dict())
    admit(*pair(ac, engine, 0.2), DOUBLE)


def test_a_saturated_policy_stays_with_eager(engine: str) -> None:
    ac = small_ac(**BOUNDS).to(DOUBLE)
    with torch.no_grad():
        ac.pi.mu_layer.bias.copy_(torch.tensor([40.0, -40.0, 9.0]))
    admit(*pair(ac, engine, "auto"), DOUBLE)


def test_batches_may_change_their_size(engine: str) -> None:
    eager, other = pair(small_ac(**BOUNDS).to(DOUBLE), engine, 0.2)
    for batch in (1, 7, 3, 7):
        block = random_block(LAYOUT, 2, batch, batch, np.float64)
        compare(eager.update(block), other.update(block), 1e-9, "metrics")


def test_the_policy_acts_on_the_parameters_being_trained(engine: str) -> None:
    ac = small_ac()
    learner, obs = make(ac, engine, lr=0.1), np.ones((2, 3), np.float32)
    for _ in range(3):
        learner.update(random_block(batch=16))
        np.testing.assert_allclose(learner.act(obs, True), ac.act(obs, True), atol=1e-6)


def test_the_module_can_be_copied_saved_and_loaded_as_before(engine: str) -> None:
    ac = small_ac()
    learner = make(ac, engine)
    learner.update(random_block())
    then, twin = parameters(ac), copy.deepcopy(ac)
    file = io.BytesIO()
    torch.save(ac.state_dict(), file)
    learner.update(random_block(seed=1))
    assert not torch.equal(parameters(ac), then)
    assert torch.equal(parameters(twin), then)
    file.seek(0)
    twin.load_state_dict(torch.load(file))
    assert torch.equal(parameters(twin), then)
    assert all(p.is_contiguous() for p in ac.parameters())
    ac.load_state_dict(twin.state_dict())
    got, wanted = learner.update(random_block()), make(twin).update(random_block())
    compare(wanted["Q1Vals"], got["Q1Vals"], 1e-6, "critics loaded by a user")
    compare(wanted["LogPi"], got["LogPi"], 1e-6, "policy loaded by a user")


@pytest.mark.parametrize("alpha", [0.2, "auto"])
def test_a_state_continues_bit_by_bit_and_in_any_engine(engine: str, alpha: Any) -> None:
    learner = make(small_ac(), engine, alpha=alpha)
    learner.update(random_block(count=3))
    learner.act(np.ones((1, 3), np.float32), False)
    state = copy.deepcopy(learner.state_dict())
    fresh, eager = make(small_ac(seed=9), engine, alpha=alpha), make(small_ac(seed=8), alpha=alpha)
    fresh.update(random_block(count=7, seed=3))
    fresh.load_state_dict(state)
    eager.load_state_dict(state)
    compare(state, fresh.state_dict(), 0.0, "state")
    block = random_block(count=4, seed=1)
    metrics = learner.update(block)
    compare(metrics, fresh.update(block), 0.0, "metrics")
    compare(metrics, eager.update(block), 1e-5, "eager's metrics")
    compare(learner.state_dict(), fresh.state_dict(), 0.0, "state")
    obs = np.ones((1, 3), np.float32)
    assert np.array_equal(learner.act(obs, False), fresh.act(obs, False))


def test_a_state_from_before_the_first_update_resets_adam(engine: str) -> None:
    start = make(small_ac(), "eager").state_dict()
    learner, fresh = make(small_ac(), engine), make(small_ac(), engine)
    learner.update(random_block(count=5))
    learner.load_state_dict(start)
    compare(fresh.update(random_block()), learner.update(random_block()), 0.0, "metrics")
    compare(fresh.state_dict(), learner.state_dict(), 0.0, "state")


def test_both_ways_to_call_adam_are_the_same_step(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for adam in (adam_private, adam_public):
        monkeypatch.setattr(fused_math, "adam", adam)
        group = AdamGroup([[torch.nn.Parameter(torch.linspace(-1, 1, 5))]], lr=0.1)
        for k in range(4):
            group.grads.copy_(torch.linspace(-2, 1, 5) * k)
            group.step()
        results.append([group.params, group.exp_avg, group.exp_avg_sq, group.steps])
    for private, public in zip(*results, strict=True):
        assert torch.equal(private, public)


def test_nothing_of_a_step_lives_on_another_device_than_the_networks() -> None:
    """The meta device computes no values but refuses a tensor of another device, as CUDA would."""
    ac = small_ac().to("meta")
    learner = FusedLearner(ac, SoftQ(ac, 0.99), SACConfig(alpha="auto"), -2.0, lambda ac, path: None)
    block = random_block(count=2)
    rows, noise = torch.empty(block.rows.shape, device="meta"), torch.empty(block.noise.shape, device="meta")
    metrics = learner.run(rows, noise, block.layout)
    assert {value.device.type for value in metrics.values()} == {"meta"}
    assert metrics["Q1Vals"].shape == (2, 5)
