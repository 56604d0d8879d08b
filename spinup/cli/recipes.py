"""`spinup recipes`: lists the recipes with their settings, sources and cost per environment step."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium.spaces import Box
from torch import nn

import spinup
from spinup.checks import check_choice
from spinup.cli.parser import Parser
from spinup.config import field_defaults
from spinup.recipes import RECIPES

# Spaces with the sizes of HalfCheetah's.
_SPACES = Box(-np.inf, np.inf, (17,)), Box(-1.0, 1.0, (6,))
_SAC = {"lr": 3e-4, "batch_size": 256, "alpha": "auto"}
_INTRODUCTION = """\
A recipe is a named set of settings: `spinup sac --env Hopper-v5 --recipe droq`, or recipe="droq" in Python.
Settings given in addition override it. Settings not shown have their defaults. Cost: multiplications in
matrix products per env step, at the sizes of HalfCheetah, relative to SAC with 2 x 256 units and batch 256.
"""


def main(words: list[str]) -> int:
    """Run `spinup recipes`.

    Raises:
        SpinupError: for an unknown recipe.
    """
    parser = Parser("spinup recipes", "List the recipes: settings, source, cost per environment step.")
    parser.add_argument("name", nargs="*", metavar="NAME", help="only these")
    names = parser.parse(words).name
    for name in names:
        check_choice("recipe", name, tuple(RECIPES))
    print(_INTRODUCTION)
    for name in names or RECIPES:
        print(describe(name))
    return 0


def describe(name: str) -> str:
    """A recipe's settings, source, cost and differences, as lines of text."""
    recipe = RECIPES[name]
    shown = dict(recipe.settings)
    networks = shown.pop("ac_kwargs", {})
    flags = [f"{k}={v!r}" for k, v in shown.items()] + [f"ac_kwargs:{k}={v!r}" for k, v in networks.items()]
    rows = {
        "settings": ", ".join(flags),
        "source": recipe.source,
        "cost": f"{relative_cost(recipe.settings):.1f}",
        "differs": recipe.differs,
        "needs": ", ".join(recipe.needs),
    }
    lines = [name]
    for label, text in rows.items():
        if text:
            start = f"  {label:<9}"
            lines += textwrap.wrap(text, 108, initial_indent=start, subsequent_indent=" " * len(start))
    return "\n".join([*lines, ""])


def relative_cost(settings: Mapping[str, Any]) -> float:
    """Multiplications per environment step, relative to SAC's."""
    return multiplications(settings) / multiplications(_SAC)


def multiplications(settings: Mapping[str, Any]) -> float:
    """Scalar multiplications in matrix products, per environment step, of a call with these settings.

    A forward pass counts as the number of the network's weights. A backward pass counts as twice that number,
    or as that number if it does not compute the gradients of the network's parameters. Of the target
    networks, those count whose values form a target, although some engines evaluate all.
    """
    given = {**field_defaults(), **settings}
    kinds = {k: given[k] for k in ("critic", "critics", "atoms", "quantiles")}
    networks: dict[str, Any] = {**given.get("ac_kwargs", {}), **kinds}
    ac: Any = spinup.MLPActorCritic(*_SPACES, **networks)
    actor, single = _weights(ac.pi), _weights(ac.q1)
    critic = single * given["critics"]
    norm = str(given.get("ac_kwargs", {}).get("critic_norm"))
    joint = not given["target_networks"] or norm.startswith("batch")
    critics = actor + (6 if joint else 3) * critic  # policy at next_obs; forward and backward of critics
    if given["target_networks"]:
        critics += 2 * critic if joint else single * given["target_critics"]
    policy = 3 * actor + 2 * critic
    per_row = critics + policy / given["policy_delay"]
    return float(per_row * given["batch_size"] * given["updates_per_step"])


def _weights(module: nn.Module) -> int:
    return sum(layer.weight.numel() for layer in module.modules() if isinstance(layer, nn.Linear))
