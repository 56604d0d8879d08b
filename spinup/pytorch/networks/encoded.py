"""Actor-critics for observations with images: an encoder, followed by any actor-critic of its features.

The encoder applies convolutions, a linear layer, LayerNorm and tanh (SAC-AE, Yarats et al. 2020; DrQ,
Kostrikov et al. 2021). All critics share it: their loss trains it, and the target critics use its polyak
average. The policy uses its features without gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import numpy as np
import torch
from gymnasium.spaces import Box, Space
from numpy.typing import NDArray
from torch import Tensor, nn

from spinup.checks import check_whole
from spinup.errors import ConfigError
from spinup.hints import nearest
from spinup.pytorch.networks.asymmetric import critic_names
from spinup.pytorch.networks.mlp import Ensemble
from spinup.pytorch.networks.transformed_input import TransformedInput, attach
from spinup.replay.image_layout import ImageLayout, Part

ENCODER_DEFAULTS = {"filters": 32, "layers": 4, "features": 50}


class ImageEncoder(nn.Module):
    """Features of one image, or of a stack of frames, which become additional channels.

    Args:
        part: shape and layout of the image.
        filters: number of filters of each 3 x 3 convolution; the first has stride 2, the others 1.
        layers: number of convolutions.
        features: number of features, each in (-1, 1).

    Raises:
        ConfigError: if the image is too small for so many layers.
    """

    def __init__(self, part: Part, filters: int, layers: int, features: int) -> None:
        super().__init__()
        self._last, self._shape = part.channels_last, part.shape
        channels, pixels = self._channels(part.shape)
        convolutions: list[nn.Module] = []
        size = list(pixels)
        for i in range(layers):
            stride = 1 if i else 2
            convolutions += [nn.Conv2d(channels, filters, 3, stride), nn.ReLU()]
            size = [(n - 3) // stride + 1 for n in size]
            channels = filters
        if min(size) < 1:
            raise ConfigError(
                f"an image of {pixels[0]} x {pixels[1]} pixels is too small for layers={layers} "
                "convolutions: give encoder=dict(layers=...) in ac_kwargs fewer, or larger images"
            )
        self.convolutions = nn.Sequential(*convolutions, nn.Flatten())
        self.head = nn.Sequential(
            nn.Linear(channels * size[0] * size[1], features), nn.LayerNorm(features), nn.Tanh()
        )
        self.apply(_orthogonal)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, features) of pixels (B, *shape) from 0 to 255, uint8."""
        x = pixels.to(next(self.parameters()).dtype) / 255.0 - 0.5
        if len(self._shape) == 2:
            x = x.unsqueeze(1)
        elif self._last:
            x = x.movedim(-1, -3)
        if len(self._shape) == 4:
            x = x.flatten(1, 2)
        features: Tensor = self.head(self.convolutions(x))
        return features

    def _channels(self, shape: tuple[int, ...]) -> tuple[int, tuple[int, int]]:
        """The total number of channels of all frames, and (height, width)."""
        frames = shape[0] if len(shape) == 4 else 1
        image = shape[-3:] if len(shape) > 2 else (1, *shape)
        channels, height, width = (image[2], *image[:2]) if self._last else image
        return frames * channels, (height, width)


def _orthogonal(module: nn.Module) -> None:
    """Orthogonal weights with the gain of ReLU for convolutions, and zero biases, as in DrQ."""
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        gain = nn.init.calculate_gain("relu") if isinstance(module, nn.Conv2d) else 1.0
        nn.init.orthogonal_(module.weight, gain)
        assert module.bias is not None
        nn.init.zeros_(module.bias)


@final
class Encoder(nn.Module):
    """Features of an observation: features of each image and elements of each vector, concatenated.

    Args:
        layout: layout of the observations.
        options: keyword arguments of `ImageEncoder`.
    """

    def __init__(self, layout: ImageLayout, **options: Any) -> None:
        super().__init__()
        self.layout = layout
        self.images = nn.ModuleList(ImageEncoder(p, **options) for p in layout.parts if p.is_image)
        self.size = layout.features(options["features"])
        self._cache: list[tuple[Tensor, Tensor]] | None = None

    def forward(self, rows: Tensor) -> Tensor:
        """Features (B, size) of rows (B, nbytes) uint8."""
        if self._cache is None:
            return self.encode(self.unpack(rows))
        for known, features in self._cache:
            if known is rows:
                return features
        with torch.no_grad():
            features = self.encode(self.unpack(rows))
        self._cache.append((rows, features))
        return features

    def encode(self, arrays: Sequence[Tensor]) -> Tensor:
        """Features (B, size) of the parts of observations, (B, *shape) each."""
        images = iter(self.images)
        like = next(self.parameters())
        found = [
            next(images)(array) if part.is_image else array.to(like.dtype)
            for part, array in zip(self.layout.parts, arrays, strict=True)
        ]
        return torch.cat(found, -1)

    def unpack(self, rows: Tensor) -> list[Tensor]:
        """The parts of observations, (B, *shape) each, from rows (B, nbytes)."""
        found = []
        for part, at in zip(self.layout.parts, self.layout.slices, strict=True):
            piece = rows[:, at]
            if not part.is_image:  # copied, since float32 needs aligned memory
                piece = piece.clone(memory_format=torch.contiguous_format).view(torch.float32)
            found.append(piece.reshape(len(rows), *part.shape))
        return found

    @contextmanager
    def cached_features(self) -> Iterator[None]:
        """Context in which each tensor of observations is encoded only once, without gradient."""
        self._cache = []
        try:
            yield
        finally:
            self._cache = None


class EncodedCritic(TransformedInput):
    """The encoder, followed by a critic or value network of its features; gradients flow to the encoder."""

    def __init__(self, encoder: Encoder, module: nn.Module) -> None:
        super().__init__(module)
        self.encoder = encoder

    def transform(self, obs: Tensor) -> Tensor:
        """Features of rows (B, nbytes)."""
        return self.encoder(obs)  # type: ignore[no-any-return]


class EncodedPolicyNetwork(EncodedCritic):
    """The encoder, followed by a policy of its features; no gradient flows to the encoder."""

    @torch.no_grad()
    def transform(self, obs: Tensor) -> Tensor:
        """Features of rows (B, nbytes), without gradient."""
        return super().transform(obs)


class EncodedEnsemble(nn.Module):
    """N critics called together on features that are encoded once; see `Ensemble`."""

    def __init__(self, encoder: Encoder, critics: Ensemble) -> None:
        super().__init__()
        self.encoder, self.critics = encoder, critics

    def __getitem__(self, i: int) -> nn.Module:
        """The i-th critic, of features."""
        return self.critics[i]

    def forward(self, obs: Tensor, *inputs: Tensor) -> Tensor:
        """The critics' values, stacked: (N, B), or (N, B, n) for discrete actions."""
        return self.critics(self.encoder(obs), *inputs)  # type: ignore[no-any-return]

    def distributions(self, obs: Tensor, *inputs: Tensor) -> Tensor:
        """The n outputs of each distributional critic, stacked: (N, B, n)."""
        return self.critics.distributions(self.encoder(obs), *inputs)


def ensemble_of(ac: Any, count: int) -> nn.Module:
    """The critics q1 to q<count> of an actor-critic, called together."""
    critics = [getattr(ac, f"q{i}") for i in range(1, count + 1)]
    if isinstance(ac, EncodedActorCritic):
        return EncodedEnsemble(ac.encoder, Ensemble(critic.module for critic in critics))
    return Ensemble(critics)


class EncodedActorCritic(nn.Module):
    """An actor-critic for observations with images: an encoder, and an actor-critic of its features.

    `act` takes an observation, or a batch, as the environment returns it, or rows of bytes (see
    `ImageLayout`); `pi`, the critics and `v` take batches of rows. `ac` is the actor-critic of features.

    Args:
        observation_space: Box of rows, uint8.
        action_space: action space of the actor-critic.
        actor_critic: constructor of the actor-critic of features.
        ac_kwargs: keyword arguments for `actor_critic`.
        layout: layout of the rows, see `ImageLayout.to_json`.
        encoder: `filters`, `layers` and `features` of `ImageEncoder`; the defaults are 32, 4 and 50.

    Raises:
        ConfigError: for an unknown or invalid option of the encoder.
    """

    pi: EncodedPolicyNetwork

    def __init__(
        self,
        observation_space: Space[Any],
        action_space: Space[Any],
        actor_critic: Callable[..., nn.Module],
        ac_kwargs: dict[str, Any],
        layout: list[Any],
        encoder: dict[str, Any],
    ) -> None:
        super().__init__()
        self.encoder = Encoder(ImageLayout.from_json(layout), **encoder_options(encoder))
        self.ac = ac = actor_critic(features_space(self.encoder.size), action_space, **ac_kwargs)
        for name in critic_names(ac):
            attach(self, name, EncodedCritic(self.encoder, getattr(ac, name)))
        pi: Any = ac.pi
        attach(self, "pi", EncodedPolicyNetwork(self.encoder, pi))

    @torch.no_grad()
    def act(self, obs: Any, deterministic: bool = False) -> NDArray[Any]:
        """Actions as the `act` of the actor-critic of features returns them."""
        device = next(self.encoder.parameters()).device
        if not isinstance(obs, Tensor) or obs.shape[-1:] != (self.encoder.layout.nbytes,):
            obs = obs.cpu().numpy() if isinstance(obs, Tensor) else obs
            obs = torch.from_numpy(self.encoder.layout.rows(obs))
        rows = obs.to(device)
        features = self.encoder(rows.reshape(-1, rows.shape[-1])).reshape(*rows.shape[:-1], -1)
        ac: Any = self.ac
        actions: NDArray[Any] = ac.act(features, deterministic=deterministic)
        return actions


def features_space(size: int) -> Box:
    """The space of the features, (size,) float32. It is unbounded, since vectors are not bounded."""
    return Box(-np.inf, np.inf, (size,), np.float32)


def encoder_options(given: Any) -> dict[str, int]:
    """The options of `ImageEncoder`, with defaults for those that are not given.

    Raises:
        ConfigError: for an unknown option, or one that is not a whole number >= 1.
    """
    if not isinstance(given, dict):
        raise ConfigError(f"encoder={given!r}: give a dict in ac_kwargs, such as encoder=dict(filters=32)")
    for name, value in given.items():
        if name not in ENCODER_DEFAULTS:
            known = tuple(ENCODER_DEFAULTS)
            raise ConfigError(
                f"encoder has no option {name!r}{nearest(str(name), known)}; it has {', '.join(known)}"
            )
        check_whole(f"encoder:{name}", value, 1)
    return {**ENCODER_DEFAULTS, **given}
