"""Policies that act in a run. Batches have few observations, so call overhead exceeds arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from spinup.pytorch.held_noise import NoiseSource
from spinup.pytorch.networks.actor_critic import (
    DiscreteMLPActorCritic,
    MLPActorCritic,
    MLPValueActorCritic,
)
from spinup.pytorch.networks.actors import (
    LOG_STD_MAX,
    LOG_STD_MIN,
    CategoricalActor,
    SquashedGaussianActor,
    StateIndependentLogStd,
)
from spinup.pytorch.networks.encoded import EncodedActorCritic

Float = NDArray[np.float32]
MakePolicy = Callable[[Any, Any], "Policy"]  # from the actor-critic and a source of noise


class Policy(Protocol):
    """Maps observations to actions during a run."""

    def act(self, obs: NDArray[Any], deterministic: bool) -> Float:
        """Actions (N, act_dim) float32 for observations (N, obs_dim) float32; see `Agent.act`."""
        ...


def gaussian_policy(ac: Any, rng: NoiseSource) -> Policy:
    """The fastest policy that computes what `ac.act` computes for continuous actions.

    If `ac` is a default actor-critic, noise is drawn from `rng`; otherwise, the policy calls `ac.act`.
    """
    if isinstance(ac, EncodedActorCritic):
        return EncodedPolicy(ac, gaussian_policy(ac.ac, rng))
    if type(ac) not in (MLPActorCritic, MLPValueActorCritic) or type(ac.pi) is not SquashedGaussianActor:
        return ModulePolicy(ac)
    pi, parameter = ac.pi, next(ac.pi.parameters())
    if parameter.device.type == "cpu" and parameter.dtype == torch.float32 and NumpyPolicy.supports(pi):
        return NumpyPolicy(pi, rng)
    return GaussianPolicy(pi, rng)


def categorical_policy(ac: Any, rng: np.random.Generator) -> Policy:
    """The fastest policy that computes what `ac.act` computes for discrete actions."""
    if isinstance(ac, EncodedActorCritic):
        return EncodedPolicy(ac, categorical_policy(ac.ac, rng))
    if isinstance(ac.pi, CategoricalActor) and type(ac) is DiscreteMLPActorCritic:
        return CategoricalPolicy(ac.pi, rng)
    return ModulePolicy(ac, discrete=True)


class EncodedPolicy:
    """Encodes observations with images, and applies a policy to the features.

    Args:
        ac: its encoder computes the features.
        policy: maps features to actions.
    """

    def __init__(self, ac: EncodedActorCritic, policy: Policy) -> None:
        self.encoder, self.policy = ac.encoder, policy
        self._device = next(ac.encoder.parameters()).device

    @torch.no_grad()
    def act(self, obs: NDArray[Any], deterministic: bool) -> Float:
        """Actions (N, act_dim) for rows of observations (N, nbytes) uint8."""
        features = self.encoder(torch.as_tensor(obs, device=self._device))
        return self.policy.act(features.float().cpu().numpy(), deterministic)


def uses_module_act(policy: Policy) -> bool:
    """Whether the policy calls the `act` of a custom module, on observations or on features of images."""
    return isinstance(policy.policy if isinstance(policy, EncodedPolicy) else policy, ModulePolicy)


class ModulePolicy:
    """Calls `ac.act` of a custom actor-critic, which draws from torch's global generator if it samples."""

    def __init__(self, ac: Any, discrete: bool = False) -> None:
        self.ac, self.discrete = ac, discrete
        self._like = next(ac.parameters())

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        x = torch.as_tensor(obs, dtype=self._like.dtype, device=self._like.device)
        action = np.asarray(self.ac.act(x, deterministic=deterministic), np.float32)
        return action[:, None] if self.discrete else action


class GaussianPolicy:
    """The default actor on any device, with noise from `rng`."""

    def __init__(self, pi: SquashedGaussianActor, rng: NoiseSource) -> None:
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
    """The default actor on the CPU, in NumPy, on views of the parameters' memory.

    For one row this takes a quarter of the time of torch, whose call overhead exceeds the time of the
    products. NumPy's BLAS uses its own threads for products of more than `SINGLE_THREAD` multiplications;
    these busy-wait afterwards and compete with torch's threads. Rows are therefore processed in pieces that
    do not exceed that size, and batches of more than `MAX_ROWS` rows by torch.
    """

    SINGLE_THREAD = 2**18  # OpenBLAS: 4 * 65536
    MAX_ROWS = 16

    def __init__(self, pi: SquashedGaussianActor, rng: NoiseSource) -> None:
        self.rng = rng
        self.hidden = [_affine(layer) for layer in pi.net if isinstance(layer, nn.Linear)]
        self.activate = _ACTIVATIONS[_activation(pi)]
        self.mu = _affine(pi.mu_layer)
        layer = pi.log_std_layer
        self.log_std = (
            (None, layer.value.detach().numpy())
            if isinstance(layer, StateIndependentLogStd)
            else _affine(layer)
        )
        self.piece = max(1, self.SINGLE_THREAD // _largest_layer(pi))
        self.large_batch = GaussianPolicy(pi, rng)
        self.center, self.half = pi.center.numpy(), pi.half_range.numpy()
        self.low, self.high = pi.low.numpy(), pi.high.numpy()

    @classmethod
    def supports(cls, pi: SquashedGaussianActor) -> bool:
        """Whether this class implements every layer of `pi`, and each is small enough for one thread."""
        plain = all(
            type(layer) is (_activation(pi) if i % 2 else nn.Linear) for i, layer in enumerate(pi.net)
        )
        plain = plain and pi.log_std_range is None and _activation(pi) in _ACTIVATIONS
        return plain and _largest_layer(pi) <= cls.SINGLE_THREAD

    def act(self, obs: Float, deterministic: bool) -> Float:
        """Actions (N, act_dim) for observations (N, obs_dim)."""
        if len(obs) > self.MAX_ROWS:
            return self.large_batch.act(obs, deterministic)
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
        weight, bias = self.log_std
        return bias if weight is None else h @ weight + bias


class CategoricalPolicy:
    """The default discrete actor on any device, with uniform numbers from `rng`."""

    def __init__(self, pi: CategoricalActor, rng: np.random.Generator) -> None:
        self.pi, self.rng = pi, rng
        self._like = next(pi.parameters())

    @torch.no_grad()
    def act(self, obs: Float, deterministic: bool) -> Float:
        """Action indices (N, 1) float32 for observations (N, obs_dim)."""
        x = torch.as_tensor(obs, dtype=self._like.dtype, device=self._like.device)
        probs = self.pi(x)[0].double().cpu().numpy()
        index = probs.argmax(-1) if deterministic else inverse_cdf(probs, self.rng.random(len(probs)))
        return index.astype(np.float32)[:, None]


def inverse_cdf(probs: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Sample indices (N,) with probabilities `probs` (N, n), given numbers (N,) uniform in [0, 1).

    The numbers are scaled by the sum of each row, so that rounding errors never yield an index >= n or one
    whose probability is 0.
    """
    cumulative = probs.cumsum(-1)
    passed = cumulative <= uniform[:, None] * cumulative[:, -1:]
    indices: NDArray[np.int64] = passed.sum(-1)
    return indices


def _affine(layer: nn.Linear) -> tuple[Float, Float]:
    """A layer's weight, (in, out), and bias, (out,), as views of the parameters' memory."""
    return layer.weight.detach().numpy().T, layer.bias.detach().numpy()


def _activation(pi: SquashedGaussianActor) -> type[nn.Module]:
    return next((type(layer) for layer in pi.net if not isinstance(layer, nn.Linear)), nn.Identity)


def _largest_layer(pi: SquashedGaussianActor) -> int:
    return max(p.numel() for p in pi.parameters())


def _clip(x: Float, low: Any, high: Any) -> Float:
    """np.clip without its checks, which take most of its time for small arrays."""
    clipped: Float = np.minimum(np.maximum(x, low), high)
    return clipped


def _relu(x: Float) -> Float:
    return np.maximum(x, 0.0, out=x)


_ACTIVATIONS: dict[type[nn.Module], Any] = {nn.ReLU: _relu, nn.Tanh: np.tanh, nn.Identity: lambda x: x}
