"""The fused engine: the default networks' update with its gradients written out.

It computes what `EagerLearner.step` computes, without autograd's bookkeeping, with few and large
operations into memory allocated once (docs/engines.md, docs/speed.md). Equation numbers are those of
docs/sac.md. `FusedLearner.step` is the pseudocode; what it calls follows below it in order.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spinup.config import SACConfig
from spinup.pytorch.agent import EagerLearner, Float, LearnedAlpha, Objective, Save, SoftQ, Temperature
from spinup.pytorch.engines.fused_math import (
    AdamGroup,
    Flat,
    head_backward,
    head_forward,
    hidden_backward,
    hidden_forward,
    input_gradient,
)
from spinup.pytorch.engines.fused_memory import (
    BlockMemory,
    Critics,
    Policy,
    Slice,
    Workspace,
    critic_slots,
    policy_slots,
)
from spinup.pytorch.engines.wrapped import WrappedLearner
from spinup.pytorch.networks.actor_critic import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    MLPActorCritic,
    MLPQFunction,
    SquashedGaussianActor,
)
from spinup.replay.storage import Block, Layout

_softplus = torch.ops.aten.softplus.out
_tanh_backward = torch.ops.aten.tanh_backward.grad_input  # g (1 - tanh(u)^2)


class FusedLearner(WrappedLearner):
    """The default actor-critic's update on the CPU. Arguments are those of EagerLearner."""

    def __init__(
        self, ac: MLPActorCritic, objective: SoftQ, config: SACConfig, target_entropy: float, save: Save
    ) -> None:
        # Before `eager` is built, since it and its policy keep views of the parameters' memory.
        self.policy_group = AdamGroup(policy_slots(ac.pi), config.lr)
        self.critic_group = AdamGroup(critic_slots(ac.q1, ac.q2), config.lr)
        self.target_flat = Flat(critic_slots(*objective.targets))
        self.eager = EagerLearner(ac, objective, config, target_entropy, save)
        temperature = self.eager.temperature
        self.temperature: Temperature = (
            ExplicitAlpha(temperature, config.lr) if isinstance(temperature, LearnedAlpha) else temperature
        )
        self.gamma, self.polyak = objective.gamma, config.polyak

        policy, critic = self.policy_group, self.critic_group
        self.pi_twice = Policy.on(policy.flat, policy.params, copies=2)  # for [o2, o] in one pass
        self.pi = Policy.on(policy.flat, policy.params)
        self.pi_grads = Policy.on(policy.flat, policy.grads)
        self.q = Critics.on(critic.flat, critic.params)
        self.q_grads = Critics.on(critic.flat, critic.grads)
        self.targets = Critics.on(self.target_flat, self.target_flat.values)
        self.center, self.half_range, self.low, self.high = (
            ac.pi.center,
            ac.pi.half_range,
            ac.pi.low,
            ac.pi.high,
        )
        self.q_first_a = self.q.hidden.weights[0][..., -len(self.center) :]
        self._ac, self._workspaces = ac, dict[int, Workspace]()
        self.adopt()

    def adopt(self) -> None:
        self.policy_group.adopt(self.eager.pi_optimiser)
        self.critic_group.adopt(self.eager.critic_optimiser)
        if isinstance(self.temperature, ExplicitAlpha):
            self.temperature.group.adopt(self.temperature.learned.optimiser)

    def update(self, block: Block) -> dict[str, Float]:
        """One gradient step per batch; metrics of all n, computed together at the end."""
        like = self.critic_group.params
        rows, noise = (torch.as_tensor(x).to(like.device, like.dtype) for x in (block.rows, block.noise))
        metrics = self.run(rows, noise, block.layout)
        return {key: value.cpu().numpy() for key, value in metrics.items()}

    @torch.no_grad()
    def run(self, rows: Tensor, noise: Tensor, layout: Layout) -> dict[str, Tensor]:
        """A block on the device, as EagerLearner.run."""
        batch = rows.shape[1]
        if batch not in self._workspaces:
            self._workspaces[batch] = Workspace(batch, self._ac, self.critic_group.params)
        room, memory = self._workspaces[batch], BlockMemory(rows, noise, layout, self.gamma)
        alphas = torch.stack([self.step(b, room) for b in memory])
        return memory.metrics(alphas, self.eager.target_entropy)

    def step(self, b: Slice, room: Workspace) -> Tensor:
        """One gradient step: critics, policy, alpha, targets. Returns the alpha it used, 0-dim."""
        alpha = self.temperature.value()

        self.sample(b, room)
        self.critic_gradient(b, room, alpha)
        self.critic_group.step()

        self.policy_gradient(b, room, alpha)
        self.policy_group.step()

        self.temperature.step(b.logp_a)

        self.target_flat.values.lerp_(self.critic_group.params, 1.0 - self.polyak)  # equation 7
        return alpha

    def sample(self, b: Slice, room: Workspace) -> None:
        """Equation 5 at o2 and at o in one pass: the policy does not change between the two uses."""
        pi = self.pi_twice
        hidden_forward(pi.hidden, b.o2_o, room.pi_hidden)
        torch.addmm(pi.head_bias, room.pi_last, pi.head_transposed, out=room.head)
        torch.clamp(room.raw_log_std, LOG_STD_MIN, LOG_STD_MAX, out=room.log_std)
        torch.exp(room.log_std, out=room.spread).mul_(b.xi)
        torch.add(room.mu, room.spread, out=room.u)
        torch.tanh(room.u, out=room.tanh_u)
        # log pi = density + sum(2 (u + softplus(-2u)) - log_std), and u + softplus(-2u) is
        # u - 2 softplus(u, beta=-2), which spares the product -2u
        _softplus(room.u, -2.0, 20.0, out=room.scratch)
        torch.sub(room.u, room.scratch, alpha=2.0, out=room.scratch)
        torch.sub(room.log_std, room.scratch, alpha=2.0, out=room.scratch)
        torch.sum(room.scratch, -1, out=room.sum)
        torch.sub(b.density, room.sum, out=b.logp)
        # to the environment's units, straight into the critics' inputs beside o2 and o
        torch.addcmul(self.center, self.half_range, room.tanh_u, out=room.scratch)
        torch.clamp(room.scratch, self.low, self.high, out=b.a)

    def critic_gradient(self, b: Slice, room: Workspace, alpha: Tensor) -> None:
        """Equation 4: the backup, and the gradient of the squared errors by the critics' parameters."""
        h = hidden_forward(self.targets.hidden, b.o2_a2, room.q_hidden)
        head_forward(self.targets.head, h, room.q_scratch, room.q)
        v2 = torch.minimum(room.q1, room.q2, out=room.backup)
        v2.addcmul_(b.logp_a2, alpha, value=-1.0)
        torch.addcmul(b.r, b.discount, v2, out=room.backup)

        h = hidden_forward(self.q.hidden, b.o_a, room.q_hidden)
        head_forward(self.q.head, h, room.q_scratch, b.q)
        torch.sub(b.q, room.backup, out=b.error)
        torch.mul(b.error, 2.0 / len(b.r), out=room.dq.values)
        head_backward(self.q.head, self.q_grads.head, room.dq, h, room.g_q_last)
        hidden_backward(self.q.hidden, self.q_grads.hidden, b.o_a, room.q_hidden, room.g_q)

    def policy_gradient(self, b: Slice, room: Workspace, alpha: Tensor) -> None:
        """Equation 6: the gradient of mean(alpha log pi - min Q) by the policy's parameters."""
        self.action_gradient(b, room)
        # By u: through the action, d a / d u = half_range (1 - tanh(u)^2), and through log pi, whose
        # derivative by u is 2 tanh(u). Where rounding made `sample` clip, 1 - tanh(u)^2 is 0 already.
        weight = alpha * (2.0 / len(b.r))
        torch.add(room.da1, room.da2, out=room.g_u).mul_(self.half_range)
        _tanh_backward(room.g_u, room.tanh_u_o, grad_input=room.g_u)
        torch.addcmul(room.g_u, room.tanh_u_o, weight, out=room.g_mu)
        # By log_std: u moves by spread = sigma xi, log pi by -1; nothing passes outside the clamp.
        torch.mul(room.g_mu, room.spread_o, out=room.g_u)
        torch.sub(room.g_u, weight, alpha=0.5, out=room.g_u)
        torch.eq(room.raw_log_std_o, room.log_std_o, out=room.inside)
        torch.mul(room.g_u, room.inside, out=room.g_log_std)

        torch.mm(room.g_head_transposed, room.pi_last_o, out=self.pi_grads.head)
        torch.sum(room.g_head, 0, out=self.pi_grads.head_bias)
        torch.mm(room.g_head, self.pi.head, out=room.g_pi_last)
        hidden_backward(self.pi.hidden, self.pi_grads.hidden, b.o, room.pi_hidden_o, room.g_pi)

    def action_gradient(self, b: Slice, room: Workspace) -> None:
        """The gradient of -mean min(Q1, Q2)(o, a~) by the actions, one summand per critic, (2, B, act_dim).

        Neither the critics' parameters nor o receive any: their gradients are never computed.
        """
        h = hidden_forward(self.q.hidden, b.o_pi, room.q_hidden)
        head_forward(self.q.head, h, room.q_scratch, room.q)
        torch.minimum(room.q1, room.q2, out=b.q_pi)
        torch.sub(room.q2, room.q1, out=room.sign).sign_()
        torch.addcmul(room.minus_half, room.sign, room.toward, out=room.dq.values)
        torch.mul(room.dq.column, self.q.head.weight, out=room.g_q_last)
        input_gradient(self.q.hidden, self.q_first_a, room.q_hidden, room.g_q, room.da)


class ExplicitAlpha(Temperature):
    """A learned alpha with its gradient written out, from equation 8: the loss itself."""

    def __init__(self, learned: LearnedAlpha, lr: float) -> None:
        self.learned, self.group = learned, AdamGroup([[learned.log_alpha]], lr)

    def value(self) -> Tensor:
        return self.learned.value()

    def step(self, logp_a: Tensor) -> None:
        gap = logp_a.mean() + self.learned.target_entropy
        torch.mul(self.value(), -gap, out=self.group.grads[0])
        self.group.step()


def why_not_fused(ac: nn.Module, objective: Objective) -> str | None:
    """What the fused engine does not cover here, in a few words; None where it applies."""
    device = objective.critic_params[0].device
    return why_not_formulas(ac, objective) or (None if device.type == "cpu" else f"the device is {device}")


def why_not_formulas(ac: nn.Module, objective: Objective) -> str | None:
    """Where the gradients written out here are not those of `ac`, in a few words; None where they are."""
    if type(objective) is not SoftQ:
        return "this variant has losses of its own"
    if type(ac) is not MLPActorCritic:
        return f"the actor-critic is {type(ac).__name__}, not MLPActorCritic itself"
    parts = {type(ac.pi): SquashedGaussianActor, type(ac.q1): MLPQFunction, type(ac.q2): MLPQFunction}
    if any(got is not wanted for got, wanted in parts.items()):
        return "a part of the actor-critic was replaced"
    if not isinstance(ac.pi.log_std_layer, nn.Linear):
        return "the log std does not depend on the state"
    return _why_not_layers(ac) or _why_not_parameters(ac)


def _why_not_layers(ac: MLPActorCritic) -> str | None:
    for layers in (ac.pi.net, ac.q1.q, ac.q2.q):
        kinds = [type(layer) for layer in layers]
        for kind in kinds:
            if kind not in (nn.Linear, nn.ReLU):
                return f"the activation is {kind.__name__}, not ReLU"
        hidden = [nn.Linear, nn.ReLU] * (len(kinds) // 2)
        if len(kinds) < 2 or kinds not in (hidden, [*hidden, nn.Linear]):
            return "there is no hidden layer"
    if any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks for m in ac.modules()):
        return "a hook is registered on a network"
    return None


def _why_not_parameters(ac: MLPActorCritic) -> str | None:
    slots = policy_slots(ac.pi) + critic_slots(ac.q1, ac.q2)
    ours = {id(p) for slot in slots for p in slot}
    given = list(ac.parameters())
    if len(given) != sum(map(len, slots)) or ours != {id(p) for p in given}:
        return "parameters are shared or were added"
    if any(p.shape != slot[0].shape for slot in slots for p in slot):
        return "the critics, or the policy's heads, differ in shape"
    if not all(p.requires_grad for p in given):
        return "a parameter is frozen"
    if len({p.dtype for p in given}) > 1 or given[0].dtype not in (torch.float32, torch.float64):
        return f"the parameters are {given[0].dtype}, not all float32 or all float64"
    return None
