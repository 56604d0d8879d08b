"""The agent: networks, targets, optimizers, temperature and random generators; all learned state of a run."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.pytorch.held_noise import HeldNoise
from spinup.pytorch.networks.encoded import ensemble_of
from spinup.pytorch.networks.layers import normalize_weights
from spinup.pytorch.networks.modes import Modes
from spinup.pytorch.networks.normalized import NormalizedActorCritic
from spinup.pytorch.networks.transformed_input import takes_noise
from spinup.pytorch.policy import MakePolicy, Policy
from spinup.pytorch.state_arrays import adam_state, arrays, load_adam_state, load_arrays
from spinup.pytorch.temperature import Temperature
from spinup.pytorch.variants.objective import Networks
from spinup.replay.normalizer import Normalizer
from spinup.replay.transition import Batches
from spinup.seeding import ACT_STREAM, generator

Float = NDArray[np.float32]
Save = Callable[[nn.Module, Path], None]


@dataclass(frozen=True)
class UpdateOptions:
    """Settings of an update besides its losses. Each field is an option that an engine must declare.

    Args:
        lr: Adam's learning rate, for policy, critics and alpha.
        polyak: target <- polyak * target + (1 - polyak) * online.
        alpha: entropy coefficient; the initial value if it is learned.
        target_entropy: target of a learned alpha, in nats; None fixes alpha.
        alpha_loss: factor in the loss of a learned alpha: "alpha" or "log_alpha", see `losses.alpha_loss`.
        policy_delay: the policy and alpha are updated in every `policy_delay`-th gradient step.
        actor_first: whether the policy and alpha are updated before the critics instead of after them.
        betas: Adam's decay rates of the first and second moment, for policy, critics and alpha.
        weight_decay: decoupled weight decay (AdamW, Loshchilov & Hutter 2019), for policy and critics.
        lr_schedule: "constant", or "linear" or "cosine" from `lr` to `lr_end` over `total_updates`.
        lr_end: the final learning rate of a schedule.
        total_updates: length of a schedule in gradient steps; 0 if the learning rate is constant.
        normalize_weights: whether weights are scaled to norm 1 after each step, see `normalize_weights`.
    """

    lr: float = 1e-3
    polyak: float = 0.995
    alpha: float = 0.2
    target_entropy: float | None = None
    alpha_loss: str = "alpha"
    policy_delay: int = 1
    actor_first: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    lr_schedule: str = "constant"
    lr_end: float = 0.0
    total_updates: int = 0
    normalize_weights: bool = False

    def lr_at(self, step: int) -> float:
        """The learning rate of gradient step number `step`, counted from 0."""
        if self.lr_schedule == "constant":
            return self.lr
        done = min(step / self.total_updates, 1.0)
        left = 1.0 - done if self.lr_schedule == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))
        return self.lr_end + (self.lr - self.lr_end) * left


class StepSettings(NamedTuple):
    """Settings that differ between the gradient steps of a run.

    Args:
        updates_policy: whether the step updates the policy and alpha, see `policy_delay`.
        lr: the learning rate, a number or a 0-dim tensor; None if it is constant.
    """

    updates_policy: bool
    lr: float | Tensor | None


class Optimizers(NamedTuple):
    """One optimizer per loss; `alpha` is None if alpha is fixed."""

    critic: Any
    actor: Any
    alpha: Any


class Agent:
    """All learned state of a run; the same class for every engine.

    Args:
        ac: the actor-critic, with the policy `pi` and the critics `q1` to `q<critics>`; the target networks
            are copies of the critics.
        options: settings of the optimizers, the targets and alpha.
        critics: number of critics.
        has_value: whether `ac.v` is a value network; if so, only the value network has a target network.
        make_policy: makes the policy that acts, from `ac` and a source of noise.
        seed: seed of the generator of that noise.
        save: writes `model` as model.pt.
        target_networks: whether there are target networks; otherwise the critics compute their own targets.
        hold_noise: the arguments `longest`, `rows` and `size` of `HeldNoise`; None draws new noise for each
            action.
        normalizer: normalizes the observations given to `act`; batches must be normalized already.

    Attributes:
        gradient_steps: gradient steps so far.
        model: the actor-critic for raw observations: `ac`, wrapped in a `NormalizedActorCritic` if the run
            normalizes observations.
    """

    def __init__(
        self,
        ac: Any,
        options: UpdateOptions,
        *,
        critics: int,
        has_value: bool,
        make_policy: MakePolicy,
        seed: int,
        save: Save,
        target_networks: bool = True,
        hold_noise: tuple[int, int, int] | None = None,
        normalizer: Normalizer | None = None,
    ) -> None:
        self.ac, self.options, self._save, self.normalizer = ac, options, save, normalizer
        self.gradient_steps = 0
        moments = None if normalizer is None else normalizer.obs
        self.model = ac if moments is None else NormalizedActorCritic.around(ac, moments)
        ensemble = ensemble_of(ac, critics)
        if options.normalize_weights:
            normalize_weights(ac)
        averaged = ac.v if has_value else ensemble
        self.target: nn.Module = nn.Module()  # empty where there are no target networks
        if target_networks:
            self.target = copy.deepcopy(averaged).requires_grad_(False)
        value = ac.v if has_value else None
        target = self.target if target_networks else ensemble
        modes = Modes(ac.pi, ensemble, self.target, *([ac.v] if has_value else []))
        self.networks = Networks(_actor_call(ac.pi), ensemble, target, value, modes)
        self.target_params = [p.data for p in self.target.parameters()]
        self.online_params = [p.data for p in averaged.parameters()] if target_networks else []
        self.critic_params = unique_parameters(ensemble, *([ac.v] if has_value else []))
        self.actor_params = unique_parameters(ac.pi, but_not=self.critic_params)
        self.reference_parameter = self.critic_params[0]  # has the dtype and device of all computations
        self.temperature = Temperature(options.alpha, options.target_entropy, self.reference_parameter)
        log_alpha = self.temperature.log_alpha
        self.optimizers = Optimizers(
            _adam(self.critic_params, options.lr, options.betas, options.weight_decay),
            _adam(self.actor_params, options.lr, options.betas, options.weight_decay),
            None if log_alpha is None else _adam([log_alpha], options.lr, options.betas),
        )
        self.rng = generator(seed, ACT_STREAM)
        self.held_noise = hold_noise and HeldNoise(self.rng, *hold_noise)
        self.policy: Policy = make_policy(ac, self.held_noise or self.rng)

    def act(self, obs: NDArray[Any], deterministic: bool) -> Float:
        """Actions for a batch of observations.

        Args:
            obs: raw observations, (N, obs_dim) float32; with images (N, nbytes) uint8, see `ImageLayout`.
            deterministic: whether to return the squashed mean, or the most likely action if actions are
                discrete, instead of a sample.

        Returns:
            Actions in the environment's units, (N, act_dim) float32; if discrete, indices (N, 1) float32.
        """
        if self.normalizer is not None:
            obs = self.normalizer.observations(obs)
        return self.policy.act(obs, deterministic)

    def to_tensors(self, batches: Batches) -> dict[str, Tensor]:
        """The fields as tensors on the agent's device; floating-point fields are cast to its dtype."""
        device, dtype = self.reference_parameter.device, self.reference_parameter.dtype
        tensors = {name: torch.as_tensor(values).to(device) for name, values in batches.items()}
        return {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}

    def begin_steps(self, count: int) -> list[StepSettings]:
        """Settings of the next `count` gradient steps, which are added to `gradient_steps`.

        Adam's own counts of steps are float32 numbers, which cannot exceed 2^24.
        """
        options, first = self.options, self.gradient_steps
        scheduled = options.lr_schedule != "constant"
        self.gradient_steps += count
        return [
            StepSettings((step + 1) % options.policy_delay == 0, options.lr_at(step) if scheduled else None)
            for step in range(first, first + count)
        ]

    def set_learning_rate(self, lr: float | Tensor) -> None:
        """Set the learning rate of all optimizers."""
        for optimizer in filter(None, self.optimizers):
            optimizer.param_groups[0]["lr"] = lr

    def state_tensors(self) -> list[Tensor]:
        """Every tensor that an update changes in place."""
        tensors = [*self.ac.state_dict().values(), *self.target.state_dict().values()]
        for optimizer in filter(None, self.optimizers):
            for p, state in optimizer.state.items():
                tensors += [p.data, *state.values()]
        return tensors

    def save(self, folder: Path, name: str) -> None:
        """Write folder/pyt_save/<name>.pt."""
        self._save(self.model, folder / "pyt_save" / f"{name}.pt")

    def state_dict(self) -> dict[str, Any]:
        """Networks, targets, optimizers, alpha, noise, normalizer and generators, as arrays and numbers."""
        state: dict[str, Any] = {
            "gradient_steps": self.gradient_steps,
            "ac": arrays(self.ac),
            "target": arrays(self.target),
            "rng": self.rng.bit_generator.state,
            "torch_rng": torch.get_rng_state().numpy(),
            "cuda_rng": self._cuda_rng(),
        }
        for name, optimizer in self.optimizers._asdict().items():
            if optimizer is not None:
                state[f"{name}_optimizer"] = adam_state(optimizer)
        if self.temperature.log_alpha is not None:
            state["log_alpha"] = self.temperature.log_alpha.detach().cpu().numpy().copy()
        if self.held_noise is not None:
            state["held_noise"] = self.held_noise.state_dict()
        if self.normalizer is not None:
            state["normalizer"] = self.normalizer.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state` was taken; tensors are changed in place."""
        self.gradient_steps = int(state["gradient_steps"])
        load_arrays(self.ac, state["ac"])
        load_arrays(self.target, state["target"])
        for name, optimizer in self.optimizers._asdict().items():
            if optimizer is not None:
                load_adam_state(optimizer, state[f"{name}_optimizer"])
        if self.temperature.log_alpha is not None:
            self.temperature.log_alpha.data.copy_(torch.as_tensor(state["log_alpha"]))
        if self.held_noise is not None:
            self.held_noise.load_state_dict(state["held_noise"])
        if self.normalizer is not None:
            self.normalizer.load_state_dict(state["normalizer"])
        self.rng.bit_generator.state = state["rng"]
        torch.set_rng_state(torch.from_numpy(np.array(state["torch_rng"])))
        device = self.reference_parameter.device
        if device.type == "cuda" and len(state["cuda_rng"]):
            torch.cuda.set_rng_state(torch.from_numpy(np.array(state["cuda_rng"])), device)

    def _cuda_rng(self) -> NDArray[np.uint8]:
        """The state of torch's generator on a GPU, from which dropout draws there; empty on the CPU."""
        device = self.reference_parameter.device
        if device.type != "cuda":
            return np.zeros(0, np.uint8)
        state: NDArray[np.uint8] = torch.cuda.get_rng_state(device).numpy()
        return state


def unique_parameters(*modules: nn.Module, but_not: list[nn.Parameter] | None = None) -> list[nn.Parameter]:
    """Trainable parameters of the modules in order, each once, without those in `but_not`."""
    seen = {id(p) for p in but_not or []}
    found: list[nn.Parameter] = []
    for module in modules:
        for parameter in module.parameters():
            if parameter.requires_grad and id(parameter) not in seen:
                seen.add(id(parameter))
                found.append(parameter)
    return found


def _actor_call(pi: nn.Module) -> Callable[..., tuple[Tensor, Tensor]]:
    """The function (obs, noise) by which losses call the policy.

    A policy whose `forward` has no argument `noise` draws from torch's global generator instead.
    """
    if takes_noise(pi):
        return lambda obs, noise: pi(obs, noise=noise)
    return lambda obs, noise=None: pi(obs)


def _adam(
    params: list[nn.Parameter],
    lr: float,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
) -> torch.optim.Adam:
    """Adam, or AdamW if there is weight decay, with its state allocated, so that engines can refer to it."""
    on_cuda = params[0].is_cuda if params else False
    kind = torch.optim.AdamW if weight_decay else torch.optim.Adam
    optimizer = kind(params, lr=lr, betas=betas, weight_decay=weight_decay, fused=True, capturable=on_cuda)
    for p in params:
        optimizer.state[p] = {
            "step": torch.zeros((), dtype=torch.float32, device=p.device),
            "exp_avg": torch.zeros_like(p, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(p, requires_grad=False),
        }
    return optimizer
