"""SACConfig: validation in one line that names the field, and derived quantities."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spinup import sac_pytorch
from spinup.config import SACConfig, field_defaults
from spinup.errors import ConfigError, SpinupError
from spinup.hints import nearest

INTS = ["seed", "steps_per_epoch", "epochs", "replay_size", "batch_size", "start_steps", "update_after"]
INTS += ["update_every", "num_test_episodes", "max_ep_len", "save_freq", "num_envs", "n_step", "critics"]
INTS += ["target_critics", "priority_beta_updates", "her_k", "policy_delay", "hold_noise"]
REALS = ["gamma", "polyak", "lr", "alpha", "updates_per_step", "env_timeout", "priority_exponent"]
REALS += ["priority_beta", "weight_decay", "reward_scale"]


def refused(**values: Any) -> str:
    """The message, of one line, with which these values are refused."""
    with pytest.raises(ConfigError) as caught:
        SACConfig(**values)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", INTS)
@pytest.mark.parametrize("value", [-1, 1.5, "many", None, True])
def test_counts_refuse_what_is_not_a_whole_number(name: str, value: Any) -> None:
    assert refused(**{name: value}).startswith(f"{name}={value!r}: give a whole number >=")


MAY_BE_ZERO = ("seed", "start_steps", "update_after", "num_test_episodes")


@pytest.mark.parametrize("name", INTS)
def test_zero_is_refused_for_counts_that_must_be_positive(name: str) -> None:
    if name in MAY_BE_ZERO:
        assert getattr(SACConfig(**{name: 0}), name) == 0
    else:
        assert name in refused(**{name: 0})


@pytest.mark.parametrize("name", REALS)
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, None, True, [1.0]])
def test_reals_refuse_what_is_not_a_number_in_range(name: str, value: Any) -> None:
    assert refused(**{name: value}).startswith(f"{name}=")


# Settings without which others have no effect and are refused.
NEEDED: dict[str, dict[str, Any]] = {
    "target_entropy": {"alpha": "auto"}, "her_k": {"sampler": "her"},
    **{f"priority_{name}": {"sampler": "per"} for name in ("exponent", "beta", "beta_updates")},
}  # fmt: skip


@pytest.mark.parametrize("name", ["gamma", "polyak", "priority_exponent", "priority_beta"])
def test_fractions(name: str) -> None:
    assert "from 0 to 1" in refused(**{name: 1.01})
    for value in (0, 1, 0.0, 1.0):
        assert getattr(SACConfig(**{**NEEDED.get(name, {}), name: value}), name) == value


@pytest.mark.parametrize("name", [name for name in NEEDED if name != "target_entropy"])
def test_settings_of_another_sampler_are_refused(name: str) -> None:
    (sampler,) = NEEDED[name].values()
    value = field_defaults()[name] / 2
    line = refused(**{name: int(value) if name in INTS else value})
    assert line.endswith(
        f"has no effect with sampler='uniform': give sampler={sampler!r}, or leave {name} out"
    )


@pytest.mark.parametrize("name", ["lr", "updates_per_step", "env_timeout", "reward_scale"])
def test_zero_is_refused_for_reals_that_must_be_positive(name: str) -> None:
    assert "> 0" in refused(**{name: 0.0})


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("engine", "eagr", "'eager'"),
        ("variant", "sacv1", "'sac_v1'"),
        ("env_workers", "asynch", "'async'"),
        ("critic", "quantiles", "'quantile'"),
        ("lr_schedule", "cosinus", "'cosine'"),
        ("sampler", "hers", "'her'"),
    ],
)
def test_an_unknown_word_names_the_closest_choice(name: str, value: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}={value!r}: give one of [^\n]*did you mean {hint}\?$"):
        sac_pytorch("Pendulum-v1", **{name: value})


@pytest.mark.parametrize("name", ["engine", "critic", "recipe", "lr_schedule"])
def test_an_array_is_no_word(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{name}=array\(\[1, 2\]\): give [^\n]*$"):
        sac_pytorch("Pendulum-v1", **{name: np.array([1, 2])})


@pytest.mark.parametrize("value", ["auto_", "auto_0", "auto_-1", "autos", "auto_1e999", "", "0.2", "auto_x"])
def test_words_for_alpha(value: str) -> None:
    assert refused(alpha=value).startswith(f"alpha={value!r}: give a number >= 0, 'auto'")


@pytest.mark.parametrize(
    ("alpha", "start", "learns"),
    [
        (0.2, 0.2, False),
        (0, 0.0, False),
        ("auto", 1.0, True),
        ("auto_0.1", 0.1, True),
        ("auto_1e-3", 1e-3, True),
    ],
)
def test_initial_alpha(alpha: Any, start: float, learns: bool) -> None:
    config = SACConfig(alpha=alpha)
    assert (config.initial_alpha, config.learns_alpha) == (start, learns)


def test_target_entropy_belongs_to_a_learned_alpha() -> None:
    assert "alpha='auto'" in refused(target_entropy=-3.0)
    assert refused(alpha="auto", target_entropy="low").startswith(
        "target_entropy='low': give 'auto' or a number"
    )
    assert SACConfig(alpha="auto", target_entropy=-3).target_entropy == -3


@pytest.mark.parametrize("device", ["gpu", "cuda:x", 0, ""])
def test_devices(device: Any) -> None:
    assert refused(device=device).startswith(f"device={device!r}: give 'auto', 'cpu', 'cuda'")


def test_words_or_numbers() -> None:
    assert refused(threads=0).startswith("threads=0: give 'auto' or a whole number")
    assert refused(checkpoint_every="hour").startswith("checkpoint_every='hour': give 'epoch' or")


@pytest.mark.parametrize("name", [*INTS, "threads", "checkpoint_every"])
def test_whole_numbers_of_numpy_become_pythons(name: str) -> None:
    others = {"steps_per_epoch": 60, "critics": 3, **NEEDED.get(name, {})}
    config = SACConfig(**{**others, name: np.int64(3)})
    assert type(getattr(config, name)) is int
    assert getattr(config, name) == 3


@pytest.mark.parametrize("name", [*REALS, "checkpoint_minutes", "target_entropy"])
@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.int64(1), 1])
def test_reals_of_numpy_become_pythons(name: str, value: Any) -> None:
    config = SACConfig(**{**NEEDED.get(name, {}), name: value})
    assert type(getattr(config, name)) is float
    assert getattr(config, name) == value


@pytest.mark.parametrize("name", [*INTS, *REALS, "threads", "checkpoint_every"])
def test_arrays_are_refused(name: str) -> None:
    assert refused(**{name: np.array([1, 2])}).startswith(f"{name}=array([1, 2]): give ")


def test_the_largest_seed() -> None:
    assert SACConfig(seed=2**63 - 1).seed == 2**63 - 1
    assert refused(seed=2**63) == f"seed={2**63}: give a whole number >= 0 and < 2**63"


def test_num_envs_divides_steps_per_epoch() -> None:
    assert refused(num_envs=7, steps_per_epoch=60) == (
        "num_envs=7 must divide steps_per_epoch=60: give steps_per_epoch=56"
    )
    assert "give steps_per_epoch=80" in refused(num_envs=80, steps_per_epoch=60)


def test_no_more_target_critics_than_critics() -> None:
    assert SACConfig(critics=4, target_critics=4).target_critics == 4
    line = "target_critics=5 exceeds critics=4: give at most 4"
    assert refused(critics=4, target_critics=5) == line
    assert refused(critics=1).startswith("target_critics=2 exceeds critics=1: ")


def test_the_policy_maximizes_the_mean_of_quantiles() -> None:
    assert SACConfig(critic="quantile", policy_q="mean").policy_q == "mean"
    assert refused(critic="quantile", policy_q="min").startswith("policy_q='min' with critic='quantile', ")
    assert refused(policy_q="max").startswith("policy_q='max': ")


@pytest.mark.parametrize("name", ["normalize_observations", "normalize_rewards", "offline"])
@pytest.mark.parametrize("value", [1, "yes", None])
def test_switches_are_booleans(name: str, value: Any) -> None:
    assert refused(**{name: value}) == f"{name}={value!r}: give True or False"


def test_hindsight_is_of_one_step() -> None:
    assert refused(sampler="her", n_step=2).startswith("n_step=2 cannot be combined with sampler='her'")


def test_an_offline_run_updates_from_its_first_block_on() -> None:
    config = SACConfig(offline=True, prior_data="x", update_after=1000, update_every=50)
    assert config.updates_due(50) == 50
    assert config.total_updates == config.total_steps


def test_config_is_frozen_and_every_field_has_a_default() -> None:
    config = SACConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 3  # type: ignore[misc]
    assert vars(config) == field_defaults()


def test_errors_share_a_base_class() -> None:
    with pytest.raises(SpinupError):
        SACConfig(gamma=2)
    with pytest.raises(ValueError, match="gamma"):
        SACConfig(gamma=2)


@given(
    every=st.integers(1, 60),
    after=st.integers(0, 300),
    ratio=st.sampled_from([0.01, 0.3, 0.5, 1.0, 1.7, 4.0]),
)
def test_updates_due_adds_up(every: int, after: int, ratio: float) -> None:
    config = SACConfig(update_every=every, update_after=after, updates_per_step=ratio)
    due = {n: config.updates_due(n) for n in range(1, 500)}
    assert all(count == 0 for n, count in due.items() if n < after or n % every)
    first = next((n for n in due if n >= after and n % every == 0), None)
    if first is not None:
        last = 499 // every * every
        assert abs(sum(due.values()) - ratio * (last - first + every)) < 1.0
        assert ratio != 1.0 or due[first] == every


def test_nearest() -> None:
    assert nearest("gama", ["gamma", "alpha"]) == ", did you mean 'gamma'?"
    assert nearest("zzz", ["gamma"]) == ""
    assert nearest("x" * 10**7, ["gamma"]) == ""


def test_values_of_a_categorical_critic_need_scaled_rewards() -> None:
    (line,) = SACConfig(critic="categorical", value_bound=20.0).warnings()
    assert line.startswith("critic='categorical' has values in [-20, 20]")
    assert "normalize_rewards=True" in line
    for scaled in ({"reward_scale": 0.1}, {"normalize_rewards": True}):
        assert SACConfig(critic="categorical", **scaled).warnings() == []
    assert SACConfig().warnings() == []


def test_polyak_without_target_networks_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^polyak=0.9 has no effect with target_networks=False: give "):
        SACConfig(polyak=0.9, target_networks=False)


def test_a_single_beta_says_how_a_pair_is_given() -> None:
    with pytest.raises(ConfigError, match=r'^betas=0.5: [^\n]*as a flag "\[0.9,0.999\]"$'):
        SACConfig(betas=0.5)  # type: ignore[arg-type]
