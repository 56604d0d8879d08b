"""Observations with images as rows of bytes: images as uint8, vectors as float32."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
MAX_CHANNELS = 32


def channel_axis(shape: tuple[int, ...]) -> int | None:
    """The axis that holds the channels of an image: the last or the first, whichever is the shortest axis.

    Args:
        shape: shape of one image, three axes, without the axis of stacked frames.

    Returns:
        0 or 2; None if neither is shorter than both other axes and has at most MAX_CHANNELS entries.
    """
    for axis, others in ((2, shape[:2]), (0, shape[1:])):
        if shape[axis] < min(others) and shape[axis] <= MAX_CHANNELS:
            return axis
    return None


@dataclass(frozen=True)
class Part:
    """One key of an observation.

    Args:
        key: key in the Dict; empty if the whole observation is one image.
        shape: shape of an image in the environment's space: (H, W), (H, W, C), (C, H, W), or a stack of
            frames, (frames, H, W, C) or (frames, C, H, W). For a vector (n,).
        is_image: whether it is an image of uint8 pixels; otherwise it is a float32 vector.
    """

    key: str
    shape: tuple[int, ...]
    is_image: bool

    @property
    def nbytes(self) -> int:
        """Size in a row, in bytes."""
        return math.prod(self.shape) * (1 if self.is_image else 4)

    @property
    def channels_last(self) -> bool:
        """Whether the last axis of the image holds its channels."""
        return len(self.shape) > 2 and channel_axis(self.shape[-3:]) == 2

    @property
    def height(self) -> int:
        """The axis of the height, counted from the end; the width is the axis after it."""
        return -3 if self.channels_last else -2

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.shape[self.height], self.shape[self.height + 1]

    @property
    def frames(self) -> int:
        """Number of frames or channels along the first axis that consecutive observations may share."""
        stacked = len(self.shape) == 4 or (len(self.shape) == 3 and not self.channels_last)
        return self.shape[0] if stacked else 1


class ImageLayout:
    """Positions of the parts of an observation in a row of bytes.

    Args:
        parts: the parts, in the order of their bytes.
    """

    def __init__(self, parts: tuple[Part, ...]) -> None:
        self.parts = parts

    @cached_property
    def slices(self) -> list[slice]:
        """The bytes of each part."""
        ends = np.cumsum([0, *(part.nbytes for part in self.parts)]).tolist()
        return [slice(a, b) for a, b in itertools.pairwise(ends)]

    @property
    def nbytes(self) -> int:
        """Length of a row."""
        return sum(part.nbytes for part in self.parts)

    def features(self, of_image: int) -> int:
        """The number of features: `of_image` for each image, plus the lengths of the vectors."""
        return sum(of_image if part.is_image else part.shape[0] for part in self.parts)

    def pack(self, arrays: list[NDArray[Any]]) -> Bytes:
        """Pack arrays (..., *shape), one for each part, into rows (..., nbytes) uint8.

        Raises:
            ValueError: if an array does not have the part's shape, or an image is not uint8.
        """
        rows = []
        for part, array in zip(self.parts, arrays, strict=True):
            batch = array.shape[: array.ndim - len(part.shape)]
            if array.shape != (*batch, *part.shape):
                raise ValueError(f"{part.key or 'the image'} has shape {array.shape}, not {part.shape}")
            if part.is_image and array.dtype != np.uint8:
                raise ValueError(f"{part.key or 'the image'} has dtype {array.dtype}, not uint8")
            numbers = array if part.is_image else _float32(array)
            rows.append(np.ascontiguousarray(numbers).reshape(*batch, -1).view(np.uint8))
        return rows[0].copy() if len(rows) == 1 else np.concatenate(rows, -1)

    def unpack(self, rows: Bytes) -> list[NDArray[Any]]:
        """The inverse of `pack`: arrays (..., *shape)."""
        found = []
        for part, at in zip(self.parts, self.slices, strict=True):
            piece = rows[..., at]
            if not part.is_image:
                piece = np.ascontiguousarray(piece).view(np.float32)
            found.append(piece.reshape(*rows.shape[:-1], *part.shape))
        return found

    def rows(self, observations: Any) -> Bytes:
        """Rows (..., nbytes) uint8 of one observation or a batch.

        Observations are an image, a mapping from keys to arrays in which vectors are flat, or rows, which are
        returned unchanged.

        Raises:
            ValueError: see `pack`.
        """
        if isinstance(observations, Mapping):
            return self.pack([np.asarray(observations[part.key]) for part in self.parts])
        array = np.asarray(observations)
        if (
            len(self.parts) == 1
            and array.shape[array.ndim - len(self.parts[0].shape) :] == self.parts[0].shape
        ):
            return self.pack([array])
        if array.dtype != np.uint8 or array.shape[-1:] != (self.nbytes,):
            wanted = self.parts[0].shape if len(self.parts) == 1 else [part.key for part in self.parts]
            raise ValueError(
                f"an observation has shape {array.shape} and dtype {array.dtype}, and must be uint8 of "
                f"{wanted}"
            )
        return array

    def to_json(self) -> list[list[Any]]:
        """The parts as lists of plain values, for `from_json`."""
        return [[part.key, list(part.shape), part.is_image] for part in self.parts]

    @staticmethod
    def from_json(parts: list[Any]) -> ImageLayout:
        """The layout from the result of `to_json`."""
        return ImageLayout(
            tuple(Part(str(key), tuple(map(int, shape)), bool(image)) for key, shape, image in parts)
        )


def _float32(array: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # overflow gives inf, which the collector rejects
        return array.astype(np.float32)
