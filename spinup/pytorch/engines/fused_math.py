"""What the fused engine computes with: flat memory, Adam over it, and perceptrons side by side.

A *stack* is s networks of one shape side by side: a layer's weights are (s, out, in), its biases
(s, 1, out), its activations (s, B, out). One batched product then does the work of s small ones, a
network to a thread, where the threads inside one product of 100 rows mostly wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spinup.pytorch.engines.wrapped import adopt_state
from spinup.pytorch.state_arrays import Optimiser

_relu_backward = torch.ops.aten.threshold_backward.grad_input  # what autograd runs for ReLU

Slots = list[list[Tensor]]


class Flat:
    """Parameters in one flat buffer, so that one call averages or updates all layers.

    The modules' parameters become views of the buffer: acting, saving and loading see every update.

    Args:
        slots: per entry, parameters of one shape that shall lie side by side, as one stack.
    """

    def __init__(self, slots: Slots) -> None:
        self.slots = slots
        self.values = torch.cat([p.detach().reshape(-1) for slot in slots for p in slot])
        for slot, stack in zip(slots, self.stacks(self.values), strict=True):
            for parameter, view in zip(slot, stack, strict=True):
                parameter.data = view

    def stacks(self, buffer: Tensor) -> list[Tensor]:
        """Views of a buffer of this layout: per slot (len(slot), *shape), contiguous."""
        parts = torch.split(buffer, [len(slot) * slot[0].numel() for slot in self.slots])
        return [part.view(len(slot), *slot[0].shape) for part, slot in zip(parts, self.slots, strict=True)]


class AdamGroup:
    """The parameters of one optimiser; their gradients and Adam's moments in one flat buffer each."""

    def __init__(self, slots: Slots, lr: float) -> None:
        self.flat, self.lr = Flat(slots), lr
        self.params = self.flat.values
        self.grads = torch.zeros_like(self.params)
        self.exp_avg = torch.zeros_like(self.params)
        self.exp_avg_sq = torch.zeros_like(self.params)
        self.steps = torch.zeros((), dtype=torch.float32, device=self.params.device)

    def step(self) -> None:
        """One step of Adam (Kingma & Ba 2015) with torch's defaults, from `grads`."""
        adam(self)

    def adopt(self, optimiser: Optimiser) -> None:
        """Copy the optimiser's state into the flat buffers, and let it see those from now on."""
        moments = self.flat.stacks(self.exp_avg), self.flat.stacks(self.exp_avg_sq)
        for slot, first, second in zip(self.flat.slots, *moments, strict=True):
            for i, parameter in enumerate(slot):
                ours = {"step": self.steps, "exp_avg": first[i], "exp_avg_sq": second[i]}
                adopt_state(optimiser, parameter, ours)


def adam_private(group: AdamGroup) -> None:
    """The kernel under torch.optim.Adam(fused=True), without that class's bookkeeping."""
    group.steps.add_(1.0)
    torch._fused_adam_(
        [group.params], [group.grads], [group.exp_avg], [group.exp_avg_sq], [], [group.steps],
        lr=group.lr, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
    )  # fmt: skip


def adam_public(group: AdamGroup) -> None:
    """The same step through torch's public interface, for a torch without that kernel."""
    parameter = nn.Parameter(group.params)
    parameter.grad = group.grads
    optimiser = torch.optim.Adam([parameter], lr=group.lr, fused=True)
    optimiser.state[parameter] = {
        "step": group.steps, "exp_avg": group.exp_avg, "exp_avg_sq": group.exp_avg_sq,
    }  # fmt: skip
    optimiser.step()


adam: Callable[[AdamGroup], None] = (
    adam_private if callable(getattr(torch, "_fused_adam_", None)) else adam_public
)


class Stack(NamedTuple):
    """Hidden layers of s networks: weights (s, out, in), the same transposed, and biases (s, 1, out)."""

    weights: list[Tensor]
    transposed: list[Tensor]
    biases: list[Tensor]


def stack_of(weights: list[Tensor], biases: list[Tensor], copies: int = 1) -> Stack:
    """A stack on weights (s, out, in) and biases (s, out); `copies` runs one network on as many inputs."""
    weights = [w.expand(len(w) * copies, -1, -1) for w in weights]
    return Stack(weights, [w.mT for w in weights], [b.unsqueeze(1) for b in biases])


def hidden_forward(stack: Stack, x: Tensor, out: list[Tensor]) -> Tensor:
    """Activations of the hidden layers for inputs (s, B, in), into `out`; returns the last of them."""
    for weight, bias, h in zip(stack.transposed, stack.biases, out, strict=True):
        torch.baddbmm(bias, x, weight, out=h)
        h.clamp_min_(0.0)
        x = h
    return x


class Gradients(NamedTuple):
    """Room for the gradients by all activations, (s, B, width) each, and views of it transposed."""

    values: list[Tensor]
    transposed: list[Tensor]


def hidden_backward(stack: Stack, grads: Stack, x: Tensor, hidden: list[Tensor], room: Gradients) -> None:
    """Gradients by weights and biases, into `grads`, from the one by the last activations in `room`.

    The input x gets none: nothing would use it.
    """
    g = room.values
    for k in reversed(range(len(g))):
        _relu_backward(g[k], hidden[k], 0.0, grad_input=g[k])
        torch.bmm(room.transposed[k], hidden[k - 1] if k else x, out=grads.weights[k])
        torch.sum(g[k], 1, keepdim=True, out=grads.biases[k])
        if k:
            torch.bmm(g[k], stack.weights[k], out=g[k - 1])


def input_gradient(stack: Stack, first: Tensor, hidden: list[Tensor], room: Gradients, out: Tensor) -> None:
    """The gradient by some of the inputs, and by no parameter, from that by the last activations.

    first: the first layer's weights of those inputs, (s, width, inputs); out: (s, B, inputs).
    """
    g = room.values
    for k in reversed(range(len(g))):
        _relu_backward(g[k], hidden[k], 0.0, grad_input=g[k])
        torch.bmm(g[k], stack.weights[k] if k else first, out=g[k - 1] if k else out)


class ValueHead(NamedTuple):
    """The last layer of s critics, one output each: weight (s, 1, width), bias (s, 1)."""

    weight: Tensor
    bias: Tensor


def head_forward(head: ValueHead, h: Tensor, scratch: Tensor, out: Tensor) -> None:
    """Values (s, B) of activations (s, B, width): for one column a product and a sum are quickest."""
    torch.mul(h, head.weight, out=scratch)
    torch.sum(scratch, -1, out=out)
    out.add_(head.bias)


class ValueGradient(NamedTuple):
    """Room for the gradient by values, (s, B), and views of it as rows and as columns."""

    values: Tensor
    row: Tensor  # (s, 1, B)
    column: Tensor  # (s, B, 1)


def head_backward(head: ValueHead, grads: ValueHead, dq: ValueGradient, h: Tensor, g: Tensor) -> None:
    """From dq: the gradients by weight and bias into `grads`, by the activations into g."""
    torch.bmm(dq.row, h, out=grads.weight)
    torch.sum(dq.values, 1, keepdim=True, out=grads.bias)
    torch.mul(dq.column, head.weight, out=g)
