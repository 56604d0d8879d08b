"""The native engine against the eager one, odd sizes, two threads, and how its code is compiled."""

from __future__ import annotations

import copy
import ctypes
import io
import math
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from admission import BOUNDS, CASES, NUMPY, SIZES, STEPS, TOLERANCE, admit, compare, pair
from gymnasium.spaces import Box, Discrete
from helpers import make, make_agent, parameters, random_batches, small_ac, train
from torch import nn

from spinup.config import SACConfig
from spinup.errors import ConfigError
from spinup.pytorch.activations import ACTIVATIONS as ACTIVATION_NAMES
from spinup.pytorch.engines import native_build, native_layers
from spinup.pytorch.engines.native import Arguments, NativeEngine
from spinup.pytorch.engines.native_build import build, compiler, missing_compiler
from spinup.pytorch.engines.native_layers import ACTIVATIONS
from spinup.pytorch.engines.native_support import SCALARS
from spinup.pytorch.networks.layers import BatchNorm, BatchRenorm, Dropout
from spinup.pytorch.variants.registry import choose_variant

DOUBLE = torch.float64
FLOAT = {"SCALAR": "float"}


@pytest.mark.parametrize(("hidden", "alpha", "dtype"), CASES)
def test_it_computes_the_eager_update(hidden: Any, alpha: Any, dtype: torch.dtype) -> None:
    admit(*pair(small_ac(**BOUNDS, hidden_sizes=hidden).to(dtype), "native", alpha), dtype)


@pytest.mark.parametrize("dtype", STEPS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_it_computes_the_eager_update_with_every_activation(activation: Any, dtype: torch.dtype) -> None:
    ac = small_ac(**BOUNDS, hidden_sizes=(12, 9), activation=activation)
    admit(*pair(ac.to(dtype), "native", "auto"), dtype)


def test_every_activation_of_the_command_line_is_covered() -> None:
    assert {activation.__name__ for activation in ACTIVATIONS} == set(ACTIVATION_NAMES)


@pytest.mark.parametrize(("activation", "constant"), [(nn.ELU, 0.3), (nn.CELU, 2.0), (nn.LeakyReLU, 0.2)])
def test_the_constant_of_an_activation_counts(activation: Any, constant: float) -> None:
    ac = small_ac(**BOUNDS, activation=activation).to(DOUBLE)
    for module in ac.modules():
        if type(module) is activation:
            setattr(module, str(ACTIVATIONS[activation][0]), constant)
    admit(*pair(ac, "native", 0.2), DOUBLE)


def test_elementary_functions_are_exact_to_rounding_in_float() -> None:
    library = build("update.cpp", FLOAT).code
    x = torch.cat(
        [torch.linspace(-100, 88, 20_000), torch.logspace(-30, 1, 5_000), -torch.logspace(-30, 1, 5_000)]
    )
    for index, reference in enumerate((torch.exp, torch.expm1, torch.tanh, torch.special.ndtr)):
        got = x.clone()
        library.elementary(ctypes.c_long(index), ctypes.c_long(len(x)), ctypes.c_void_p(got.data_ptr()))
        wanted = reference(x.double())
        error = (got.double() - wanted).abs()
        if reference is not torch.special.ndtr:  # that is within 2e-7 in absolute terms
            tiny = 2 * torch.finfo(torch.float32).tiny  # smaller results may become 0
            error = torch.where(wanted.abs() < tiny, 0.0, error / (wanted.abs() + tiny))
        assert error.max() < 4e-7
    x = torch.linspace(0, 1, 10_000)
    got = x.clone()
    library.elementary(ctypes.c_long(4), ctypes.c_long(len(x)), ctypes.c_void_p(got.data_ptr()))
    assert ((got.double() - x.double().log1p()).abs() <= 3e-7 * x.double().log1p()).all()
    special = torch.tensor([float("nan")] * 16 + [float("inf")] * 16 + [-float("inf")] * 16)
    for index, wanted in enumerate(((math.inf, 0.0), (math.inf, -1.0), (1.0, -1.0), (1.0, 0.0))):
        got = special.clone()
        library.elementary(ctypes.c_long(index), ctypes.c_long(len(got)), ctypes.c_void_p(got.data_ptr()))
        assert got[:16].isnan().all()
        assert got[16:32].min() >= min(wanted[0], 1e38)
        assert got[32:].max() == wanted[1]


VARIANTS: dict[str, dict[str, Any]] = {
    "sac_v1": {"variant": "sac_v1"},
    "one critic": {"critics": 1, "target_critics": 1},
    "three critics": {"critics": 3, "target_critics": 3},
    "two of five critics": {"critics": 5, "target_critics": 2},
    "mean of two critics": {"policy_q": "mean"},
    "two of five critics, minimum of all": {"critics": 5, "target_critics": 2, "policy_q": "min"},
    "sac_v1 with two of three critics": {"variant": "sac_v1", "critics": 3, "target_critics": 2},
    "policy delay": {"policy_delay": 3, "alpha": "auto"},
    "loss of alpha with the factor log_alpha": {"alpha": "auto", "alpha_loss": "log_alpha"},
    "sac_v1 with policy delay": {"variant": "sac_v1", "policy_delay": 2},
    "no target networks": {"target_networks": False},
    "betas and weight decay": {"betas": (0.5, 0.99), "weight_decay": 0.1},
    "linear learning rate": {"lr_schedule": "linear", "lr_end": 1e-4, "epochs": 1, "steps_per_epoch": 1100},
    "quantiles": {"critic": "quantile", "quantiles": 25, "drop_quantiles": 2},
    "one quantile": {"critic": "quantile", "quantiles": 1, "drop_quantiles": 0, "policy_delay": 2},
    "quantiles of two of five critics": {
        "critic": "quantile",
        "quantiles": 7,
        "drop_quantiles": 3,
        "critics": 5,
        "target_critics": 2,
    },
    "quantiles without target networks, large rewards": {
        "critic": "quantile",
        "quantiles": 40,
        "target_networks": False,
        "reward_std": 30.0,
    },
}
NETWORKS: dict[str, dict[str, Any]] = {
    "default": {"hidden_sizes": (12, 9)},
    "no hidden layer": {"hidden_sizes": ()},
    "tanh": {"hidden_sizes": (8, 8, 8), "activation": nn.Tanh},
    "free log std": {"hidden_sizes": (8,), "state_dependent_std": False},
    "free log std without hidden layers": {"hidden_sizes": (), "state_dependent_std": False},
    "PReLU": {"hidden_sizes": (6, 5), "activation": nn.PReLU},
    "LayerNorm": {"hidden_sizes": (12, 9), "actor_norm": "layer", "critic_norm": "layer"},
    "LayerNorm and PReLU in wide critics": {
        "hidden_sizes": (7,), "critic_hidden_sizes": (40, 17), "critic_norm": "layer", "activation": nn.PReLU,
    },
}  # fmt: skip


@pytest.mark.parametrize("dtype", STEPS)
@pytest.mark.parametrize("networks", NETWORKS)
@pytest.mark.parametrize("change", ["sac", *VARIANTS])
def test_it_computes_the_eager_update_of_every_variant(
    change: str, networks: str, dtype: torch.dtype
) -> None:
    changes: dict[str, Any] = {} if change == "sac" else dict(VARIANTS[change])
    reward_std = changes.pop("reward_std", 1.0)
    space = Box(np.array([-1.0, -2.0, 0.5]), np.array([1.0, 0.5, 3.0]), dtype=np.float64)
    admit_variant(
        Box(-np.inf, np.inf, (5,)), space, NETWORKS[networks], changes, dtype, reward_std=reward_std
    )


@pytest.mark.parametrize("dtype", STEPS)
@pytest.mark.parametrize("change", [{}, {"critics": 3, "target_critics": 2}, {"critic": "quantile"}])
@pytest.mark.parametrize(
    "networks",
    [
        {},
        {"critic_norm": "layer"},
        {"activation": nn.Tanh},
        {"activation": nn.PReLU, "critic_norm": "layer"},
        {"critic_norm": "batch"},
    ],
)
def test_it_computes_the_eager_update_with_the_same_values_dropped(
    networks: Any, change: Any, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = {name: value for name, value in change.items() if name in ("critics", "critic")}
    joint = networks.get("critic_norm") == "batch"  # stored and next inputs are one batch, in one pass
    tolerance = TOLERANCE[dtype] * (2000 if joint and dtype is torch.float32 else 5)
    ac = small_ac(**BOUNDS, hidden_sizes=(12, 40), critic_dropout=0.3, **networks, **kinds).to(dtype)
    eager, other = pair(ac, "native", "auto", **change, target_networks=not joint)
    library = build("update.cpp", {"SCALAR": SCALARS[dtype]}).code
    critics = change.get("critics", 2)
    passes: list[tuple[int, int, int]] = []  # what eager's next calls of dropout are for: seed, pass, layer

    def drop(x: torch.Tensor, p: float, active: bool) -> torch.Tensor:
        if not active:
            return x
        factors = torch.empty(x.shape, dtype=x.dtype)
        seed, number, layer = passes.pop(0)
        arguments = [ctypes.c_long(value) for value in (seed, number, layer, *x.shape)]
        library.dropout_factors(*arguments, ctypes.c_double(p), ctypes.c_void_p(factors.data_ptr()))
        return x * factors

    monkeypatch.setattr(torch.nn.functional, "dropout", drop)
    rng, count = np.random.default_rng(0), 20 if dtype is DOUBLE else 3
    batches = random_batches(**SIZES, count=count, batch=20, dtype=NUMPY[dtype])
    batches |= other.engine.draw_noise(batches, rng)
    seeds = batches["dropout_seed"].tolist()
    numbers, layers = range(critics * joint, 3 * critics), (1, 2) if joint else (0, 1)
    passes += [(seed, number, layer) for seed in seeds for number in numbers for layer in layers]
    got = other.update(batches)
    del batches["dropout_seed"]
    compare(eager.update(batches), got, tolerance, "metrics")
    compare(eager.state_dict(), other.state_dict(), tolerance, "state")
    assert not passes


@pytest.mark.parametrize("change", [{}, {"critic": "quantile"}, {"policy_delay": 2, "weight_decay": 0.1}])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "networks",
    [
        {"hidden_sizes": (12, 40)},
        {"hidden_sizes": (33, 1), "activation": nn.PReLU, "actor_norm": "layer", "critic_norm": "layer"},
        {"hidden_sizes": (40,), "state_dependent_std": False, "actor_norm": "batch_renorm"},
        {"hidden_sizes": (40,), "actor_norm": "batch", "critic_norm": "batch_renorm"},
    ],
)
def test_blocks_of_one_update_are_the_same_as_a_block_of_many(
    networks: Any, threads: int, change: Any
) -> None:
    ac = small_ac(**BOUNDS, **networks, critic=change.get("critic", "scalar")).double()
    changes = {"act_dim": 3, "alpha": "auto", "batch_size": 20, "threads": threads, **change}
    changes["target_networks"] = "critic_norm" not in networks or networks["critic_norm"] == "layer"
    many, single = (make(copy.deepcopy(ac), "native", **changes) for _ in range(2))
    batches = random_batches(**SIZES, count=40, batch=20, dtype=np.float64)
    wanted = many.update(batches)
    got = [single.update({name: values[k : k + 1] for name, values in batches.items()}) for k in range(40)]
    joined = {name: np.concatenate([one[name] for one in got if name in one]) for name in wanted}
    compare(wanted, joined, 1e-10, "metrics")
    compare(many.state_dict(), single.state_dict(), 1e-10, "state")


def set_of(kind: type[nn.Module], name: str, value: Any) -> Any:
    """A function that sets an attribute of all modules of this class to value, or to value(current one)."""

    def change(learner: Any) -> None:
        modules = [m for m in learner.agent.ac.modules() if isinstance(m, kind)]
        assert modules
        for module in (*modules, *(m for m in learner.agent.target.modules() if isinstance(m, kind))):
            setattr(module, name, value(getattr(module, name)) if callable(value) else value)

    return change


def new_moments(learner: Any) -> None:
    """Give Adam copies of its tensors."""
    optimizer = learner.agent.optimizers.critic
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for state in optimizer.state.values():
        state["exp_avg"] += 0.1


def new_data(module: Any) -> None:
    """Other storage for the parameters of a module."""
    for p in module.parameters():
        p.data = p.data + 0.05


def new_activation(learner: Any) -> None:
    """Another activation in one critic, which has no target network."""
    learner.ac.q1.q[1] = nn.Tanh()


RENORM = {"actor_norm": "batch_renorm", "critic_norm": "batch_renorm", "target_networks": False}
LAYER_NORM = {"critic_norm": "layer"}
MUTATIONS: dict[str, tuple[dict[str, Any], Any]] = {
    "Adam's moments": ({}, new_moments),
    "a layer": ({"target_networks": False}, new_activation),
    "data of the policy": ({}, lambda learner: new_data(learner.ac.pi)),
    "running statistics": (RENORM, set_of(BatchRenorm, "running_mean", lambda x: torch.full_like(x, 0.5))),
    "count of batches": (RENORM, set_of(BatchRenorm, "batches", lambda x: x + 1000)),
    "warm_up": (RENORM, set_of(BatchRenorm, "warm_up", 0)),
    "momentum": (RENORM, set_of(BatchRenorm, "momentum", 0.5)),
    "eps of batch statistics": (RENORM, set_of(BatchRenorm, "eps", 0.5)),
    "eps of LayerNorm": (LAYER_NORM, set_of(nn.LayerNorm, "eps", 0.5)),
    "negative_slope": ({"activation": nn.LeakyReLU}, set_of(nn.LeakyReLU, "negative_slope", 0.4)),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_tensors_layers_and_their_constants_may_change_during_a_run(name: str) -> None:
    kwargs, change = MUTATIONS[name]
    networks = {key: value for key, value in kwargs.items() if key != "target_networks"}
    ac = small_ac(**BOUNDS, hidden_sizes=(12,), **networks).double()
    eager, other = pair(ac, "native", "auto", target_networks="target_networks" not in kwargs)
    admit(eager, other, DOUBLE, 1)
    for learner in (eager, other):
        change(learner)
    admit(eager, other, DOUBLE, 1)


def test_a_description_holds_until_something_of_it_changes() -> None:
    networks = {"critic_norm": "batch_renorm", "critic_dropout": 0.1, "activation": nn.LeakyReLU}
    agent = make(small_ac(**BOUNDS, **networks), "native", target_networks=False).agent
    description = native_layers.Description(agent)
    assert description.is_of(agent)
    for kind, name in (
        (Dropout, "p"),
        (BatchRenorm, "R_MAX"),
        (BatchRenorm, "D_MAX"),
        (nn.LeakyReLU, "negative_slope"),
    ):
        module = next(m for m in agent.networks.critics.modules() if isinstance(m, kind))
        kept = getattr(module, name)
        setattr(module, name, 0.7)
        assert not description.is_of(agent), name
        setattr(module, name, kept)
        assert description.is_of(agent), name


BATCH_NORMS: dict[str, dict[str, Any]] = {
    "critics": {"hidden_sizes": (12, 9), "critic_norm": "batch"},
    "policy": {"hidden_sizes": (33, 40), "actor_norm": "batch_renorm"},
    "both": {"hidden_sizes": (12, 9), "actor_norm": "batch", "critic_norm": "batch_renorm"},
    "no hidden layer": {"hidden_sizes": (), "actor_norm": "batch_renorm", "critic_norm": "batch"},
    "tanh in wide critics": {
        "hidden_sizes": (7,), "critic_hidden_sizes": (40, 17), "activation": nn.Tanh,
        "actor_norm": "batch_renorm", "critic_norm": "batch_renorm",
    },
    "PReLU and a layer of one unit": {
        "hidden_sizes": (6, 1), "activation": nn.PReLU, "actor_norm": "batch", "critic_norm": "batch_renorm",
    },
}  # fmt: skip


@pytest.mark.parametrize("dtype", STEPS)
@pytest.mark.parametrize("warm_up", [0, 10, 1000])
@pytest.mark.parametrize("networks", BATCH_NORMS)
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"policy_delay": 3, "betas": (0.5, 0.999)},
        {"critics": 3, "target_critics": 2},
        {"critic": "quantile", "quantiles": 7, "drop_quantiles": 2},
        {"actions": Discrete(4)},
    ],
)
def test_it_computes_the_eager_update_with_batch_statistics(
    change: Any, networks: str, warm_up: int, dtype: torch.dtype
) -> None:
    def end_warm_up(ac: nn.Module) -> None:
        for module in ac.modules():
            if isinstance(module, BatchRenorm):
                module.warm_up = warm_up

    changes = {"target_networks": False, **change}
    if networks == "policy":
        changes["target_networks"] = True
    space = changes.pop(
        "actions", Box(np.array([-1.0, -2.0, 0.5]), np.array([1.0, 0.5, 3.0]), dtype=np.float64)
    )
    # The bias of a unit that is active in the whole batch changes nothing: its gradient is only rounding,
    # which Adam's first steps magnify to the size of the learning rate, 1e-3.
    tolerance, count = (1e-9, 50) if dtype is DOUBLE else (5e-3, 3)
    observations = Box(-np.inf, np.inf, (5,))
    admit_variant(
        observations,
        space,
        BATCH_NORMS[networks],
        changes,
        dtype,
        end_warm_up,
        count=count,
        tolerance=tolerance,
    )


def test_one_critic_may_have_batch_statistics_that_the_other_lacks() -> None:
    ac = small_ac(**BOUNDS, critic_norm="batch", hidden_sizes=(8,)).double()
    ac.q1.q[0], ac.q1.q[3] = nn.Identity(), nn.Identity()
    ac.q1.q = nn.Sequential(*(layer for layer in ac.q1.q if not isinstance(layer, nn.Identity)))
    ac.q2.q = nn.Sequential(ac.q2.q[1], ac.q2.q[2], ac.q2.q[3], ac.q2.q[4])
    admit(*pair(ac, "native", "auto", target_networks=False), DOUBLE)


def test_the_padding_of_batch_statistics_stays_finite_without_eps() -> None:
    ac = small_ac(**BOUNDS, critic_norm="batch", hidden_sizes=(9,), activation=nn.Tanh).double()
    for module in ac.modules():
        if isinstance(module, BatchNorm):
            module.eps = 0.0
    admit(*pair(ac, "native", "auto", target_networks=False), DOUBLE)


def with_double_statistics(size: int) -> nn.Module:
    norm = BatchNorm(size)
    norm.running_mean, norm.running_var = norm.running_mean.double(), norm.running_var.double()
    return norm


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda ac: ac.q2.q.append(nn.Softplus()), "the last layer of a network is not linear"),
        (lambda ac: ac.q1.q.insert(0, nn.Linear(5, 5, bias=False)), "a linear layer has no bias"),
        (lambda ac: ac.q1.q.insert(2, with_double_statistics(8)), "running statistics have another dtype"),
        (lambda ac: ac.q1.q.insert(2, BatchNorm(7)), "does not follow an activation of its size"),
    ],
)
def test_changed_networks_that_it_does_not_compute_are_refused(edit: Any, reason: str) -> None:
    ac, config = small_ac(hidden_sizes=(8,)), SACConfig(target_networks=False)
    edit(ac)
    agent, objective, fields = make_agent(ac, config, Box(-1.0, 1.0, (2,), np.float32))
    assert reason in str(NativeEngine.unsupported_reason(agent, objective, fields))


@pytest.mark.parametrize(
    ("networks", "change", "reason"),
    [
        ({"critic_norm": "batch"}, {}, "only without target networks"),
        ({"actor_norm": "batch"}, {"variant": "sac_v1"}, "no batch statistics with a value network"),
    ],
)
def test_batch_statistics_that_it_does_not_compute_are_refused(
    networks: Any, change: Any, reason: str
) -> None:
    space = Box(-1.0, 1.0, (2,), np.float32)
    ac = choose_variant(SACConfig(**change), space).actor_critic(Box(-1.0, 1.0, (3,)), space, **networks)
    agent, objective, fields = make_agent(ac, SACConfig(**change), space)
    assert reason in str(NativeEngine.unsupported_reason(agent, objective, fields))


def test_dropout_drops_at_random() -> None:
    library = build("update.cpp", FLOAT).code
    kept = []
    for seed, number, layer in ((1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)):
        factors = torch.empty(1000, 100)
        arguments = [ctypes.c_long(value) for value in (seed, number, layer, 1000, 100)]
        library.dropout_factors(*arguments, ctypes.c_double(0.2), ctypes.c_void_p(factors.data_ptr()))
        assert set(factors.unique().tolist()) == {0.0, 1.25}
        kept.append(factors > 0)
    for one in kept:  # five standard deviations of a mean of 100,000, of 1,000 and of 100 numbers
        assert abs(one.double().mean() - 0.8) < 5 * 0.4 / 100_000**0.5
        assert (one.double().mean(0) - 0.8).abs().max() < 5 * 0.4 / 1000**0.5
        assert (one.double().mean(1) - 0.8).abs().max() < 5 * 0.4 / 100**0.5
        for both in (one[:, ::2] & one[:, 1::2], one[::2] & one[1::2]):
            assert abs(both.double().mean() - 0.64) < 5 * 0.48 / 50_000**0.5
    for i in range(4):
        for j in range(i):
            assert abs((kept[i] & kept[j]).double().mean() - 0.64) < 5 * 0.48 / 100_000**0.5


@pytest.mark.parametrize("dtype", STEPS)
@pytest.mark.parametrize("hidden", [(12, 9), (), (40,)])
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"critics": 3, "target_critics": 2},
        {"n": 1},
        {"n": 20},
        {"policy_delay": 2, "target_networks": False},
        {"actor_norm": "layer", "critic_norm": "layer"},
    ],
)
def test_it_computes_the_eager_update_of_discrete_actions(
    change: Any, hidden: Any, dtype: torch.dtype
) -> None:
    changes = dict(change)
    space = Discrete(changes.pop("n", 4))
    alpha = "auto" if space.n > 1 else 0.2
    norms = {name: changes.pop(name) for name in ("actor_norm", "critic_norm") if name in changes}
    networks = {"hidden_sizes": hidden, **norms}
    admit_variant(Box(-np.inf, np.inf, (5,)), space, networks, {"alpha": alpha, **changes}, dtype)


def test_a_discrete_action_that_is_ruled_out_has_no_gradient() -> None:
    def rule_out(ac: Any) -> None:
        with torch.no_grad():
            ac.pi.logits[-1].bias.copy_(torch.tensor([0.0, -2000.0, 0.5]))

    networks = {"hidden_sizes": (6,)}
    admit_variant(Box(-1.0, 1.0, (5,)), Discrete(3), networks, {}, DOUBLE, rule_out)


def admit_variant(
    observation_space: Any,
    action_space: Any,
    networks: Any,
    changes: Any,
    dtype: torch.dtype,
    edit: Any = None,
    *,
    count: int | None = None,
    tolerance: float | None = None,
    reward_std: float = 1.0,
) -> None:
    """Compare both engines on the default networks of a variant, with and without weights."""
    torch.manual_seed(0)
    config = SACConfig(**{"alpha": "auto", **changes})
    variant = choose_variant(config, action_space)
    kwargs = networks if config.critics == 2 else {**networks, "critics": config.critics}
    if config.critic == "quantile":
        kwargs = {**kwargs, "critic": "quantile", "quantiles": config.quantiles}
    ac = variant.actor_critic(observation_space, action_space, **kwargs).to(dtype)
    if edit is not None:
        edit(ac)
    settings = {"alpha": "auto", "batch_size": 20, "action_space": action_space, **changes}
    eager, other = make(copy.deepcopy(ac), **settings), make(ac, "native", **settings)
    rng, act_dim = np.random.default_rng(0), getattr(action_space, "n", 3)
    if config.critic == "quantile" and dtype is torch.float32:
        # Adam's first steps have one size, however small the gradient of a quantile, and so magnify rounding.
        count, tolerance = count or 2, tolerance or 5 * TOLERANCE[dtype]
    count, tolerance = count or STEPS[dtype] // 2, tolerance or TOLERANCE[dtype]
    for seed in range(2):
        batches = random_batches(5, int(act_dim), count, 20, seed, NUMPY[dtype], reward_std)
        del batches["noise"]
        if isinstance(action_space, Discrete):
            shape = batches["reward"].shape
            batches["action"] = rng.integers(act_dim, size=(*shape, 1)).astype(NUMPY[dtype])
        batches |= eager.engine.objective.draw_noise(batches, rng)
        if seed:
            batches["weight"] = rng.random(batches["reward"].shape).astype(NUMPY[dtype])
        compare(eager.update(batches), other.update(batches), tolerance, "metrics")
    compare(eager.state_dict(), other.state_dict(), tolerance, "state")


@pytest.mark.parametrize("log_std", [-30.0, 1.5, 7.0])
def test_no_gradient_passes_outside_the_clamp_of_log_std(log_std: float) -> None:
    ac = small_ac(**BOUNDS).to(DOUBLE)
    with torch.no_grad():
        ac.pi.log_std_layer.bias.copy_(torch.tensor([log_std, 2.0, -20.0]))
        ac.pi.log_std_layer.weight.mul_(torch.tensor([[1.0], [0.0], [0.0]]))  # two exactly on a bound
    admit(*pair(ac, "native", 0.2), DOUBLE)


def test_critics_that_agree_share_the_policys_gradient() -> None:
    ac = small_ac(**BOUNDS).to(DOUBLE)
    ac.q2.load_state_dict(ac.q1.state_dict())
    admit(*pair(ac, "native", 0.2), DOUBLE)


def test_a_saturated_policy_is_updated_as_by_eager() -> None:
    ac = small_ac(**BOUNDS).to(DOUBLE)
    with torch.no_grad():
        ac.pi.mu_layer.bias.copy_(torch.tensor([40.0, -40.0, 9.0]))
    admit(*pair(ac, "native", "auto"), DOUBLE)


def test_batches_may_change_their_size() -> None:
    eager, other = pair(small_ac(**BOUNDS).to(DOUBLE), "native", 0.2)
    for batch in (1, 7, 3, 7):
        batches = random_batches(**SIZES, count=2, batch=batch, seed=batch, dtype=np.float64)
        compare(eager.update(batches), other.update(batches), 1e-9, "metrics")


def test_the_policy_acts_on_the_parameters_being_trained() -> None:
    ac = small_ac()
    learner, obs = make(ac, "native", lr=0.1), np.ones((2, 3), np.float32)
    for _ in range(3):
        learner.update(random_batches(batch=16))
        np.testing.assert_allclose(learner.act(obs, True), ac.act(obs, True), atol=1e-6)


def test_the_module_can_be_copied_saved_and_loaded_as_before() -> None:
    ac = small_ac()
    learner = make(ac, "native")
    learner.update(random_batches())
    then, twin = parameters(ac), copy.deepcopy(ac)
    file = io.BytesIO()
    torch.save(ac.state_dict(), file)
    learner.update(random_batches(seed=1))
    assert not torch.equal(parameters(ac), then)
    assert torch.equal(parameters(twin), then)
    file.seek(0)
    twin.load_state_dict(torch.load(file))
    assert torch.equal(parameters(twin), then)
    assert all(p.is_contiguous() for p in ac.parameters())
    ac.load_state_dict(twin.state_dict())
    got, wanted = learner.update(random_batches()), make(twin).update(random_batches())
    compare(wanted["Q1Vals"], got["Q1Vals"], 1e-6, "critics loaded by a user")
    compare(wanted["LogPi"], got["LogPi"], 1e-6, "policy loaded by a user")


@pytest.mark.parametrize("alpha", [0.2, "auto"])
def test_a_state_continues_bit_by_bit_and_in_any_engine(alpha: Any) -> None:
    learner = make(small_ac(), "native", alpha=alpha)
    learner.update(random_batches(count=3))
    learner.act(np.ones((1, 3), np.float32), False)
    state = copy.deepcopy(learner.state_dict())
    fresh, eager = make(small_ac(seed=9), "native", alpha=alpha), make(small_ac(seed=8), alpha=alpha)
    fresh.update(random_batches(count=7, seed=3))
    fresh.load_state_dict(state)
    eager.load_state_dict(state)
    compare(state, fresh.state_dict(), 0.0, "state")
    batches = random_batches(count=4, seed=1)
    metrics = learner.update(batches)
    compare(metrics, fresh.update(batches), 0.0, "metrics")
    compare(metrics, eager.update(batches), 1e-5, "eager's metrics")
    compare(learner.state_dict(), fresh.state_dict(), 0.0, "state")
    obs = np.ones((1, 3), np.float32)
    assert np.array_equal(learner.act(obs, False), fresh.act(obs, False))


def test_one_engine_updates_networks_of_other_sizes() -> None:
    first, second = make(small_ac(), "native"), make(small_ac(hidden_sizes=(40, 50)), "native")
    reference = make(small_ac(hidden_sizes=(40, 50)))
    first.update(random_batches())
    metrics = first.engine.update(second.agent, random_batches())
    compare(reference.update(random_batches()), metrics, 1e-5, "metrics")


def test_a_state_from_before_the_first_update_resets_adam() -> None:
    start = make(small_ac(), "eager").state_dict()
    learner, fresh = make(small_ac(), "native"), make(small_ac(), "native")
    learner.update(random_batches(count=5))
    learner.load_state_dict(start)
    compare(fresh.update(random_batches()), learner.update(random_batches()), 0.0, "metrics")
    compare(fresh.state_dict(), learner.state_dict(), 0.0, "state")


def test_the_argument_struct_is_the_same_in_python_and_in_c() -> None:
    library = build("update.cpp", FLOAT).code
    for struct, layout in (
        (Arguments, library.arguments_layout),
        (native_layers.LayerArguments, library.layer_layout),
        (native_layers.BatchNormArguments, library.batch_norm_layout),
        (native_layers.Parameter, library.parameter_layout),
    ):
        layout.restype = ctypes.c_char_p
        fields = [f"{name}:{getattr(struct, name).offset}" for name, _ in struct._fields_]
        assert layout().decode() == " ".join([*fields, f"size:{ctypes.sizeof(struct)}"])


@pytest.mark.parametrize(
    ("obs_dim", "act_dim", "hidden", "batch"),
    [(1, 1, (1,), 1), (17, 6, (50, 33), 13), (3, 17, (100,), 31), (40, 2, (64, 130, 3), 2)],
)
def test_sizes_that_fill_no_vector(obs_dim: int, act_dim: int, hidden: Any, batch: int) -> None:
    ac = small_ac(obs_dim, act_dim=act_dim, hidden_sizes=hidden).double()
    eager, native = (
        make(x, engine, act_dim, alpha="auto", batch_size=batch)
        for x, engine in ((ac, "eager"), (copy.deepcopy(ac), "native"))
    )
    for seed in range(3):
        batches = random_batches(obs_dim, act_dim, 10, batch, seed, np.float64)
        compare(eager.update(batches), native.update(batches), 1e-9, "metrics")
    compare(eager.state_dict(), native.state_dict(), 1e-9, "state")


SEVERAL_THREADS = """
    import sys
    import numpy as np, torch
    from helpers import make, random_batches, small_ac
    from admission import compare
    norms = {"actor_norm": "batch_renorm", "critic_norm": "batch_renorm"}
    quantiles = {"critic": "quantile", "quantiles": 7}
    for networks, critic in (({}, {}), ({}, quantiles), (norms, {"target_networks": False})):
        results = []
        for threads in (1, 2, 3, 5):
            kinds = critic if "critic" in critic else {}
            ac = small_ac(hidden_sizes=(24, 40), critics=5, activation=torch.nn.PReLU, **networks, **kinds)
            changes = {"alpha": "auto", "batch_size": 20, "critics": 5, "target_critics": 5, **critic}
            learner = make(ac, "native", threads=threads, **changes)
            metrics = [learner.update(random_batches(count=50, batch=20, seed=k)) for k in range(4)]
            results.append((metrics, learner.state_dict()))
        for metrics, state in results[1:]:
            for a, b in zip(results[0][0], metrics):
                compare(a, b, 0.0, "metrics")
            compare(results[0][1], state, 0.0, "state")
    print("EQUAL")
"""


def test_the_number_of_threads_changes_no_bit() -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_THREAD_LIMIT"}
    tests = str(Path(__file__).parents[2])
    environment["PYTHONPATH"] = os.pathsep.join([tests, environment.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SEVERAL_THREADS)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.stdout == "EQUAL\n", done.stderr


@pytest.mark.parametrize("critic", ["scalar", "quantile"])
@pytest.mark.parametrize("where", ["obs", "reward", "noise"])
def test_nan_reaches_the_losses(where: str, critic: str) -> None:
    learner, batches = make(small_ac(critic=critic), "native", critic=critic), random_batches()
    if where == "noise":
        batches["noise"][0, 0, 2] = np.nan
    else:
        batches[where][0, 2] = np.nan
    assert np.isnan(learner.update(batches)["LossQ"]).all()


@pytest.mark.parametrize("norm", [None, "layer", "batch_renorm"])
def test_nan_leaves_nothing_behind_in_the_engine(norm: str | None) -> None:
    networks = {"hidden_sizes": (33, 33), "critic_norm": norm, "actor_norm": norm}
    changes = {"target_networks": norm != "batch_renorm"}
    learner, fresh = (make(small_ac(**networks), "native", **changes) for _ in range(2))
    start, batches = copy.deepcopy(learner.state_dict()), random_batches(count=3)
    batches["obs"][0, 2] = np.nan
    assert np.isnan(learner.update(batches)["LossQ"]).all()
    learner.load_state_dict(start)
    compare(fresh.update(random_batches()), learner.update(random_batches()), 0.0, "metrics")
    compare(fresh.state_dict(), learner.state_dict(), 0.0, "state")


def test_the_seeds_of_dropout_may_not_be_missing() -> None:
    learner = make(small_ac(critic_dropout=0.1), "native")
    with pytest.raises(ValueError, match="dropout_seed"):
        learner.update(random_batches())


def test_a_second_run_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    build("update.cpp", FLOAT)
    (library,) = (tmp_path / "spinup").iterdir()
    assert (tmp_path / "spinup").stat().st_mode & 0o077 == 0
    monkeypatch.setattr(native_build, "_compile", None)
    build("update.cpp", FLOAT)
    with pytest.raises(TypeError):  # for another type, the compiler is called
        build("update.cpp", {"SCALAR": "double"})
    monkeypatch.setattr(native_build, "_processor", lambda: "another")
    with pytest.raises(TypeError):
        build("update.cpp", FLOAT)
    assert list((tmp_path / "spinup").iterdir()) == [library]


def test_a_cache_that_cannot_be_written_is_not_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    train(tmp_path / "run", engine="native", epochs=1)
    assert (tmp_path / "file").stat().st_size == 0


def test_a_cache_that_others_may_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "spinup").mkdir()
    (tmp_path / "spinup").chmod(0o777)
    build("update.cpp", FLOAT)
    assert not list((tmp_path / "spinup").iterdir())


def test_without_a_compiler_it_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(native_build.shutil, "which", lambda name: None)
    monkeypatch.setattr(native_build.importlib.util, "find_spec", lambda name: None)
    assert compiler() is None
    with pytest.raises(ConfigError, match=r"^engine='native' cannot be used here, as no g\+\+ or clang\+\+"):
        train(tmp_path / "run", engine="native")
    assert not (tmp_path / "run" / "progress.txt").exists()


def test_a_compiler_that_was_named_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "/nowhere/c++")
    with pytest.raises(ConfigError, match=r"^engine='native' .* as CXX=/nowhere/c\+\+ was not found: "):
        train(tmp_path / "run", engine="native")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'update.cpp:1: error: no such thing' >&2; exit 1", "no such thing"),
        ('while [ "$1" != -o ]; do shift; done; echo no > "$2"', "(file too short|invalid ELF header)"),
    ],
)
def test_a_compiler_that_fails_is_named_in_one_line_and_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str
) -> None:
    broken = tmp_path / "c++"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=f"could not compile .*{reason}.*engine='auto'") as refused:
        train(tmp_path / "run", engine="native")
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "cache" / "spinup").iterdir())


def test_the_compiler_of_the_ziglang_package_is_used_where_there_is_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(native_build.shutil, "which", lambda name: None)
    monkeypatch.setattr(native_build.importlib.util, "find_spec", lambda name: object())
    assert compiler() == [sys.executable, "-m", "ziglang", "c++"]


def test_auto_goes_on_without_a_compiler_that_works(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'error: no such thing' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    logger_kwargs = {"output_dir": str(tmp_path / "run"), "tensorboard": False}
    train(tmp_path / "run", epochs=1, logger_kwargs=logger_kwargs)
    line = f"engine: eager, plain autograd (not native, as {broken} could not compile the native engine"
    assert line in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("sh -c", ["/bin/sh", "-c"]), ('sh "a b"', ["/bin/sh", "a b"]), ("'open", None), (" ", None)],
)
def test_the_compiler_that_is_named_may_have_arguments(
    monkeypatch: pytest.MonkeyPatch, given: str, wanted: Any
) -> None:
    monkeypatch.setenv("CXX", given)
    monkeypatch.setenv("PATH", "/bin")
    assert compiler() == wanted
    assert (missing_compiler() is None) == (wanted is not None)


def is_running(pid: int) -> bool:
    """Whether a process exists and has not ended; where there is no /proc, whether it exists."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()


def test_a_compiler_that_hangs_is_killed_with_what_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "c++"
    hanging.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {tmp_path}/started\nwait\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("CXX", str(hanging))
    monkeypatch.setattr(native_build, "TIME_LIMIT", 0.5)
    with pytest.raises(ConfigError, match=r"c\+\+ could not compile .*it did not end within"):
        build("update.cpp", FLOAT)
    started, deadline = int((tmp_path / "started").read_text()), time.monotonic() + 60
    while is_running(started):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("mode", [0o644, 0o755])
def test_a_compiler_that_is_no_program_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    (tmp_path / "c++").write_bytes(b"\xff\xfe no program")
    (tmp_path / "c++").chmod(mode)
    monkeypatch.setenv("CXX", str(tmp_path / "c++"))
    reason = missing_compiler()
    if mode == 0o644:
        assert reason == f"CXX={tmp_path}/c++ was not found"
        return
    with pytest.raises(
        ConfigError, match=r"could not compile the native engine \([^\n]*\): give engine='auto'$"
    ):
        build("update.cpp", FLOAT)


def test_messages_that_are_not_text_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "c++"
    broken.write_bytes(b"#!/bin/sh\nprintf 'error: \\377\\376 bytes\\n' >&2; exit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.raises(ConfigError, match=r"could not compile [^\n]*bytes"):
        build("update.cpp", FLOAT)


def test_the_log_says_that_it_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for run, compiled in (("a", True), ("b", False)):
        logger_kwargs = {"output_dir": str(tmp_path / run), "tensorboard": False}
        train(tmp_path / run, epochs=1, logger_kwargs=logger_kwargs)
        line = next(x for x in capsys.readouterr().out.splitlines() if "engine: native" in x)
        assert ("machine code for this processor, compiled in" in line) == compiled


def test_a_damaged_library_in_the_cache_is_compiled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a"))
    build("update.cpp", FLOAT)
    (whole,) = (tmp_path / "a" / "spinup").glob("*.so")
    damaged = tmp_path / "b" / "spinup" / whole.name  # elsewhere, since this process has loaded the other
    damaged.parent.mkdir(parents=True, mode=0o700)
    damaged.write_bytes(b"no library")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    build("update.cpp", FLOAT)
    assert damaged.stat().st_size == whole.stat().st_size


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("no home")])
def test_what_the_machine_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail() -> Any:
        raise error

    monkeypatch.setattr(native_build, "_cache", fail)
    with pytest.raises(
        ConfigError, match=r"could not compile the native engine \([^\n]*\): give engine='auto'$"
    ):
        build("update.cpp", FLOAT)


def test_batches_with_other_fields_are_refused() -> None:
    learner = make(small_ac(), "native")
    with pytest.raises(ValueError, match="importance"):
        learner.update({**random_batches(), "importance": np.ones((1, 5), np.float32)})


@pytest.mark.parametrize("change", [{"lr": 0.5}, {"eps": 1e-3}])
def test_settings_of_an_optimizer_that_the_kernel_ignores_are_refused(
    change: dict[str, float],
) -> None:
    agent, objective, fields = make_agent(small_ac(), SACConfig(), Box(-1.0, 1.0, (2,), np.float32))
    assert NativeEngine.unsupported_reason(agent, objective, fields) is None
    agent.optimizers.critic.param_groups[0].update(change)
    assert "it does not implement" in str(NativeEngine.unsupported_reason(agent, objective, fields))
