"""Converts an environment's observation and action spaces to the spaces of the networks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.errors import EnvError
from spinup.hints import nearest
from spinup.replay.image_layout import ImageLayout, Part, channel_axis

Float = NDArray[np.float32]


LARGEST_BOUND = 1e9  # of actions; some environments declare the largest float for "no bound"
MIN_PIXELS = 15  # height and width of an image that the convolutions need


def flat_observation_space(space: Space[Any]) -> Box:
    """The Box of flattened observations of `space`: float32 (obs_dim,), or with images uint8 (bytes,).

    Raises:
        EnvError: for images that `image_layout` does not support, empty spaces, and spaces that cannot be
            flattened to a fixed size.
    """
    if (layout := image_layout(space)) is not None:
        return Box(0, 255, (layout.nbytes,), np.uint8)
    _check_flattenable(space)
    flat = gym.spaces.utils.flatten_space(space)
    if not isinstance(flat, Box):
        raise EnvError(f"observation space {space} flattens to {flat}, not to a Box: wrap the environment")
    if flat.shape == (0,):
        raise EnvError(f"observation space {space} is empty: it needs at least one element")
    with np.errstate(over="ignore"):
        return Box(flat.low.astype(np.float32), flat.high.astype(np.float32), dtype=np.float32)


def _check_flattenable(space: Space[Any]) -> None:
    if not space.is_np_flattenable:
        raise EnvError(
            f"observation space {space} cannot be flattened to a vector: wrap the environment so that it "
            "returns a Box, Discrete, MultiDiscrete, MultiBinary, Dict or Tuple of these"
        )


def image_layout(space: Space[Any]) -> ImageLayout | None:
    """The layout of observations with images as rows of bytes; None if they have no image.

    An image is a Box of uint8 with the axes (H, W), (H, W, C) or (C, H, W), or a stack of frames as
    `gymnasium.wrappers.FrameStackObservation` makes it, (frames, H, W, C) or (frames, C, H, W). The
    observation must be an image, or a Dict of images and of spaces that can be flattened.

    Raises:
        EnvError: for images inside other spaces, images that are not uint8, images whose channels cannot be
            recognized, and images that are too small for convolutions.
    """
    if _is_image(space):
        return ImageLayout((_image_part("", space),))
    if not isinstance(space, Dict) or not any(map(_is_image, space.spaces.values())):
        _reject_images(space)
        return None
    parts = []
    for key, part in space.spaces.items():
        if _is_image(part):
            parts.append(_image_part(key, part))
        else:
            _reject_images(part)
            _check_flattenable(part)
            parts.append(Part(key, (gym.spaces.utils.flatdim(part),), False))
    return ImageLayout(tuple(parts))


def flatten_observation(space: Space[Any], layout: ImageLayout | None, observation: Any) -> NDArray[Any]:
    """One observation as a row, see `flat_observation_space`; without images, in the dtype of `space`.

    Raises:
        ValueError, TypeError, KeyError, IndexError: for an observation that does not fit the space.
    """
    if layout is None:
        flat: NDArray[Any] = gym.spaces.utils.flatten(space, observation)  # type: ignore[assignment]
        return flat
    if not isinstance(space, Dict):
        return layout.pack([np.asarray(observation)])
    return layout.pack(
        [
            np.asarray(
                observation[part.key]
                if part.is_image
                else gym.spaces.utils.flatten(space[part.key], observation[part.key])
            )
            for part in layout.parts
        ]
    )


def key_columns(space: Dict) -> dict[str, slice]:
    """The columns of each key of a Dict in the flat observation."""
    found, start = {}, 0
    for key, part in space.spaces.items():
        size = gym.spaces.utils.flatdim(part)
        found[key] = slice(start, start + size)
        start += size
    return found


def policy_columns(space: Space[Any], critic_keys: tuple[str, ...]) -> list[int]:
    """The indices of the columns of a flat observation that do not belong to `critic_keys`.

    Raises:
        EnvError: if the space is not a Dict, lacks one of the keys, or has no other key.
    """
    if not isinstance(space, Dict):
        raise EnvError(
            f"critic_keys={critic_keys} are keys of a Dict, and the observation space is {space}: leave "
            "critic_keys out"
        )
    columns = key_columns(space)
    for key in critic_keys:
        if key not in columns:
            hint = nearest(key, list(columns)) or f": it has {', '.join(columns)}"
            raise EnvError(f"critic_keys={critic_keys}: the observation has no key {key!r}{hint}")
    seen = [
        c for key, part in columns.items() if key not in critic_keys for c in range(part.start, part.stop)
    ]
    if not seen:
        raise EnvError(f"critic_keys={critic_keys} leave no key for the policy: remove one")
    return seen


def _is_image(space: Space[Any]) -> bool:
    return isinstance(space, Box) and space.dtype == np.uint8 and len(space.shape) >= 2


def _image_part(key: str, space: Space[Any]) -> Part:
    shape = space.shape or ()
    where = f"observation space {space}" + (f", at the key {key!r}," if key else "")
    image = shape[1:] if len(shape) == 4 else shape
    axis = channel_axis(image) if len(image) == 3 else 0
    if len(shape) > 4:
        raise EnvError(
            f"{where} is an image with {len(shape)} axes: give it at most four, as in (frames, H, W, C)"
        )
    if axis is None:
        raise EnvError(
            f"{where} is an image whose channel axis is ambiguous: give it the shape "
            "(H, W, C) or (C, H, W) with fewer channels than either, or (frames, H, W, C)"
        )
    part = Part(key, tuple(shape), True)
    pixels = part.pixels
    if min(pixels) < MIN_PIXELS:
        raise EnvError(
            f"{where} is an image of {pixels[0]} x {pixels[1]} pixels, too small for convolutions: flatten "
            f"it with gymnasium.wrappers.FlattenObservation, or give at least {MIN_PIXELS} x {MIN_PIXELS}"
        )
    return part


def _reject_images(space: Space[Any]) -> None:
    """Raise an EnvError for a space that looks like an image and is not supported by `image_layout`."""
    if isinstance(space, (Dict, Tuple)):
        for part in space.spaces.values() if isinstance(space, Dict) else space.spaces:
            _reject_images(part)
    elif _is_image(space):
        raise EnvError(
            f"observation space {space} is an image inside another space: wrap the environment so that it is "
            "the observation itself, or a key of its Dict"
        )
    elif isinstance(space, Box) and len(space.shape) >= 3:
        raise EnvError(
            f"observation space {space} looks like an image of another dtype than uint8: convert it to "
            "pixels from 0 to 255 with gymnasium.wrappers.TransformObservation, or, if it is not an image, "
            "flatten it with FlattenObservation"
        )


class ActionSpec(Protocol):
    """How actions are stored, sampled, and converted to the format of an environment."""

    @property
    def space(self) -> Any:
        """The action space that the networks are built for."""
        ...

    @property
    def dim(self) -> int:
        """act_dim, the length of a stored action."""
        ...

    def sample(self, rng: Generator, count: int) -> Float:
        """Uniform random actions (count, dim) float32."""
        ...

    def clip(self, actions: Float) -> Float:
        """A copy of actions (N, dim), clipped to the space."""
        ...

    def to_env(self, actions: Float) -> NDArray[Any]:
        """Actions (N, dim) as a batch of the environment's action space."""
        ...

    def from_env(self, actions: NDArray[Any]) -> Float:
        """The inverse of `to_env`."""
        ...


@dataclass(frozen=True)
class BoxActions:
    """Bounded continuous actions, stored flat in the environment's units."""

    env_space: Box
    space: Box
    dim: int

    def sample(self, rng: Generator, count: int) -> Float:
        """Uniform random actions between the bounds (count, dim) float32."""
        unit = rng.random((count, self.dim))
        return (self.space.low + unit * (self.space.high.astype(np.float64) - self.space.low)).astype(
            np.float32
        )

    def clip(self, actions: Float) -> Float:
        """A copy of actions (N, dim), clipped to the bounds."""
        clipped: Float = np.minimum(np.maximum(actions, self.space.low), self.space.high)
        return clipped

    def to_env(self, actions: Float) -> NDArray[Any]:
        """Actions (N, dim) in the shape and dtype of the environment's space, clipped to its bounds."""
        shaped = actions.reshape(len(actions), *self.env_space.shape).astype(self.env_space.dtype)
        clipped: NDArray[Any] = np.minimum(np.maximum(shaped, self.env_space.low), self.env_space.high)
        return clipped

    def from_env(self, actions: NDArray[Any]) -> Float:
        """Actions (N, *shape) of the environment's space as (N, dim) float32."""
        return actions.reshape(len(actions), self.dim).astype(np.float32)


class _IndexedActions:
    """Base class for actions that are stored as an index from 0."""

    space: Discrete

    def sample(self, rng: Generator, count: int) -> Float:
        """Uniform random indices (count, 1) float32."""
        return rng.integers(int(self.space.n), size=(count, 1)).astype(np.float32)

    def clip(self, actions: Float) -> Float:
        """A copy of indices (N, 1), clipped to 0 ... n - 1."""
        clipped: Float = np.minimum(np.maximum(actions, np.float32(0)), np.float32(self.space.n - 1))
        return clipped


@dataclass(frozen=True)
class DiscreteActions(_IndexedActions):
    """Discrete actions, stored as an index from 0 in float32."""

    env_space: Discrete
    space: Discrete
    dim: int = 1

    def to_env(self, actions: Float) -> NDArray[Any]:
        """Indices (N, 1) as integers (N,) of the environment's space, which may start at another number."""
        numbers = actions[:, 0].astype(np.int64) + int(self.env_space.start)
        return numbers.astype(self.env_space.dtype)

    def from_env(self, actions: NDArray[Any]) -> Float:
        """Integers (N,) of the environment's space as indices (N, 1) float32."""
        return (actions.reshape(-1, 1) - int(self.env_space.start)).astype(np.float32)


@dataclass(frozen=True)
class ProductActions(_IndexedActions):
    """Several discrete actions at once, stored as the index of their combination; the last varies fastest.

    A distribution over combinations can represent dependencies between the actions, unlike a product of one
    distribution per action.
    """

    env_space: MultiDiscrete | MultiBinary
    space: Discrete
    sizes: tuple[int, ...]
    dim: int = 1

    def to_env(self, actions: Float) -> NDArray[Any]:
        """Indices (N, 1) as combinations (N, *shape) of the environment's space."""
        parts = np.stack(np.unravel_index(actions[:, 0].astype(np.int64), self.sizes), -1)
        shaped = parts.reshape(len(actions), *self.env_space.shape) + self._start
        combinations: NDArray[Any] = shaped.astype(self.env_space.dtype)
        return combinations

    def from_env(self, actions: NDArray[Any]) -> Float:
        """Combinations (N, *shape) of the environment's space as indices (N, 1) float32."""
        parts = (actions - self._start).reshape(len(actions), -1).astype(np.int64)
        index: Float = np.ravel_multi_index(tuple(parts.T), self.sizes).astype(np.float32)[:, None]
        return index

    @property
    def _start(self) -> Any:
        return self.env_space.start if isinstance(self.env_space, MultiDiscrete) else 0


MAX_COMBINATIONS = 4096  # outputs of each network


def _product_actions(space: MultiDiscrete | MultiBinary) -> ProductActions:
    sizes = (
        space.nvec.flatten().tolist() if isinstance(space, MultiDiscrete) else [2] * math.prod(space.shape)
    )
    count = math.prod(sizes)
    if not sizes or count > MAX_COMBINATIONS:
        raise EnvError(
            f"action space {space} has {count:,} combinations, each of which needs an output of the networks"
            f": wrap the environment so that it has at most {MAX_COMBINATIONS:,}"
        )
    return ProductActions(space, Discrete(count), tuple(sizes))


def action_spec(space: Space[Any]) -> ActionSpec:
    """The ActionSpec for an environment's action space.

    Raises:
        EnvError: for a Box that is not bounded on every side, is empty, has an integer dtype, bounds beyond
            LARGEST_BOUND or low >= high; for more than MAX_COMBINATIONS combinations; for other spaces.
    """
    if isinstance(space, Discrete):
        return DiscreteActions(space, Discrete(int(space.n)))
    if isinstance(space, (MultiDiscrete, MultiBinary)):
        return _product_actions(space)
    if not isinstance(space, Box):
        raise EnvError(
            f"action space {space} is not supported, only a bounded Box, Discrete, MultiDiscrete or "
            "MultiBinary: wrap the environment with gymnasium.wrappers.TransformAction"
        )
    if not np.issubdtype(space.dtype, np.floating):
        raise EnvError(
            f"action space {space} has dtype {space.dtype}: SAC needs a Box of floats; give it "
            "dtype=np.float32, or declare a Discrete space"
        )
    if not space.is_bounded():
        raise EnvError(
            f"action space {space} is not bounded on every side: declare finite bounds, as with "
            "gymnasium.wrappers.TransformAction(env, lambda action: action, Box(low, high))"
        )
    if math.prod(space.shape) == 0:
        raise EnvError(f"action space {space} is empty: it needs at least one element")
    with np.errstate(over="ignore"):  # overflow gives inf, which is rejected below
        low, high = space.low.flatten().astype(np.float32), space.high.flatten().astype(np.float32)
    if not np.all(np.abs([low, high]) <= LARGEST_BOUND):
        raise EnvError(
            f"action space {space} has bounds beyond {LARGEST_BOUND:g}, which float32 cannot scale: declare "
            "the range that actions really have, or use gymnasium.wrappers.RescaleAction"
        )
    if not np.all(low < high):
        raise EnvError(f"action space {space} has low >= high in some dimension: drop that dimension")
    return BoxActions(space, Box(low, high, dtype=np.float32), math.prod(space.shape))
