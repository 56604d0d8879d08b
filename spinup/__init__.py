"""Soft Actor-Critic as Spinning Up documents it, for current versions of PyTorch and Gymnasium."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from spinup.pytorch.model_file import register_actor_critic
from spinup.pytorch.networks.actor_critic import (
    DiscreteMLPActorCritic,
    MLPActorCritic,
    MLPValueActorCritic,
)
from spinup.pytorch.networks.asymmetric import AsymmetricActorCritic
from spinup.pytorch.networks.encoded import EncodedActorCritic
from spinup.pytorch.networks.normalized import NormalizedActorCritic
from spinup.version import __version__ as __version__

if TYPE_CHECKING:
    from spinup.loggers.epoch_logger import EpochLogger
    from spinup.model import SAC
    from spinup.pytorch.sac import sac_pytorch
    from spinup.pytorch.variants.register import register_variant
    from spinup.tf1.sac import sac_tf1

__all__ = [
    "SAC", "EpochLogger", "MLPActorCritic", "register_actor_critic", "register_variant",
    "sac_pytorch", "sac_tf1",
]  # fmt: skip

_LAZY = {
    "SAC": "spinup.model",
    "sac_pytorch": "spinup.pytorch.sac",
    "register_variant": "spinup.pytorch.variants.register",
    "sac_tf1": "spinup.tf1.sac",
    "EpochLogger": "spinup.loggers.epoch_logger",
}

for _class in (
    MLPActorCritic, DiscreteMLPActorCritic, MLPValueActorCritic, NormalizedActorCritic, AsymmetricActorCritic,
    EncodedActorCritic,
):  # fmt: skip
    register_actor_critic(_class, _class.__name__)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'spinup' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
