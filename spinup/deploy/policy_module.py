"""The deterministic policy of an actor-critic as one module, from observations to actions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.errors import ConfigError
from spinup.replay.image_layout import ImageLayout


class DeployedPolicy(nn.Module):
    """Applies normalizer or encoder, computes the most likely action, and converts it for the environment.

    Args:
        ac: an actor-critic; for continuous actions, it must have `pi.mean_action(obs)`, see
            `SquashedGaussianActor`.
        action_space: the environment's action space; a Discrete one may start at any number.
        normalizer: applied to observations first; by default that of the actor-critic, if it has one.

    Raises:
        ConfigError: if the policy of a continuous actor-critic has no `mean_action`.
    """

    def __init__(self, ac: Any, action_space: Box | Discrete, normalizer: nn.Module | None = None) -> None:
        super().__init__()
        self.discrete = isinstance(action_space, Discrete)
        if not self.discrete and not callable(getattr(ac.pi, "mean_action", None)):
            raise ConfigError(
                f"{type(ac.pi).__name__} has no mean_action, so its deterministic action cannot be exported: "
                "give the policy a method mean_action(obs) that returns a tensor (batch, act_dim), with "
                "torch operations only"
            )
        if normalizer is None:
            normalizer = getattr(ac, "normalizer", None)
        self.normalizer = nn.Identity() if normalizer is None else normalizer
        # Only the encoder of `EncodedActorCritic`; a custom actor-critic may have one of another class.
        encoder: Any = getattr(ac, "encoder", None)
        self.encoder = encoder if isinstance(getattr(encoder, "layout", None), ImageLayout) else None
        self.pi = ac.pi if self.encoder is None else ac.ac.pi
        self.start = int(action_space.start) if isinstance(action_space, Discrete) else 0
        self.dtype = next((p.dtype for p in ac.pi.parameters()), torch.float32)
        self.eval()

    def forward(self, *obs: Tensor) -> Tensor:
        """Actions for observations: float32 (B, act_dim), or int64 (B,) if discrete.

        Args:
            obs: (B, obs_dim) float32; or the parts of observations with images, uint8 and float32.
        """
        x = self.normalizer(obs[0].to(self.dtype)) if self.encoder is None else self.encoder.encode(obs)
        if self.discrete:
            best: Tensor = self.pi(x)[0].argmax(-1) + self.start
            return best
        action: Tensor = self.pi.mean_action(x).to(torch.float32)
        return action


def random_observations(
    space: Box, count: int, seed: int = 0, layout: ImageLayout | None = None
) -> NDArray[Any]:
    """Random observations (count, obs_dim): uniform between bounds, or standard normal if these are wide.

    Observations with images are rows of their `layout`, with uniform pixels and standard normal vectors.
    """
    rng = np.random.default_rng(seed)
    if layout is not None:
        return layout.pack(
            [
                rng.integers(256, size=(count, *part.shape), dtype=np.uint8)
                if part.is_image
                else rng.standard_normal((count, *part.shape), dtype=np.float32)
                for part in layout.parts
            ]
        )
    low, high = space.low.astype(np.float64), space.high.astype(np.float64)
    bounded = (np.abs(low) <= 100.0) & (np.abs(high) <= 100.0)
    low, high = np.where(bounded, low, 0.0), np.where(bounded, high, 1.0)
    uniform = low + rng.random((count, len(low))) * (high - low)
    return np.where(bounded, uniform, rng.standard_normal((count, len(low)))).astype(np.float32)


def largest_difference(
    ac: Any, action_space: Box | Discrete, observations: NDArray[Any], actions: NDArray[Any]
) -> float:
    """The largest difference between exported actions and `ac.act(observations, deterministic=True)`.

    Args:
        ac: the actor-critic.
        action_space: the environment's action space.
        observations: (count, obs_dim), or rows of observations with images.
        actions: actions of the exported policy, in the environment's units and numbering.

    Returns:
        Continuous: the largest absolute difference, in half ranges of the action's dimension. Discrete: the
        largest difference in probability between two different choices, since rounding may decide between
        equally likely actions. inf if the shapes differ.
    """
    wanted = np.asarray(ac.act(torch.as_tensor(observations), deterministic=True))
    if isinstance(action_space, Box):
        half = (action_space.high.astype(np.float64) - action_space.low).reshape(-1) / 2
        if actions.shape != wanted.shape:
            return float("inf")
        return float(np.max(np.abs(actions.astype(np.float64) - wanted) / half))
    index = actions - int(action_space.start)
    if index.shape != wanted.shape or index.min() < 0 or index.max() >= action_space.n:
        return float("inf")
    with torch.no_grad():
        like = next(ac.pi.parameters())
        dtype = None if observations.dtype == np.uint8 else like.dtype
        probs = ac.pi(torch.as_tensor(observations, dtype=dtype))[0].numpy()
    rows = np.arange(len(index))
    return float(np.max(np.abs(probs[rows, wanted] - probs[rows, index])))
