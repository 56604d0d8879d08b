"""The compile engine against the eager one; each case compiles once, in some twenty seconds."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from admission import BOUNDS, admit, compare, pair
from gymnasium.spaces import Box
from helpers import FourCalls, make, random_batches, small_ac
from torch import Tensor, nn

from spinup.errors import ConfigError
from spinup.pytorch.agent import _adam
from spinup.pytorch.engines.compile import TraceableAdam

# The compiler's own modules use what torch itself has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")

SPACES = Box(-np.inf, np.inf, (3,)), Box(-1.0, 1.0, (2,))


class Draws(nn.Module):
    """A user's policy that draws its own noise, by the function that a compiler likes to replace."""

    def __init__(self, pi: nn.Module) -> None:
        super().__init__()
        self.inner = pi

    def forward(self, obs: Tensor) -> Any:
        """Actions and log pi."""
        mu, _ = self.inner.distribution(obs)  # type: ignore[operator]
        return self.inner(obs, torch.randn_like(mu))


@pytest.fixture(scope="module")
def learners() -> tuple[Any, Any]:
    """An eager and a compiled learner of a user's module in float64, with a learned alpha."""
    ac: Any = FourCalls(*SPACES)
    ac.pi = Draws(small_ac().pi)
    return pair(ac.double(), "compile", "auto", act_dim=2)


def test_a_users_module_draws_and_learns_as_in_eager(learners: Any) -> None:
    for seed in (1, 2):
        block = random_batches(count=50, seed=seed, dtype=np.float64)
        metrics = []
        for learner in learners:
            torch.manual_seed(seed)
            metrics.append(learner.update(block))
        compare(*metrics, 1e-9, "metrics")
    states = [learner.state_dict() for learner in learners]
    compare(*states, 1e-9, "state")
    assert states[1]["actor_optimizer"]["0"]["step"] == 100


def test_a_state_continues_bit_by_bit_and_in_eager(learners: Any) -> None:
    eager, compiled = learners
    block = random_batches(count=4, dtype=np.float64)
    compiled.update(block)
    state = copy.deepcopy(compiled.state_dict())
    wanted, end = compiled.update(block), copy.deepcopy(compiled.state_dict())
    compiled.load_state_dict(state)
    compare(wanted, compiled.update(block), 0.0, "metrics")
    compare(end, compiled.state_dict(), 0.0, "state")
    eager.load_state_dict(state)
    compare(wanted, eager.update(block), 1e-9, "eager's metrics")


def test_it_computes_the_eager_update_in_single_precision() -> None:
    admit(*pair(small_ac(**BOUNDS, hidden_sizes=(12, 9)), "compile", 0.2), torch.float32)


class Branches(nn.Module):
    """A critic whose arithmetic depends on a value: no graph can hold both branches."""

    def __init__(self, q: nn.Module) -> None:
        super().__init__()
        self.q = q

    def forward(self, obs: Tensor, act: Tensor) -> Any:
        """Values (B,)."""
        value = self.q(obs, act)
        return value if value.sum().item() > 0 else 2.0 * value


def test_what_does_not_fit_into_one_graph_is_refused_in_one_line() -> None:
    ac: Any = FourCalls(*SPACES)
    ac.q1 = Branches(ac.q1)
    with pytest.raises(ConfigError, match=r"^engine='compile' cannot compile .* give engine='eager'$"):
        make(ac, "compile").update(random_batches())


def test_a_parameter_without_a_gradient_stays_as_it_is() -> None:
    used, unused = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    optimizer = _adam([used, unused], 0.1)
    used.grad = torch.ones(2)
    TraceableAdam(optimizer).step()
    assert torch.allclose(used.data, torch.full((2,), 0.9))
    assert torch.equal(unused.data, torch.ones(2))
    assert optimizer.state[unused]["step"] == 0
    assert optimizer.state[used]["step"] == 1


@pytest.mark.parametrize("shape", [(3,), (), (2, 1)])
def test_weight_decay_and_a_changing_rate_are_those_of_adamw(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    mine = nn.Parameter(torch.randn(shape, dtype=torch.float64))
    theirs = nn.Parameter(mine.detach().clone())
    settings: dict[str, Any] = {"betas": (0.5, 0.9), "weight_decay": 0.1}
    optimizer, reference = _adam([mine], 0.1, **settings), torch.optim.AdamW([theirs], 0.1, **settings)
    traceable = TraceableAdam(optimizer)
    for lr in (0.1, 0.02, 0.3):
        mine.grad = theirs.grad = torch.randn(shape, dtype=torch.float64)
        optimizer.param_groups[0]["lr"] = reference.param_groups[0]["lr"] = lr
        traceable.read_learning_rate()
        traceable.step()
        reference.step()
        assert torch.allclose(mine, theirs, rtol=1e-12)


@pytest.mark.parametrize("critics", [5])
def test_a_random_subset_of_many_critics(critics: int) -> None:
    changes: dict[str, Any] = {"critics": critics, "alpha": "auto", "act_dim": 2}
    ac = small_ac(critics=critics).double()
    eager, compiled = make(copy.deepcopy(ac), **changes), make(ac, "compile", **changes)
    batches = random_batches(count=6, dtype=np.float64)
    batches |= eager.engine.draw_noise(batches, np.random.default_rng(0))
    compare(eager.update(batches), compiled.update(batches), 1e-6, "metrics")
    compare(eager.state_dict(), compiled.state_dict(), 1e-6, "state")


INGREDIENTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"actor_norm": "layer", "critic_norm": "layer", "residual": True, "log_std_range": (-5.0, 1.0)},
        {"target_networks": False, "actor_first": True},
    ),
    (
        {"critic": "categorical", "atoms": 11},
        {
            "critic": "categorical",
            "atoms": 11,
            "normalize_weights": True,
            "policy_delay": 3,
            "alpha_loss": "log_alpha",
        },
    ),
    (
        {"critic": "quantile", "quantiles": 5},
        {"critic": "quantile", "lr_schedule": "cosine", "weight_decay": 0.1, "betas": (0.5, 0.99)},
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("networks", "settings"), INGREDIENTS)
def test_it_computes_the_eager_update_with_ingredients(
    networks: dict[str, Any], settings: dict[str, Any], compiled_once: None
) -> None:
    ac = small_ac(**BOUNDS, **networks, hidden_sizes=(6, 6)).double()
    admit(*pair(ac, "compile", "auto", **settings), torch.float64)


@pytest.mark.slow
def test_dropout_and_batch_statistics_are_those_of_eager(compiled_once: None) -> None:
    networks = {"critic_norm": "batch_renorm", "critic_dropout": 0.1, "actor_norm": "batch"}
    learners = pair(small_ac(**BOUNDS, **networks, hidden_sizes=(6, 6)).double(), "compile", "auto")
    for seed in (1, 2):
        block = random_batches(obs_dim=5, act_dim=3, count=10, batch=20, seed=seed, dtype=np.float64)
        metrics = []
        for learner in learners:
            torch.manual_seed(seed)
            metrics.append(learner.update(block))
        compare(*metrics, 1e-9, "metrics")
    compare(*(learner.state_dict() for learner in learners), 1e-9, "state")
