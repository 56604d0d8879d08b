"""Registers variants with user-defined losses."""

from __future__ import annotations

import importlib
from dataclasses import MISSING, fields, replace
from typing import Any

from gymnasium.spaces import Discrete

from spinup.config import BUILT_IN_VARIANTS, field_defaults
from spinup.errors import ConfigError, first_line, name_of
from spinup.hints import nearest
from spinup.pytorch.variants.discrete import DiscreteObjective
from spinup.pytorch.variants.distributional import DistributionalObjective
from spinup.pytorch.variants.objective import Objective
from spinup.pytorch.variants.registry import BUILT_IN, VARIANTS, Variant
from spinup.pytorch.variants.sac_v1 import SACv1Objective

# Columns that the log already has.
RESERVED_COLUMNS = frozenset(
    {
        "Epoch", "EpRet", "TestEpRet", "EpLen", "TestEpLen", "TotalEnvInteracts", "Q1Vals", "Q2Vals", "LogPi",
        "LossPi", "LossQ", "TDError", "Time", "Alpha", "Entropy", "TargetEntropy", "StepsPerSecond",
        "AskedUpdatesPerStep", "UpdatesPerStep", "Staleness", "MaxStaleness", "LearnerWait", "CollectorWait",
        "BlocksRefused", "CollectorRestarts", "SaturatedActions", "TestQVals", "TestQBias", "CriticSpread",
        "GradNormPi", "GradNormQ",
    }
)  # fmt: skip
_RESERVED_PREFIXES = ("Average", "Std", "Max", "Min", "DeadUnits")


def register_variant(name: str, objective: type[Objective], **options: Any) -> None:
    """Add a variant with custom losses, which `sac_pytorch(..., variant=name)` then selects.

    The variant has the networks, the policy and the automatic target entropy of `variant="sac"`, and runs on
    the engine "eager". `variant="module:name"` imports `module` first, which should call this function.
    Registering a name again replaces the variant.

    Args:
        name: an identifier other than the names of the package's variants.
        objective: a subclass of `GaussianObjective` or, for discrete actions, of `DiscreteObjective`, which
            define SAC's policy loss; or of `Objective`. It must be decorated with
            `@dataclass(frozen=True)`. A field with the name of an argument of the training call, such as
            `critics`, gets the value of that argument.
        options: values of other fields of the objective; fields that are not given keep their defaults.

    Raises:
        ConfigError: for an invalid name, objective or option.
    """
    if not isinstance(name, str) or not name.isidentifier() or name in BUILT_IN_VARIANTS:
        raise ConfigError(
            f"register_variant: name {name!r}: give an identifier other than {', '.join(BUILT_IN_VARIANTS)}"
        )
    if reason := _cannot_register(objective, options):
        raise ConfigError(f"register_variant: {name_of(objective)} {reason}")
    like = next(
        entry for entry in BUILT_IN if issubclass(objective, DiscreteObjective) == _is_discrete(entry)
    )
    VARIANTS[:] = [variant for variant in VARIANTS if variant.selected_by != name]
    VARIANTS.append(replace(like, selected_by=name, objective=objective, options=options))


def _is_discrete(variant: Variant) -> bool:
    return variant.action_space is Discrete


def _cannot_register(objective: Any, options: dict[str, Any]) -> str:
    """Why an objective with these options cannot be a variant, and the remedy; empty if it can."""
    if not isinstance(objective, type) or not issubclass(objective, Objective):
        return "is not an objective: give a subclass of Objective"
    if "__dataclass_fields__" not in vars(objective):
        return "is not a dataclass itself: decorate it with @dataclass(frozen=True)"
    if missing := sorted(objective.__abstractmethods__):
        return f"has no {missing[0]}: define it"
    if issubclass(objective, (DistributionalObjective, SACv1Objective)):
        return (
            "needs other networks than variant='sac' with scalar critics has: write its losses without these"
        )
    columns: Any = objective.columns
    if not isinstance(columns, tuple) or not all(
        isinstance(key, str) and key.isidentifier() for key in columns
    ):
        return f"has columns = {columns!r}: give a tuple of identifiers"
    for key in columns:
        if key in RESERVED_COLUMNS or key.startswith(_RESERVED_PREFIXES) or columns.count(key) > 1:
            return f"has the column {key!r}, which the log has already: give another name"
    own = {f.name: f for f in fields(objective) if f.name not in field_defaults()}
    for option in options:
        if option not in own:
            known = f"its own fields are {', '.join(own)}" if own else "it has no fields of its own"
            return f"has no option {option!r}{nearest(option, list(own))}; {known}"
    for option, entry in own.items():
        if option not in options and entry.default is MISSING and entry.default_factory is MISSING:
            return f"has the field {option!r} without a default: give it a value, {option}=..."
    return ""


def check_variant(variant: Any) -> None:
    """Check "name" or "module:name", after importing the module.

    Raises:
        ConfigError: if the module cannot be imported, or no variant has the name.
    """
    module, colon, name = variant.rpartition(":") if isinstance(variant, str) else ("", "", variant)
    if colon:
        try:
            importlib.import_module(module)
        except (Exception, SystemExit) as error:  # a module may raise anything when it is imported
            raise ConfigError(
                f"variant={variant!r}: the module cannot be imported ({first_line(error)})"
            ) from None
    known = list(dict.fromkeys(entry.selected_by for entry in VARIANTS))
    if name not in known or (colon and name in BUILT_IN_VARIANTS):
        raise ConfigError(
            f"variant={variant!r}: give one of {', '.join(known)}, or 'module:name' if a module of yours "
            f"registers it with spinup.register_variant{nearest(str(name), known)}"
        )
