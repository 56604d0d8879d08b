"""Recipes: named sets of settings, published ones and one for a laptop. docs/recipes.md explains them.

A recipe is a set of keyword arguments. Arguments that are given explicitly override it, and settings of the
recipe that depend on these arguments are adapted, see `with_recipe`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from spinup.checks import check_choice
from spinup.config import field_defaults, has_no_effect
from spinup.errors import ConfigError


@dataclass(frozen=True)
class Recipe:
    """A named set of settings.

    Attributes:
        source: the publication, or the search that found the settings.
        settings: keyword arguments of `sac_pytorch`, with `ac_kwargs` as a dict.
        differs: differences between this recipe and the authors' code.
        needs: arguments that should be given in addition.
    """

    source: str
    settings: Mapping[str, Any]
    differs: str = ""
    needs: tuple[str, ...] = ()


# Common settings of the published recipes, in addition to the defaults of gamma, polyak (0.995) and
# replay_size (1M).
_COMMON = {"alpha": "auto", "lr": 3e-4, "batch_size": 256, "update_every": 1}
_AFTER_5000 = {"start_steps": 5000, "update_after": 5000}
_UTD_20 = {"updates_per_step": 20.0, "policy_delay": 20}  # the policy once per environment step
_LOG_ALPHA = {"alpha_loss": "log_alpha"}
_XAVIER = {"init": "xavier_uniform"}
_MBPO = (
    "the authors' target entropy is -1 on Hopper, -2 on Humanoid, -3 on HalfCheetah and Walker2d, -4 on Ant;"
)

RECIPES: dict[str, Recipe] = {
    "laptop": Recipe(
        "this library, benchmarks/laptop.py",
        {
            "alpha": "auto", "start_steps": 5000, "update_every": 10, "betas": (0.5, 0.999),
            "target_networks": False,
            "ac_kwargs": {"hidden_sizes": (128, 128), "critic_norm": "batch_renorm"},
        },
    ),
    "redq": Recipe(
        "Chen, Wang, Zhou, Ross: Randomized Ensembled Double Q-Learning, ICLR 2021",
        {
            **_COMMON, **_AFTER_5000, **_UTD_20, **_LOG_ALPHA, "critics": 10, "target_critics": 2,
            "ac_kwargs": _XAVIER,
        },
        f"{_MBPO} here it is -act_dim",
    ),
    "droq": Recipe(
        "Hiraoka et al.: Dropout Q-Functions for Doubly Efficient Reinforcement Learning, ICLR 2022",
        {
            **_COMMON, **_AFTER_5000, **_UTD_20, **_LOG_ALPHA, "policy_q": "mean",
            "ac_kwargs": {**_XAVIER, "critic_norm": "layer", "critic_dropout": 0.01},
        },
        f"{_MBPO} here it is -act_dim; one of the authors' two implementations has other dropout rates, "
        "0.0001 on Hopper, 0.005 on Walker2d, 0.1 on Humanoid",
    ),
    "crossq": Recipe(
        "Bhatt et al.: CrossQ: Batch Normalization in Deep Reinforcement Learning, ICLR 2024",
        {
            **_COMMON, **_AFTER_5000, "lr": 1e-3, "betas": (0.5, 0.999), "policy_delay": 3,
            "target_networks": False,
            "ac_kwargs": {
                "hidden_sizes": (256, 256), "critic_hidden_sizes": (2048, 2048),
                "actor_norm": "batch_renorm", "critic_norm": "batch_renorm",
            },
        },
        "the authors initialize networks as flax does (init='lecun_normal'), have beta1 = 0.9 for alpha, and "
        "after 100,000 batches add eps to variances at another place of the renormalization",
    ),
    "simba": Recipe(
        "Lee et al.: SimBa: Simplicity Bias for Scaling Up Parameters in Deep RL, ICLR 2025",
        {
            **_COMMON, **_AFTER_5000, "lr": 1e-4, "weight_decay": 1e-2, "updates_per_step": 2.0,
            "actor_first": True, "alpha": "auto_0.01", "target_entropy": "auto_0.5",
            "normalize_observations": True,
            "ac_kwargs": {
                "hidden_sizes": (128,), "critic_hidden_sizes": (512, 512), "residual": True,
                "actor_norm": "layer", "critic_norm": "layer", "init": "simba", "log_std_range": (-10.0, 2.0),
            },
        },
        "on tasks without terminal states, the authors use one critic (critics=1, target_critics=1), and "
        "execute each action twice",
    ),
    "tqc": Recipe(
        "Kuznetsov et al.: Controlling Overestimation Bias with Truncated Mixture of Continuous "
        "Distributional Quantile Critics, ICML 2020",
        {**_COMMON, **_LOG_ALPHA, "critic": "quantile", "quantiles": 25, "drop_quantiles": 2},
        "the authors use five critics with three layers of 512, drop 5 quantiles on Hopper and none on "
        "HalfCheetah, and take no random steps, or do not count them",
    ),
    "flash": Recipe(
        "FlashSAC: Fast and Stable Off-Policy Reinforcement Learning for High-Dimensional Robot Control, "
        "2026",
        {
            **_COMMON, "start_steps": 10_000, "update_after": 10_000, "batch_size": 512, "polyak": 0.99,
            "lr_schedule": "cosine", "lr_end": 1.5e-4, "policy_delay": 2, "actor_first": True,
            "alpha": "auto_0.01", "target_entropy": "auto_0.478",  # 0.5 ln(2 pi e 0.15^2) = -0.478
            "critic": "categorical", "atoms": 101, "value_bound": 5.0, "normalize_weights": True,
            "hold_noise": 16, "normalize_rewards": True,
            "ac_kwargs": {
                "hidden_sizes": (128, 128), "critic_hidden_sizes": (256, 256), "residual": True,
                "actor_norm": "batch", "critic_norm": "batch", "init": "orthogonal",
                "log_std_range": (-10.0, 2.0),
            },
        },
        "the authors normalize the policy's batch over both observations; their learning rate decreases over "
        "1,000,000 steps, for the policy and alpha at half the pace",
    ),
    "rlpd": Recipe(
        "Ball, Smith, Kostrikov, Levine: Efficient Online Reinforcement Learning with Offline Data, ICML "
        "2023",
        {
            **_COMMON, **_AFTER_5000, **_UTD_20, "critics": 10, "target_critics": 2,
            "prior_fraction": 0.5, "target_entropy": "auto_0.5",
            "ac_kwargs": {**_XAVIER, "critic_norm": "layer"},
        },
        "on tasks with sparse rewards, the authors use three layers and no entropy bonus in targets",
        needs=("prior_data",),
    ),
}  # fmt: skip


def with_recipe(given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call, with the settings of its `recipe` (if any) added unless they are given.

    Settings of the recipe that have no effect with the given arguments, such as `target_entropy` with a fixed
    alpha, are left out. A recipe that updates the policy once per environment step still does so if
    `updates_per_step` is given; `target_critics` is at most the given number of critics.

    Args:
        given: arguments by name; entries of `ac_kwargs` are added one by one.

    Raises:
        ConfigError: if there is no such recipe.
    """
    name = given.get("recipe")
    if name is None:
        return dict(given)
    check_choice("recipe", name, tuple(RECIPES))
    settings = dict(RECIPES[name].settings)
    networks = {**settings.pop("ac_kwargs", {})}
    updates, critics = given.get("updates_per_step"), given.get("critics")
    delay = settings.get("policy_delay")
    once_per_step = delay is not None and delay == settings.get("updates_per_step")
    if once_per_step and isinstance(updates, (int, float)) and math.isfinite(updates):
        settings["policy_delay"] = max(math.ceil(updates), 1)
    if "target_critics" in settings and isinstance(critics, int):
        settings["target_critics"] = max(min(critics, settings["target_critics"]), 1)
    filled = {**settings, **given}
    for key in settings.keys() - given.keys():
        if has_no_effect(key, filled):
            del filled[key]
    own = given.get("ac_kwargs", {})
    if networks and isinstance(own, dict):
        filled["ac_kwargs"] = {**networks, **own}
    return filled


@contextmanager
def source_of_settings(given: Mapping[str, Any]) -> Iterator[None]:
    """Within this context, a ConfigError about a setting that the recipe of a call made says so."""
    try:
        yield
    except ConfigError as error:
        name, recipe = str(error).partition("=")[0], given.get("recipe")
        if recipe in RECIPES and name in RECIPES[recipe].settings and name not in given:
            default = field_defaults()[name]
            note = f" ({name} is a setting of recipe={recipe!r}, which {name}={default!r} overrides)"
            error.args = (f"{error}{note}",)
        raise


def recipe_warnings(given: Mapping[str, Any]) -> tuple[str, ...]:
    """A warning if arguments that the recipe of a call needs in addition to its settings are not given."""
    if given.get("recipe") is None:
        return ()
    name, lacking = given["recipe"], []
    for key in RECIPES[name].needs:
        lacking += [key] if given.get(key) is None else []
    return tuple(f"recipe {name!r} is meant to be used with {key}, which was not given" for key in lacking)
