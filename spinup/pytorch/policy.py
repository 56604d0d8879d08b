"""How a learner acts: one or a few observations at a time, so overhead counts, not arithmetic."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spinup.pytorch.networks.actor_critic import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    FreeVector,
    MLPActorCritic,
    SquashedGaussianActor,
)

Float = NDArray[np.float32]
ACT_STREAM = 3


class Policy(Protocol):
    """Maps observations to actions during a run."""

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        ...


def make_policy(ac: Any, rng: np.random.Generator) -> Policy:
    """The quickest policy that computes what `ac.act` computes.

    The default actor draws its noise from `rng`; any other module is called through its own `act`.
    """
    if type(ac) is not MLPActorCritic:
        return ModulePolicy(ac)
    return actor_policy(ac.pi, rng)


def actor_policy(pi: SquashedGaussianActor, rng: np.random.Generator) -> Policy:
    """The quickest policy that draws from the default actor, with noise from `rng`."""
    parameter = next(pi.parameters())
    if parameter.device.type == "cpu" and parameter.dtype == torch.float32 and NumpyPolicy.covers(pi):
        return NumpyPolicy(pi, rng)
    return GaussianPolicy(pi, rng)


class ModulePolicy:
    """Calls the user's `act`, which draws from torch's global generator if it samples."""

    def __init__(self, ac: Any) -> None:
        self.ac = ac
        self._like = next(ac.parameters())

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        x = torch.as_tensor(obs, dtype=self._like.dtype, device=self._like.device)
        return np.asarray(self.ac.act(x, deterministic=deterministic), np.float32)


class GaussianPolicy:
    """The default actor on any device, with noise from the learner's own generator."""

    def __init__(self, pi: SquashedGaussianActor, rng: np.random.Generator) -> None:
        self.pi, self.rng = pi, rng

    @torch.no_grad()
    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        x = torch.as_tensor(obs, dtype=self.pi.center.dtype, device=self.pi.center.device)
        if deterministic:
            action = self.pi.mean_action(x)
        else:
            noise = self.rng.standard_normal((len(obs), len(self.pi.center)), dtype=np.float32)
            action = self.pi(x, torch.as_tensor(noise, dtype=x.dtype, device=x.device))[0]
        return action.float().cpu().numpy()


class NumpyPolicy:
    """The default actor on the CPU, in NumPy on the parameters' own memory.

    For one row this takes a quarter of the time of the torch calls, which cost more than the products.
    NumPy's BLAS keeps threads of its own, which spin after a product that they shared and then get in
    the way of torch's. It shares products of more than `ALONE` multiplications; so rows go through in
    pieces small enough to stay on this thread, and many rows go to torch.
    """

    ALONE = 2**18  # OpenBLAS: 4 * 65536
    MANY = 16

    def __init__(self, pi: SquashedGaussianActor, rng: np.random.Generator) -> None:
        self.rng, self.pi = rng, pi
        self.hidden = [_affine(layer) for layer in pi.net if isinstance(layer, nn.Linear)]
        self.activate = _ACTIVATIONS[_activation(pi)]
        self.mu = _affine(pi.mu_layer)
        self.piece = max(1, self.ALONE // _largest_layer(pi))
        self.many_rows = GaussianPolicy(pi, rng)
        self.center, self.half = pi.center.numpy(), pi.half_range.numpy()
        self.low, self.high = pi.low.numpy(), pi.high.numpy()

    @classmethod
    def covers(cls, pi: SquashedGaussianActor) -> bool:
        """Whether every layer of `pi` has a NumPy counterpart here, small enough for one thread."""
        return _activation(pi) in _ACTIVATIONS and _largest_layer(pi) <= cls.ALONE

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        if len(obs) > self.MANY:
            return self.many_rows.act(obs, deterministic)
        noise = (
            None if deterministic else self.rng.standard_normal((len(obs), len(self.low)), dtype=np.float32)
        )
        if len(obs) <= self.piece:
            return self._act(obs, noise)
        pieces = [slice(i, i + self.piece) for i in range(0, len(obs), self.piece)]
        return np.concatenate([self._act(obs[p], None if noise is None else noise[p]) for p in pieces])

    def _act(self, obs: Float, noise: Float | None) -> Float:
        h = obs
        for weight, bias in self.hidden:
            h = h @ weight
            h += bias
            h = self.activate(h)
        u: Float = h @ self.mu[0] + self.mu[1]
        if noise is not None:
            u += np.exp(_clip(self._log_std(h), LOG_STD_MIN, LOG_STD_MAX)) * noise
        return _clip(self.center + self.half * np.tanh(u), self.low, self.high)

    def _log_std(self, h: Float) -> Float:
        layer = self.pi.log_std_layer
        if isinstance(layer, FreeVector):
            return layer.value.detach().numpy()
        weight, bias = _affine(layer)
        return h @ weight + bias


def _affine(layer: nn.Linear) -> tuple[Float, Float]:
    """Views of a layer's weight, (in, out), and bias, (out,), on the parameters' memory."""
    return layer.weight.detach().numpy().T, layer.bias.detach().numpy()


def _activation(pi: SquashedGaussianActor) -> type[nn.Module]:
    return next((type(layer) for layer in pi.net if not isinstance(layer, nn.Linear)), nn.Identity)


def _largest_layer(pi: SquashedGaussianActor) -> int:
    return max(p.numel() for p in pi.parameters())


def _clip(x: Float, low: Any, high: Any) -> Float:
    """np.clip, whose checks take longer than the work for so few numbers."""
    clipped: Float = np.minimum(np.maximum(x, low), high)
    return clipped


def _relu(x: Float) -> Float:
    return np.maximum(x, 0.0, out=x)


_ACTIVATIONS: dict[type[nn.Module], Any] = {nn.ReLU: _relu, nn.Tanh: np.tanh, nn.Identity: lambda x: x}
