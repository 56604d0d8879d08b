"""The deterministic policy of an actor-critic as one module, from observations to actions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.envs.spaces import action_spec
from spinup.errors import ConfigError
from spinup.replay.image_layout import ImageLayout

ActionSpace = Box | Discrete | MultiDiscrete | MultiBinary


class DeployedPolicy(nn.Module):
    """The deterministic policy: applies the encoder, if any, and the policy, and converts the action.

    Args:
        ac: an actor-critic; for continuous actions, it must have `pi.mean_action(obs)`, see
            `SquashedGaussianActor`.
        action_space: the environment's action space; discrete ones may start at any number.

    Raises:
        ConfigError: if the policy of a continuous actor-critic has no `mean_action`.
    """

    start: Tensor
    shape: tuple[int, ...]

    def __init__(self, ac: Any, action_space: ActionSpace) -> None:
        super().__init__()
        self.discrete = not isinstance(action_space, Box)
        if not self.discrete and not callable(getattr(ac.pi, "mean_action", None)):
            raise ConfigError(
                f"{type(ac.pi).__name__} has no mean_action, so its deterministic action cannot be exported: "
                "give the policy a method mean_action(obs) that returns a tensor (batch, act_dim), with "
                "torch operations only"
            )
        # Only the encoder of `EncodedActorCritic`; a custom actor-critic may have one of another class.
        encoder: Any = getattr(ac, "encoder", None)
        self.encoder = encoder if isinstance(getattr(encoder, "layout", None), ImageLayout) else None
        self.pi = ac.pi if self.encoder is None else ac.ac.pi
        # For a product of discrete actions: the size of each part, and its stride in the index of a
        # combination. Both are empty for a Discrete space.
        spec = action_spec(action_space)
        self.sizes: tuple[int, ...] = getattr(spec, "sizes", ())
        self.strides = tuple(math.prod(self.sizes[i + 1 :]) for i in range(len(self.sizes)))
        start = getattr(action_space, "start", 0)
        self.register_buffer(
            "start", torch.as_tensor(np.asarray(start, np.int64)).flatten(), persistent=False
        )
        self.shape = tuple(action_space.shape or ())
        self.dtype = next((p.dtype for p in ac.pi.parameters()), torch.float32)
        self.eval()

    def forward(self, *obs: Tensor) -> Tensor:
        """The deterministic actions for observations.

        Args:
            obs: (B, obs_dim) float32; or the parts of observations with images, (B, *shape) each, uint8 for
                images and float32 for vectors.

        Returns:
            float32 (B, act_dim) for a Box; int64 (B,) for Discrete; int64 (B, *shape) for MultiDiscrete and
            MultiBinary.
        """
        x = obs[0].to(self.dtype) if self.encoder is None else self.encoder.encode(obs)
        if self.discrete:
            index: Tensor = self.pi(x)[0].argmax(-1)
            if not self.sizes:
                return index + self.start
            parts = [index // stride % size for stride, size in zip(self.strides, self.sizes, strict=True)]
            return (torch.stack(parts, -1) + self.start).reshape(-1, *self.shape)
        action: Tensor = self.pi.mean_action(x).to(torch.float32)
        return action


def random_observations(
    space: Box, count: int, seed: int = 0, layout: ImageLayout | None = None
) -> NDArray[Any]:
    """Random observations (count, obs_dim) float32: uniform between bounds up to +-100, else standard normal.

    Observations with images are rows of `layout`, uint8, with uniform pixels and standard normal vectors.
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
    ac: Any, action_space: ActionSpace, observations: NDArray[Any], actions: NDArray[Any]
) -> float:
    """The largest difference between exported actions and `ac.act(observations, deterministic=True)`.

    Args:
        ac: the actor-critic.
        action_space: the environment's action space.
        observations: (count, obs_dim), or rows of observations with images.
        actions: actions of the exported policy, in the environment's units and numbering.

    Returns:
        Continuous: the largest absolute difference, in half ranges of the action's dimension. Discrete: the
        largest difference in probability between the two chosen actions, since rounding may decide between
        equally likely actions. inf if the shapes differ or an action is not in the action space.
    """
    wanted = np.asarray(ac.act(torch.as_tensor(observations), deterministic=True))
    if isinstance(action_space, Box):
        half = (action_space.high.astype(np.float64) - action_space.low).reshape(-1) / 2
        if actions.shape != wanted.shape:
            return float("inf")
        return float(np.max(np.abs(actions.astype(np.float64) - wanted) / half))
    if actions.shape != (len(wanted), *(action_space.shape or ())):
        return float("inf")
    if not all(action_space.contains(action) for action in actions.astype(action_space.dtype)):
        return float("inf")
    index = action_spec(action_space).from_env(actions)[:, 0].astype(np.int64)
    with torch.no_grad():
        like = next(ac.pi.parameters())
        dtype = None if observations.dtype == np.uint8 else like.dtype
        probs = ac.pi(torch.as_tensor(observations, dtype=dtype))[0].numpy()
    rows = np.arange(len(index))
    return float(np.max(np.abs(probs[rows, wanted] - probs[rows, index])))
