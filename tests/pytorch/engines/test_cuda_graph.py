"""The cuda_graph engine as far as a CPU allows: its buffers, chunks and packing, uncaptured, against eager.

A stand-in for the capturer replays the captured work by running it again, on the same buffers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from admission import BOUNDS, CASES, SIZES, STEPS, admit, compare
from gymnasium.spaces import Box
from helpers import FourCalls, Learner, SharedByAll, make, make_agent, random_batches, small_ac
from torch import Tensor, nn

from spinup.config import SACConfig
from spinup.errors import ConfigError
from spinup.pytorch.engines.cuda_graph import MAX_STEPS, CudaGraphEngine
from spinup.pytorch.engines.eager import gradient_step, gradient_steps

SPACES = Box(-np.inf, np.inf, (3,)), Box(-1.0, 1.0, (2,))


class Rerun:
    """Runs what a CUDA graph would replay, and counts both."""

    def __init__(self) -> None:
        self.captured = self.replayed = 0

    def warm_up(self, work: Callable[[], Tensor]) -> Tensor:
        """As the protocol."""
        return work()

    def capture(self, work: Callable[[], object]) -> Callable[[], object]:
        """As the protocol."""
        self.captured += 1

        def replay() -> None:
            self.replayed += 1
            work()

        return replay


def graph_learner(ac: nn.Module, alpha: Any, act_dim: int = 2, **settings: Any) -> tuple[Learner, Rerun]:
    """The engine with a stand-in for its capturer."""
    capturer = Rerun()
    config = SACConfig(alpha=alpha, **settings)
    agent, objective, _ = make_agent(ac, config, Box(-1.0, 1.0, (act_dim,), np.float32))
    return Learner(agent, CudaGraphEngine(objective, capturer=capturer)), capturer


@pytest.mark.parametrize(("hidden", "alpha", "dtype"), CASES)
def test_it_computes_the_eager_update(hidden: Any, alpha: Any, dtype: torch.dtype) -> None:
    ac = small_ac(**BOUNDS, hidden_sizes=hidden).to(dtype)
    learner, _ = graph_learner(copy.deepcopy(ac), alpha, 3)
    admit(make(ac, alpha=alpha, act_dim=3), learner, dtype)


@pytest.mark.parametrize("alpha", [0.2, "auto"])
@pytest.mark.parametrize("constructor", [FourCalls, SharedByAll])
def test_a_users_module_draws_and_learns_as_in_eager(constructor: Any, alpha: Any) -> None:
    torch.manual_seed(0)
    ac = constructor(*SPACES).double()
    learner, _ = graph_learner(copy.deepcopy(ac), alpha)
    eager, block = make(ac, alpha=alpha), random_batches(count=20, dtype=np.float64)
    torch.manual_seed(1)
    wanted = eager.update(block)
    torch.manual_seed(1)
    compare(wanted, learner.update(block), 1e-9, "metrics")
    compare(eager.state_dict(), learner.state_dict(), 1e-9, "state")


INGREDIENTS: list[tuple[dict[str, Any], dict[str, Any], float]] = [
    ({}, {"policy_delay": 3, "betas": (0.5, 0.99), "weight_decay": 0.1}, 1e-9),
    ({}, {"lr_schedule": "cosine", "epochs": 1, "steps_per_epoch": 1200}, 1e-5),  # a rate is in float32
    ({"critic": "categorical", "atoms": 11}, {"critic": "categorical", "atoms": 11}, 1e-9),
    ({"critic": "quantile", "quantiles": 5}, {"critic": "quantile", "quantiles": 5}, 1e-9),
    ({"critic_norm": "batch_renorm", "actor_norm": "batch"}, {"target_networks": False}, 1e-9),
    ({"log_std_range": (-5.0, 1.0)}, {"alpha_loss": "log_alpha"}, 1e-9),
    ({"residual": True, "critic_norm": "layer"}, {"normalize_weights": True, "actor_first": True}, 1e-9),
]


@pytest.mark.parametrize(("networks", "settings", "tolerance"), INGREDIENTS)
def test_ingredients_compute_the_eager_update(
    networks: dict[str, Any], settings: dict[str, Any], tolerance: float
) -> None:
    ac = small_ac(**networks).double()
    learner, _ = graph_learner(copy.deepcopy(ac), "auto", **settings)
    eager = make(ac, alpha="auto", **settings)
    for seed, count in enumerate((70, 2, 70)):  # blocks that begin at different places of a policy delay
        block = random_batches(count=count, seed=seed, dtype=np.float64)
        compare(eager.update(block), learner.update(block), tolerance, "metrics")
    compare(eager.state_dict(), learner.state_dict(), tolerance, "state")


def test_one_graph_serves_blocks_that_update_the_policy_in_the_same_steps() -> None:
    learner, counts = graph_learner(small_ac(), 0.2, policy_delay=2)
    for _ in range(3):
        learner.update(random_batches(count=4))
    assert (counts.captured, counts.replayed) == (1, 3)
    metrics = learner.update(random_batches(count=3))  # steps 12 to 14, of which one updates the policy
    assert (len(metrics["LossQ"]), len(metrics["LossPi"])) == (3, 1)
    learner.update(random_batches(count=3))  # steps 15 to 17, of which two do
    assert counts.captured == 3
    assert "LossPi" not in graph_learner(small_ac(), 0.2, policy_delay=9)[0].update(random_batches(count=3))


def test_a_long_block_replays_one_graph_and_its_remainder_another() -> None:
    ac = small_ac(**BOUNDS).to(torch.float64)
    learner, counts = graph_learner(copy.deepcopy(ac), 0.2, 3)
    eager = make(ac, act_dim=3)
    block = random_batches(**SIZES, count=2 * MAX_STEPS + 3, batch=4, dtype=np.float64)
    for _ in range(2):
        compare(eager.update(block), learner.update(block), 1e-8, "metrics")
    assert (counts.captured, counts.replayed) == (2, 6)


def test_captured_graphs_continue_with_a_loaded_state() -> None:
    """Graphs hold addresses, and an agent loads its state in place."""
    ac = small_ac(**BOUNDS, activation=nn.Tanh).to(torch.float64)
    learner, counts = graph_learner(copy.deepcopy(ac), "auto", 3)
    eager = make(ac, act_dim=3, alpha="auto")
    block = random_batches(**SIZES, count=3, batch=4, dtype=np.float64)
    learner.update(block)
    learner.load_state_dict(eager.state_dict())
    compare(eager.update(block), learner.update(block), 1e-9, "metrics")
    state = copy.deepcopy(learner.state_dict())
    wanted = learner.update(block)
    learner.load_state_dict(state)
    compare(wanted, learner.update(block), 0.0, "metrics")
    assert counts.captured == 1


def test_what_cannot_be_captured_is_refused_in_one_line() -> None:
    class Refuse(Rerun):
        def capture(self, work: Callable[[], object]) -> Callable[[], object]:
            raise RuntimeError("operation not permitted when stream is capturing\nand more")

    agent, objective, _ = make_agent(FourCalls(*SPACES), SACConfig(), SPACES[1])
    learner = Learner(agent, CudaGraphEngine(objective, capturer=Refuse()))
    with pytest.raises(ConfigError, match=r"cannot capture .*operation not permitted.*engine='eager'$"):
        learner.update(random_batches())


def test_steps_of_the_admission_span_more_than_one_graph() -> None:
    assert STEPS[torch.float64] >= 2 * MAX_STEPS


def test_a_step_has_no_tensor_on_another_device_than_the_networks() -> None:
    """The meta device computes no values but refuses a tensor of another device, as CUDA would."""
    agent, objective, _ = make_agent(small_ac().to("meta"), SACConfig(alpha="auto"), SPACES[1])
    batches = {
        name: torch.empty(values.shape, device="meta") for name, values in random_batches(count=2).items()
    }
    one_step = partial(gradient_step, agent, objective, agent.optimizers)
    metrics = gradient_steps(agent, batches, agent.begin_steps(2), one_step)
    assert {value.device.type for value in metrics.values()} == {"meta"}
    assert metrics["Q1Vals"].shape == (2, 5)
