"""The learner: owns networks, targets, optimisers and alpha; one update reads as the pseudocode."""

from __future__ import annotations

import abc
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.config import SACConfig
from spinup.pytorch import losses
from spinup.pytorch.policy import ACT_STREAM, Policy, make_policy
from spinup.pytorch.state_arrays import Optimiser, adam_state, arrays, load_adam_state, load_arrays
from spinup.pytorch.validation import PolicyCall, policy_call, unique_parameters
from spinup.replay.storage import Block, Layout

Float = NDArray[np.float32]
Save = Callable[[nn.Module, Path], None]


class Batch(NamedTuple):
    """One batch on the device; xi2 and xi are the noise of the policy's draws at o2 and at o."""

    o: Tensor
    a: Tensor
    r: Tensor
    d: Tensor
    o2: Tensor
    xi2: Tensor
    xi: Tensor


def split(rows: Tensor, noise: Tensor, layout: Layout) -> Batch:
    """Views of one batch's rows (B, width) and noise (2, B, act_dim)."""
    return Batch(
        rows[:, layout.o], rows[:, layout.a], rows[:, layout.r], rows[:, layout.d], rows[:, layout.o2], *noise
    )


class Objective(abc.ABC):
    """What one variant of SAC minimises, and which parameters follow which."""

    pi_params: list[nn.Parameter]  # owned by the policy's optimiser
    critic_params: list[nn.Parameter]  # owned by the critics' optimiser
    followed: list[nn.Parameter]  # what the targets average
    targets: nn.ModuleList  # target networks

    @abc.abstractmethod
    def critic_loss(self, b: Batch, alpha: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The critics' loss (0-dim) and the values to log: LossQ (0-dim), Q1Vals and Q2Vals (B,)."""

    @abc.abstractmethod
    def policy_loss(self, b: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The policy's loss (0-dim) and log pi of its actions (B,)."""

    @abc.abstractmethod
    def policy(self, rng: np.random.Generator) -> Policy:
        """How the learner acts; what the default networks draw comes from `rng`."""


class Reparameterised(Objective):
    """Variants that train the policy by equation 6, on the smaller of two critics."""

    ac: Any
    pi: PolicyCall

    def policy_loss(self, b: Batch, alpha: Tensor) -> tuple[Tensor, Tensor]:
        a, logp_a = self.pi(b.o, b.xi)
        return losses.pi_loss(self.ac.q1(b.o, a), self.ac.q2(b.o, a), logp_a, alpha), logp_a


class SoftQ(Reparameterised):
    """The modern SAC on continuous actions: two critics, their targets, a reparameterised policy."""

    def __init__(self, ac: Any, gamma: float) -> None:
        self.ac, self.gamma = ac, gamma
        self.pi = policy_call(ac.pi)
        critics = nn.ModuleList([ac.q1, ac.q2])
        self.targets = copy.deepcopy(critics).requires_grad_(False)
        self.followed = list(critics.parameters())
        self.critic_params = unique_parameters(ac.q1, ac.q2)
        self.pi_params = unique_parameters(ac.pi, but_not=self.critic_params)

    def critic_loss(self, b: Batch, alpha: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.no_grad():
            a2, logp_a2 = self.pi(b.o2, b.xi2)
            q_targ = torch.minimum(self.targets[0](b.o2, a2), self.targets[1](b.o2, a2))
            backup = losses.q_backup(b.r, b.d, losses.soft_value(q_targ, logp_a2, alpha), self.gamma)
        q1, q2 = self.ac.q1(b.o, b.a), self.ac.q2(b.o, b.a)
        loss = losses.q_loss(q1, q2, backup)
        return loss, {"LossQ": loss, "Q1Vals": q1, "Q2Vals": q2}

    def policy(self, rng: np.random.Generator) -> Policy:
        return make_policy(self.ac, rng)


class Temperature(abc.ABC):
    """alpha: a tensor, whether it learns or not."""

    @abc.abstractmethod
    def value(self) -> Tensor:
        """alpha, 0-dim, without gradient."""

    @abc.abstractmethod
    def step(self, logp_a: Tensor) -> None:
        """Take one gradient step, if alpha learns."""


class FixedAlpha(Temperature):
    """The documented version: a constant."""

    def __init__(self, alpha: float, like: Tensor) -> None:
        self._value = torch.tensor(alpha, dtype=like.dtype, device=like.device)

    def value(self) -> Tensor:
        return self._value

    def step(self, logp_a: Tensor) -> None:
        return None


class LearnedAlpha(Temperature):
    """The entropy-constrained version (equation 8)."""

    def __init__(self, alpha: float, target_entropy: float, lr: float, like: Tensor) -> None:
        start = torch.tensor(alpha, dtype=torch.float64).log()
        self.log_alpha = nn.Parameter(start.to(like.device, like.dtype))
        self.target_entropy = target_entropy
        self.optimiser: Optimiser = torch.optim.Adam([self.log_alpha], lr=lr, fused=True)

    def value(self) -> Tensor:
        return self.log_alpha.detach().exp()

    def step(self, logp_a: Tensor) -> None:
        minimise(
            losses.alpha_loss(self.log_alpha, logp_a, self.target_entropy), [self.log_alpha], self.optimiser
        )


def minimise(loss: Tensor, params: list[nn.Parameter], optimiser: Optimiser) -> None:
    """One optimiser step on `params`; no other parameter receives a gradient."""
    for p, gradient in zip(params, torch.autograd.grad(loss, params, allow_unused=True), strict=True):
        p.grad = gradient
    optimiser.step()


class EagerLearner:
    """The reference: plain autograd, any actor-critic, any variant.

    Args:
        ac: the actor-critic.
        objective: the variant's losses over `ac` and its targets.
        config: hyperparameters.
        target_entropy: for a learned alpha.
        save: writes `ac` as model.pt.
    """

    def __init__(
        self, ac: nn.Module, objective: Objective, config: SACConfig, target_entropy: float, save: Save
    ) -> None:
        self.ac, self.objective, self.polyak, self._save = ac, objective, config.polyak, save
        self._like = objective.critic_params[0]
        self.pi_optimiser: Optimiser = torch.optim.Adam(objective.pi_params, lr=config.lr, fused=True)
        self.critic_optimiser: Optimiser = torch.optim.Adam(objective.critic_params, lr=config.lr, fused=True)
        self.target_params = [p.data for p in objective.targets.parameters()]
        self.followed = [p.data for p in objective.followed]
        shown = target_entropy if config.learns_alpha else torch.nan
        self.target_entropy = torch.tensor(shown, device=self._like.device)
        self.temperature: Temperature = (
            LearnedAlpha(config.initial_alpha, target_entropy, config.lr, self._like)
            if config.learns_alpha
            else FixedAlpha(config.initial_alpha, self._like)
        )
        self.rng = np.random.default_rng(np.random.SeedSequence([config.seed, ACT_STREAM]))
        self.policy: Policy = objective.policy(self.rng)

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        return self.policy.act(obs, deterministic)

    def update(self, block: Block) -> dict[str, Float]:
        """One gradient step per batch; metrics of all n, brought to the host once."""
        rows = torch.as_tensor(block.rows).to(self._like.device, self._like.dtype)
        noise = torch.as_tensor(block.noise).to(self._like.device, self._like.dtype)
        metrics = self.run(rows, noise, block.layout)
        return {key: value.cpu().numpy() for key, value in metrics.items()}

    def run(self, rows: Tensor, noise: Tensor, layout: Layout) -> dict[str, Tensor]:
        """A block on the device: rows (n, B, width), noise (n, 2, B, act_dim), metrics with leading n."""
        steps = [self.step(split(r, x, layout)) for r, x in zip(rows, noise, strict=True)]
        return {key: torch.stack([m[key] for m in steps]) for key in steps[0]}

    def step(self, b: Batch) -> dict[str, Tensor]:
        """One gradient step: critics, policy, alpha, targets."""
        objective, alpha = self.objective, self.temperature.value()

        loss_q, metrics = objective.critic_loss(b, alpha)
        minimise(loss_q, objective.critic_params, self.critic_optimiser)

        loss_pi, logp_a = objective.policy_loss(b, alpha)
        minimise(loss_pi, objective.pi_params, self.pi_optimiser)

        self.temperature.step(logp_a)

        losses.polyak_update(self.target_params, self.followed, self.polyak)

        metrics |= {"LossPi": loss_pi, "LogPi": logp_a, "Entropy": -logp_a.mean()}
        metrics |= {"Alpha": alpha, "TargetEntropy": self.target_entropy}
        return {key: value.detach() for key, value in metrics.items()}

    def save(self, folder: Path, name: str) -> None:
        """Write folder/pyt_save/<name>.pt."""
        self._save(self.ac, folder / "pyt_save" / f"{name}.pt")

    def state_dict(self) -> dict[str, Any]:
        """Networks, targets, optimisers, alpha and generators, as arrays and numbers."""
        state: dict[str, Any] = {
            "ac": arrays(self.ac),
            "targets": arrays(self.objective.targets),
            "pi_optimiser": adam_state(self.pi_optimiser),
            "critic_optimiser": adam_state(self.critic_optimiser),
            "rng": self.rng.bit_generator.state,
            "torch_rng": torch.get_rng_state().numpy(),
        }
        if isinstance(self.temperature, LearnedAlpha):
            state["log_alpha"] = self.temperature.log_alpha.detach().cpu().numpy()
            state["alpha_optimiser"] = adam_state(self.temperature.optimiser)
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken."""
        load_arrays(self.ac, state["ac"])
        load_arrays(self.objective.targets, state["targets"])
        load_adam_state(self.pi_optimiser, state["pi_optimiser"])
        load_adam_state(self.critic_optimiser, state["critic_optimiser"])
        self.rng.bit_generator.state = state["rng"]
        torch.set_rng_state(torch.from_numpy(np.array(state["torch_rng"])))
        if isinstance(self.temperature, LearnedAlpha):
            with torch.no_grad():
                self.temperature.log_alpha.copy_(torch.as_tensor(state["log_alpha"]))
            load_adam_state(self.temperature.optimiser, state["alpha_optimiser"])
