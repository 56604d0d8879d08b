"""Every combination of variant, engine and action space trains or is refused; state-independent stds."""

from __future__ import annotations

import copy
import itertools
import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from helpers import SMALL, Point, make, parameters, random_batches, read_rows, train, without_timing
from rooms import Rooms, linear_module
from torch import nn

from spinup import MLPActorCritic, sac_tf1
from spinup.config import SACConfig
from spinup.errors import ConfigError, EnvError
from spinup.pytorch.networks.actor_critic import DiscreteMLPActorCritic
from spinup.pytorch.variants.registry import choose_variant, update_options

FREE = {"hidden_sizes": (8, 8), "state_dependent_std": False}
KINDS: dict[str, tuple[Any, dict[str, Any]]] = {
    "continuous": (Point, {}),
    "free std": (Point, {"ac_kwargs": FREE}),
    "discrete": (Rooms, {}),
    "discrete, free std": (Rooms, {"ac_kwargs": FREE}),
}
NO_V = r"variant='sac_v1' is not defined for the actions Discrete\(3\) .*: leave variant out"
NO_STD = r"state_dependent_std applies to Gaussian policies, .*Discrete\(3\): leave it out of ac_kwargs"
REFUSED = {
    ("discrete", "sac_v1"): NO_V,
    ("discrete, free std", "sac"): NO_STD,
    ("discrete, free std", "sac_v1"): NO_V,
}


UNSUPPORTED = r"engine='cuda_graph' cannot be used here, as .*: give engine='auto'"
ENGINES = ["auto", "eager", "native", "cuda_graph"]
COMBINATIONS = list(itertools.product(KINDS, ["sac", "sac_v1"], ENGINES, [0.2, "auto"]))
# Each compiles for half a minute.
SLOW = [
    pytest.param(kind, variant, "compile", "auto", marks=pytest.mark.slow)
    for kind, variant in itertools.product(KINDS, ["sac", "sac_v1"])
]


def refusal(kind: str, variant: str, engine: str) -> str | None:
    """The line that refuses a combination; None where it trains."""
    if engine == "cuda_graph" and torch.cuda.is_available():
        pytest.skip("these are the refusals on the CPU")
    return REFUSED.get((kind, variant)) or (UNSUPPORTED if engine == "cuda_graph" else None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*")  # the compiler's own
@pytest.mark.parametrize(("kind", "variant", "engine", "alpha"), [*COMBINATIONS, *SLOW])
def test_a_combination_trains_or_is_refused_in_one_line(
    run: Any, kind: str, variant: str, engine: str, alpha: float | str
) -> None:
    env, changes = KINDS[kind]
    options = {"epochs": 1, "variant": variant, "engine": engine, "alpha": alpha, **changes}
    if line := refusal(kind, variant, engine):
        with pytest.raises(ConfigError, match=line) as caught:
            run(env, **options)
        assert "\n" not in str(caught.value)
        return
    ac, rows = run(env, **options)
    check_row(rows[-1], alpha)
    assert ("v" in dict(ac.named_children())) is (variant == "sac_v1")


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
@pytest.mark.parametrize("alpha", [0.2, "auto"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_combination_trains_or_is_refused_in_one_line_with_tensorflow(
    tmp_path: Path, kind: str, alpha: float | str
) -> None:
    env, changes = KINDS[kind]
    logger_kwargs = {"output_dir": str(tmp_path), "quiet": True, "tensorboard": False}
    options = {**SMALL, "epochs": 1, "alpha": alpha, "logger_kwargs": logger_kwargs, **changes}
    if kind.startswith("discrete"):
        with pytest.raises(EnvError, match=r"Discrete\(3\) is discrete, and sac_tf1 acts on a Box") as caught:
            sac_tf1(env, **options)
        assert "\n" not in str(caught.value)
        return
    sac_tf1(env, **options)
    check_row(read_rows(tmp_path)[-1], alpha)


@pytest.mark.skipif(find_spec("tensorflow") is None, reason="TensorFlow is not installed")
def test_the_tensorflow_version_has_no_variants() -> None:
    with pytest.raises(TypeError, match="'variant'"):
        sac_tf1(Point, variant="sac_v1")


def check_row(row: dict[str, str], alpha: float | str) -> None:
    """The losses are finite, and alpha is constant unless it is learned."""
    assert all(math.isfinite(float(row[key])) for key in ("LossQ", "LossPi", "AverageLogPi"))
    assert (float(row["Alpha"]) == pytest.approx(0.2, abs=1e-7)) is (alpha == 0.2)


@pytest.mark.parametrize("value", [-3.0, -0.01, math.log(3), 5.0, "auto_4"])
def test_a_target_entropy_that_no_discrete_policy_reaches_is_refused(run: Any, value: Any) -> None:
    given = value if isinstance(value, str) else f"{value:g}"
    line = rf"target_entropy={given} cannot be met with 3 discrete actions, .* between 0 and log 3 = 1\.099"
    with pytest.raises(ConfigError, match=line):
        run(Rooms, alpha="auto", target_entropy=value)


@pytest.mark.parametrize("variant", ["sac", "sac_v1"])
def test_an_argument_that_the_actor_critic_does_not_take_is_named(run: Any, variant: str) -> None:
    with pytest.raises(ConfigError, match=r"takes no 'hiden_sizes', did you mean 'hidden_sizes'\?"):
        run(variant=variant, ac_kwargs={"hiden_sizes": (8,)})


WRONG = [
    ({"ac_kwargs": None}, r"ac_kwargs=None: give a dict, such as"),
    ({"ac_kwargs": {"hidden_sizes": 64}}, r"hidden_sizes=64: give a list of whole numbers >= 1"),
    ({"ac_kwargs": {"hidden_sizes": "64"}}, r"hidden_sizes='64': give a list"),
    ({"ac_kwargs": {"hidden_sizes": (-1,)}}, r"hidden_sizes=\(-1,\): give a list"),
    ({"ac_kwargs": {"hidden_sizes": [0]}}, r"hidden_sizes=\[0\]: give a list"),
    ({"ac_kwargs": {"hidden_sizes": [8, 2.0]}}, r"hidden_sizes=\[8, 2\.0\]: give a list"),
    ({"ac_kwargs": {"activation": torch.relu}}, r"activation=relu: give a class of torch\.nn"),
    ({"ac_kwargs": {"activation": "relu"}}, r"activation='relu': give a class of torch\.nn"),
    ({"ac_kwargs": {"activation": nn.Linear}}, r"activation=Linear: give a class of torch\.nn"),
    ({"ac_kwargs": {1: 2}}, r"ac_kwargs: \w+ takes no 1; it takes hidden_sizes"),
    ({"actor_critic": "MLPActorCritic"}, r"actor_critic='MLPActorCritic': give a class or function"),
]


@pytest.mark.parametrize("kind", ["continuous", "discrete"])
@pytest.mark.parametrize(("changes", "line"), WRONG)
def test_networks_that_cannot_be_built_are_refused_in_one_line(
    run: Any, kind: str, changes: dict[str, Any], line: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^{line}[^\n]*$"):
        run(KINDS[kind][0], **changes)


def test_state_dependent_std_must_be_a_bool(run: Any) -> None:
    with pytest.raises(ConfigError, match=r"^state_dependent_std='false': give True or False$"):
        run(ac_kwargs={"state_dependent_std": "false"})


@pytest.mark.parametrize("made", [nn.ELU, lambda: nn.LeakyReLU(0.2)])
def test_any_callable_that_returns_a_module_is_an_activation(run: Any, made: Any) -> None:
    assert run(epochs=1, ac_kwargs={"hidden_sizes": [np.int64(4)], "activation": made})


def test_a_constructor_that_fails_is_named_with_its_cause(run: Any) -> None:
    def make_mine(observation_space: Any, action_space: Any) -> Any:
        raise RuntimeError("out of memory\nor so")

    line = r"^actor_critic failed: RuntimeError: out of memory; fix make_mine or its ac_kwargs$"
    with pytest.raises(ConfigError, match=line) as caught:
        run(actor_critic=make_mine)
    assert isinstance(caught.value.__cause__, RuntimeError)


class Subclass(MLPActorCritic):
    """A user's subclass of the default."""


def test_a_subclass_of_the_default_is_trained_as_itself(run: Any) -> None:
    ac, _ = run(epochs=1, actor_critic=Subclass, ac_kwargs={"hidden_sizes": (4,)})
    assert type(ac) is Subclass


@pytest.mark.parametrize(
    ("space", "given", "wanted"),
    [
        (Box(-1, 1, (1,)), "auto", -1.0),
        (Box(-1, 1, (6,)), "auto", -6.0),
        (Box(-1, 1, (6,)), -2.5, -2.5),
        (Discrete(2), "auto", 0.3 * math.log(2)),
        (Discrete(18), "auto", 0.3 * math.log(18)),
        (Discrete(18), 0.7, 0.7),
    ],
)
def test_the_target_entropy_follows_the_space_or_the_value_given(
    space: Any, given: Any, wanted: float
) -> None:
    config = SACConfig(alpha="auto", target_entropy=given)
    options = update_options(choose_variant(config, space), config, space)
    assert options.target_entropy == pytest.approx(wanted)
    fixed = SACConfig()
    assert update_options(choose_variant(fixed, space), fixed, space).target_entropy is None


def free_std_learner() -> Any:
    """A learner over a policy whose log stds are one free vector."""
    torch.manual_seed(0)
    return make(MLPActorCritic(Box(-1.0, 1.0, (3,)), Box(-1.0, 1.0, (2,)), **FREE), lr=0.01)


def test_free_log_stds_do_not_depend_on_the_state_and_learn() -> None:
    learner = free_std_learner()
    pi = learner.ac.pi
    assert (pi.distribution(torch.randn(4, 3))[1] == -0.5).all()
    learner.update(random_batches(count=5))
    log_std = pi.distribution(torch.randn(7, 3))[1]
    assert log_std.shape == (7, 2)
    assert torch.equal(log_std, log_std[:1].expand(7, 2))
    assert (log_std != -0.5).all()


def test_free_log_stds_replace_a_head_by_one_number_per_action() -> None:
    def count(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    spaces = Box(-1.0, 1.0, (17,)), Box(-1.0, 1.0, (6,))
    head = 256 * 6 + 6
    assert count(MLPActorCritic(*spaces).pi) == 73_484
    assert count(MLPActorCritic(*spaces, state_dependent_std=False).pi) == 73_484 - head + 6


def test_acting_with_free_log_stds_is_what_the_module_computes() -> None:
    learner = free_std_learner()
    obs, rng = np.ones((6, 3), np.float32), copy.deepcopy(learner.agent.rng)
    action = learner.act(obs, False)
    noise = torch.from_numpy(rng.standard_normal((6, 2), dtype=np.float32))
    with torch.no_grad():
        np.testing.assert_allclose(action, learner.ac.pi(torch.from_numpy(obs), noise)[0], atol=1e-6)


def test_a_model_with_free_log_stds_loads(run: Any, tmp_path: Path) -> None:
    ac, _ = run(ac_kwargs=FREE)
    loaded = torch.load(tmp_path / "run0" / "pyt_save" / "model.pt")
    assert torch.equal(loaded.pi.log_std_layer.value, ac.pi.log_std_layer.value)
    assert torch.equal(parameters(loaded), parameters(ac))


def test_the_default_actor_critic_follows_the_action_space(run: Any) -> None:
    assert type(run(epochs=1)[0]) is MLPActorCritic
    assert type(run(Rooms, epochs=1)[0]) is DiscreteMLPActorCritic


RESUMED = {
    "discrete": (Rooms, {}),
    "sac_v1": (Point, {"variant": "sac_v1"}),
    "free std": (Point, {"ac_kwargs": FREE}),
    "a user's discrete module": (Rooms, {"actor_critic": linear_module}),
}


@pytest.mark.parametrize("alpha", [0.2, "auto"])
@pytest.mark.parametrize("case", RESUMED)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, case: str, alpha: Any) -> None:
    env, options = RESUMED[case]
    settings = {"alpha": alpha, "lr": 0.01, **options}
    whole, _ = train(tmp_path / "whole", env, epochs=2, **settings)
    train(tmp_path / "halves", env, epochs=1, **settings)
    halves, rows = train(tmp_path / "halves", env, epochs=2, resume=True, **settings)
    assert torch.equal(parameters(whole), parameters(halves))
    assert without_timing(read_rows(tmp_path / "whole")) == without_timing(rows)
