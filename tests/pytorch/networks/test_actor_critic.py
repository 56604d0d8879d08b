"""The default networks: sizes, bounds, heads, and what they return."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from helpers import parameters, small_ac
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from spinup import MLPActorCritic
from spinup.pytorch.networks.actor_critic import DiscreteMLPActorCritic, MLPValueActorCritic
from spinup.pytorch.networks.mlp import Ensemble


def count(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(p.numel() for p in module.parameters())


def test_half_cheetah_has_the_documented_parameter_counts() -> None:
    ac = MLPActorCritic(Box(-np.inf, np.inf, (17,)), Box(-1, 1, (6,)))
    assert count(ac.pi) == 73_484
    assert count(ac.q1) == count(ac.q2) == 72_193


def test_the_policys_last_hidden_layer_is_activated_and_outputs_are_not() -> None:
    ac = small_ac()
    assert [type(layer) for layer in ac.pi.net] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU]
    assert [type(layer) for layer in ac.q1.q] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]


def test_policy_without_hidden_layers() -> None:
    ac = small_ac(hidden_sizes=())
    assert ac.act(np.zeros((2, 3), np.float32)).shape == (2, 2)
    assert ac.q1(torch.zeros(2, 3), torch.zeros(2, 2)).shape == (2,)


def test_shapes_batched_and_single() -> None:
    ac = small_ac()
    o = torch.randn(5, 3)
    a, logp = ac.pi(o)
    assert (a.shape, logp.shape) == ((5, 2), (5,))
    assert ac.q1(o, a).shape == ac.q2(o, a).shape == (5,)
    for deterministic in (False, True):
        assert ac.act(o, deterministic).shape == (5, 2)
        assert ac.act(o[0], deterministic).shape == (2,)
        assert isinstance(ac.act(o[0].numpy(), deterministic), np.ndarray)


def test_given_noise_is_used() -> None:
    ac = small_ac()
    o, xi = torch.randn(4, 3), torch.randn(4, 2)
    first, second = ac.pi(o, noise=xi), ac.pi(o, noise=xi)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
    assert not torch.equal(ac.pi(o)[0], ac.pi(o)[0])
    assert torch.equal(ac.pi(o, noise=torch.zeros_like(xi))[0], ac.pi.mean_action(o))


def test_log_std_is_clamped() -> None:
    ac = small_ac()
    with torch.no_grad():
        ac.pi.log_std_layer.bias.copy_(torch.tensor([100.0, -100.0]))
    log_std = ac.pi.distribution(torch.zeros(1, 3))[1]
    assert log_std.tolist() == [[2.0, -20.0]]


def test_log_stds_are_mapped_into_a_range_by_tanh() -> None:
    ac = small_ac(act_dim=4, log_std_range=(-10, 2))
    with torch.no_grad():
        ac.pi.log_std_layer.bias.copy_(torch.tensor([100.0, -100.0, 0.0, 1.0]))
    log_std = ac.pi.distribution(torch.zeros(1, 3))[1][0]
    # -10 + 6 (1 + tanh x), as in the code of SimBa and FlashSAC
    raw = ac.pi.log_std_layer(ac.pi.net(torch.zeros(3)))
    assert log_std.tolist() == pytest.approx([-10 + 6 * (1 + math.tanh(x)) for x in raw.tolist()], abs=1e-5)
    assert log_std[:2].tolist() == [2.0, -10.0]
    assert -10 < log_std[2] < log_std[3] < 2


def test_state_independent_std_is_one_free_vector() -> None:
    ac = small_ac(state_dependent_std=False)
    log_std = ac.pi.distribution(torch.randn(4, 3))[1]
    assert log_std.shape == (4, 2)
    assert (log_std == -0.5).all()
    assert count(ac.pi.log_std_layer) == 2


LOW, HIGH = np.array([-3.0, 0.5], np.float32), np.array([-1.0, 8.5], np.float32)


def test_actions_are_mapped_to_bounds_per_dimension() -> None:
    pi = small_ac(low=LOW, high=HIGH).pi
    squashed = torch.tensor([[-1.0, -1.0], [0.0, 0.0], [1.0, 1.0], [0.5, -0.5]])
    assert pi.to_env_units(squashed).tolist() == [[-3, 0.5], [-2, 4.5], [-1, 8.5], [-1.5, 2.5]]


@given(low=st.floats(-1e4, 1e4, width=32), width=st.floats(2**-10, 1e4, width=32))
def test_no_action_exceeds_a_bound_by_rounding(low: float, width: float) -> None:
    high = float(np.float32(low + width))
    if not low < high:
        return
    pi = small_ac(low=low, high=high).pi
    action = pi.to_env_units(torch.tensor([[-1.0, 1.0]])).numpy()
    assert (action >= np.float32(low)).all()
    assert (action <= np.float32(high)).all()
    assert action[0] == pytest.approx([low, high], rel=1e-5, abs=1e-5 * (abs(low) + abs(high)))


def test_log_density_is_in_tanh_space_whatever_the_bounds() -> None:
    o, xi = torch.randn(4, 3), torch.randn(4, 2)
    unit, scaled = small_ac(), small_ac(low=LOW, high=HIGH)
    assert torch.equal(unit.pi(o, noise=xi)[1], scaled.pi(o, noise=xi)[1])


def test_bounds_are_not_parameters_and_not_saved() -> None:
    ac = small_ac(low=LOW, high=HIGH)
    assert not [name for name in ac.state_dict() if "low" in name or "center" in name]


class Subclass(MLPActorCritic):
    """A user's subclass."""

    def __init__(self, *args: Any, scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.scale = scale


def test_a_subclass_is_deepcopied_as_itself() -> None:
    ac = Subclass(Box(-1, 1, (3,)), Box(-1, 1, (2,)), hidden_sizes=(8,), scale=3.0)
    twin = copy.deepcopy(ac)
    assert type(twin) is Subclass
    assert twin.scale == 3.0
    assert torch.equal(parameters(twin), parameters(ac))
    assert next(twin.parameters()) is not next(ac.parameters())


@pytest.mark.parametrize("critics", [1, 2, 5])
def test_the_number_of_critics(critics: int) -> None:
    spaces = Box(-1, 1, (3,)), Box(-1, 1, (2,))
    for kind, space in (
        (MLPActorCritic, spaces[1]), (MLPValueActorCritic, spaces[1]), (DiscreteMLPActorCritic, Discrete(3)),
    ):  # fmt: skip
        ac: Any = kind(spaces[0], space, (8,), critics=critics)
        names = [name for name, _ in ac.named_children() if name.startswith("q")]
        assert names == [f"q{i}" for i in range(1, critics + 1)]
        assert len({parameters(getattr(ac, name)).sum().item() for name in names}) == critics


def test_an_ensemble_stacks_the_values_of_its_critics() -> None:
    ac = small_ac(critics=3)
    obs, action = torch.randn(4, 3), torch.randn(4, 2)
    values = Ensemble([ac.q1, ac.q2, ac.q3])(obs, action)
    assert values.shape == (3, 4)
    assert torch.equal(values[2], ac.q3(obs, action))
