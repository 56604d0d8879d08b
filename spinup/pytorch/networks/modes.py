"""Switches the layers that behave differently in updates: batch normalization, dropout, image encoders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from torch import nn

from spinup.pytorch.networks.encoded import Encoder
from spinup.pytorch.networks.layers import BatchNorm, Dropout


class Modes:
    """Activates layers with batch statistics or dropout for the forward passes of an update.

    These layers are active in the loss that trains their network. In the policy's loss, the critics' dropout
    is active, but they use running statistics; an image encoder computes its features once, without gradient.

    Args:
        actor: the policy network.
        critics: critics, target networks and value network.

    Attributes:
        batch_statistics: whether critics have batch statistics.
        dropout: whether policy or critics have dropout.
    """

    def __init__(self, actor: nn.Module, *critics: nn.Module) -> None:
        self._actor, self._critics = switched_layers(actor), switched_layers(*critics)
        self._dropout = [layer for layer in self._critics if isinstance(layer, Dropout)]
        self.batch_statistics = any(isinstance(layer, BatchNorm) for layer in self._critics)
        self._encoders = [m for net in critics for m in net.modules() if isinstance(m, Encoder)]
        self.dropout = any(isinstance(layer, Dropout) for layer in [*self._actor, *self._critics])

    def critic_loss(self) -> AbstractContextManager[None]:
        """Context for the passes of critics, targets and value network in the critics' loss."""
        return activated(self._critics)

    def actor_loss(self) -> AbstractContextManager[None]:
        """Context for the passes of policy and critics in the policy's loss."""
        active = activated([*self._actor, *self._dropout])
        return _with_cached_features(self._encoders, active) if self._encoders else active


@contextmanager
def _with_cached_features(encoders: list[Encoder], active: AbstractContextManager[None]) -> Iterator[None]:
    with ExitStack() as stack:
        stack.enter_context(active)
        for encoder in encoders:
            stack.enter_context(encoder.cached_features())
        yield


def switched_layers(*modules: nn.Module) -> list[Dropout | BatchNorm]:
    """The layers in the modules that have the attribute `active`, each once."""
    found = {id(m): m for module in modules for m in module.modules() if isinstance(m, (Dropout, BatchNorm))}
    return list(found.values())


def activated(layers: Sequence[Dropout | BatchNorm]) -> AbstractContextManager[None]:
    """A context in which these layers are active."""
    return _activated(layers) if layers else nullcontext()


@contextmanager
def _activated(layers: Sequence[Dropout | BatchNorm]) -> Iterator[None]:
    for layer in layers:
        layer.active = True
    try:
        yield
    finally:
        for layer in layers:
            layer.active = False
