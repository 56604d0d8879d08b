"""The fused engine's memory: where parameters lie, what a block looks like, and room for one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spinup.pytorch.engines.fused_math import (
    Flat,
    Gradients,
    Slots,
    Stack,
    ValueGradient,
    ValueHead,
    stack_of,
)
from spinup.pytorch.losses import HALF_LOG_TWO_PI, LOG_TWO
from spinup.pytorch.networks.actor_critic import MLPActorCritic, MLPQFunction, SquashedGaussianActor
from spinup.replay.storage import Layout


def linear_layers(layers: Iterable[nn.Module]) -> list[nn.Linear]:
    """The affine layers among `layers`, in order."""
    return [layer for layer in layers if isinstance(layer, nn.Linear)]


def critic_slots(q1: MLPQFunction, q2: MLPQFunction) -> Slots:
    """Both critics' parameters layer by layer, side by side; weights, then biases."""
    pairs = list(zip(linear_layers(q1.q), linear_layers(q2.q), strict=True))
    return [[a.weight, b.weight] for a, b in pairs] + [[a.bias, b.bias] for a, b in pairs]


def policy_slots(pi: SquashedGaussianActor) -> Slots:
    """The policy's parameters; its two heads lie side by side, as one matrix. Weights, then biases."""
    trunk, heads = linear_layers(pi.net), linear_layers([pi.mu_layer, pi.log_std_layer])
    weights: Slots = [[layer.weight] for layer in trunk]
    biases: Slots = [[layer.bias] for layer in trunk]
    return [*weights, [h.weight for h in heads], *biases, [h.bias for h in heads]]


class Critics(NamedTuple):
    """Both critics, or their gradients, as stacks on a flat buffer."""

    hidden: Stack
    head: ValueHead

    @classmethod
    def on(cls, flat: Flat, buffer: Tensor) -> Critics:
        stacks = flat.stacks(buffer)
        weights, biases = stacks[: len(stacks) // 2], stacks[len(stacks) // 2 :]
        return cls(stack_of(weights[:-1], biases[:-1]), ValueHead(weights[-1], biases[-1]))


class Policy(NamedTuple):
    """The policy, or its gradients: trunk, and both heads as one (2 act_dim, width), means first."""

    hidden: Stack
    head: Tensor
    head_transposed: Tensor
    head_bias: Tensor

    @classmethod
    def on(cls, flat: Flat, buffer: Tensor, copies: int = 1) -> Policy:
        stacks = flat.stacks(buffer)
        weights, biases = stacks[: len(stacks) // 2], stacks[len(stacks) // 2 :]
        trunk = stack_of(weights[:-1], biases[:-1], copies)
        head = weights[-1].flatten(0, 1)
        return cls(trunk, head, head.mT, biases[-1].flatten())


class Slice(NamedTuple):
    """One batch of a block: views, in the shapes that the step reads and writes."""

    o2_o: Tensor  # both observations: (2, B, obs_dim)
    o: Tensor  # the second alone: (1, B, obs_dim)
    a: Tensor  # where the policy's actions at o2 and o go: (2, B, act_dim), strided
    o2_a2: Tensor  # [o2, a2] for both targets: (2, B, obs_dim + act_dim)
    o_pi: Tensor  # [o, a~] for both critics, the same shape
    o_a: Tensor  # [o, a] of the replay, for both critics, the same shape
    xi: Tensor  # noise of both draws: (2, B, act_dim)
    density: Tensor  # the part of log pi that is known beforehand: (2, B)
    r: Tensor  # (B,)
    discount: Tensor  # gamma (1 - d): (B,)
    logp: Tensor  # log pi of both draws: (2, B)
    logp_a2: Tensor  # of the first: (B,)
    logp_a: Tensor  # of the second: (B,), logged
    q: Tensor  # both critics at (o, a): (2, B), logged
    error: Tensor  # q minus backup: (2, B), logged
    q_pi: Tensor  # the smaller critic at (o, a~): (B,), logged


class BlockMemory:
    """A block in the order in which the networks read it, with room for what each step logs.

    Whatever does not depend on parameters is done here for all n batches in one operation each, and
    the batches are split up by one `unbind` per array.
    """

    def __init__(self, rows: Tensor, xi: Tensor, layout: Layout, gamma: float) -> None:
        n, batch, obs, act = *rows.shape[:2], layout.obs_dim, layout.act_dim
        # [o2, .] and [o, .], the actions to be filled in by the policy
        x = rows.new_empty(n, 2, batch, obs + act)
        x[:, 0, :, :obs], x[:, 1, :, :obs] = rows[..., layout.o2], rows[..., layout.o]
        known = -0.5 * xi.square().sum(-1) - act * (HALF_LOG_TWO_PI + 2.0 * LOG_TWO)
        self.logp, self.q, self.error = (rows.new_empty(n, 2, batch) for _ in range(3))
        self.q_pi = rows.new_empty(n, batch)
        o_a = rows[:, None, :, layout.o.start : layout.a.stop]
        self._arrays = (
            x[..., :obs], x[:, 1:, :, :obs], x[..., obs:],
            twice(x[:, :1]), twice(x[:, 1:]), twice(o_a), xi, known,
            rows[..., layout.r].contiguous(), gamma * (1.0 - rows[..., layout.d]),
            self.logp, self.logp[:, 0], self.logp[:, 1], self.q, self.error, self.q_pi,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Slice]:
        return map(Slice._make, zip(*(array.unbind() for array in self._arrays), strict=True))

    def metrics(self, alpha: Tensor, target_entropy: Tensor) -> dict[str, Tensor]:
        """What the eager step logs, for all n steps at once; alpha: (n,)."""
        return block_metrics(self.logp[:, 1], self.q, self.error, self.q_pi, alpha, target_entropy)


def block_metrics(
    logp: Tensor, q: Tensor, error: Tensor, q_pi: Tensor, alpha: Tensor, target_entropy: Tensor
) -> dict[str, Tensor]:
    """What n eager steps log, from what was noted in them.

    Args:
        logp, q_pi: log pi of the policy's draws at o, and the smaller critic there, (n, B).
        q, error: both critics at (o, a), and that minus the backup, (n, 2, B).
        alpha: (n,).
        target_entropy: 0-dim.
    """
    return {
        "LossQ": error.square().mean(-1).sum(-1),
        "Q1Vals": q[:, 0],
        "Q2Vals": q[:, 1],
        "LossPi": (alpha[:, None] * logp - q_pi).mean(-1),
        "LogPi": logp,
        "Entropy": -logp.mean(-1),
        "Alpha": alpha,
        "TargetEntropy": target_entropy.expand(len(alpha)),
    }


def twice(x: Tensor) -> Tensor:
    """(n, 1, ...) seen as (n, 2, ...): both critics read the same memory."""
    return x.expand(-1, 2, *x.shape[2:])


class Workspace:
    """Room for one step's intermediate values at batch size B, allocated once."""

    def __init__(self, batch: int, ac: MLPActorCritic, like: Tensor) -> None:
        act = len(ac.pi.center)
        pi_widths = [layer.out_features for layer in linear_layers(ac.pi.net)]
        q_widths = [layer.out_features for layer in linear_layers(ac.q1.q)[:-1]]
        new = like.new_empty
        self.pi_hidden = [new(2, batch, width) for width in pi_widths]
        self.pi_hidden_o = [h[1:] for h in self.pi_hidden]
        self.pi_last, self.pi_last_o = self.pi_hidden[-1].flatten(0, 1), self.pi_hidden[-1][1]
        self.q_hidden = [new(2, batch, width) for width in q_widths]
        self.g_pi = gradients([new(1, batch, width) for width in pi_widths])
        self.g_q = gradients([new(2, batch, width) for width in q_widths])
        self.g_pi_last, self.g_q_last = self.g_pi.values[-1][0], self.g_q.values[-1]
        self.q_scratch = new(2, batch, q_widths[-1])
        self.head, self.g_head = new(2 * batch, 2 * act), new(batch, 2 * act)
        self.g_head_transposed = self.g_head.mT
        heads = self.head.view(2, batch, 2 * act)
        self.mu, self.raw_log_std = heads[..., :act], heads[..., act:]
        self.g_mu, self.g_log_std = self.g_head[:, :act], self.g_head[:, act:]
        self.log_std, self.spread, self.u, self.tanh_u, self.scratch = (new(2, batch, act) for _ in range(5))
        # the half at o of what the policy computed at [o2, o]
        self.raw_log_std_o, self.log_std_o = self.raw_log_std[1], self.log_std[1]
        self.spread_o, self.tanh_u_o = self.spread[1], self.tanh_u[1]
        self.sum, self.q, self.da = new(2, batch), new(2, batch), new(2, batch, act)
        (self.q1, self.q2), (self.da1, self.da2) = self.q.unbind(), self.da.unbind()
        dq = new(2, batch)
        self.dq = ValueGradient(dq, dq.unsqueeze(1), dq.unsqueeze(2))
        self.g_u, self.inside = new(batch, act), new(batch, act, dtype=torch.bool)
        self.backup, self.sign = new(batch), new(batch)
        # d min(q1, q2): each row's gradient goes to its smaller critic, halved on a tie: -(1 +- sign) / 2B
        self.minus_half = new(()).fill_(-0.5 / batch)
        self.toward = like.new_tensor([[-0.5 / batch], [0.5 / batch]])


def gradients(values: list[Tensor]) -> Gradients:
    """The room with its views."""
    return Gradients(values, [g.mT for g in values])
