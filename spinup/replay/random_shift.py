"""Random shifts of images, as augmentation of batches (DrQ, Kostrikov et al. 2021; Yarats et al. 2022)."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from spinup.replay.image_layout import ImageLayout, Part
from spinup.replay.transition import Batches


@final
class RandomShift:
    """Shifts each image of a batch by up to `pixels` in each direction, uniformly.

    Pixels outside the image are padded with the nearest border pixel. The frames of one observation are
    shifted together; obs and next_obs, and the images of different keys, independently.

    Args:
        layout: layout of the observations.
        pixels: the largest shift, >= 1.
    """

    def __init__(self, layout: ImageLayout, pixels: int) -> None:
        self.layout, self.pixels = layout, pixels

    def apply(self, batches: Batches, rng: Generator) -> Batches:
        """Batches with shifted obs and next_obs, each (n, B, nbytes) uint8."""
        shifted = dict(batches)
        for name in ("obs", "next_obs"):
            rows = batches[name].copy()
            for part, at in zip(self.layout.parts, self.layout.slices, strict=True):
                if part.is_image:
                    images = rows[..., at].reshape(-1, *part.shape)
                    shifts = rng.integers(-self.pixels, self.pixels + 1, size=(len(images), 2))
                    rows[..., at] = shift_images(images, shifts, part).reshape(rows[..., at].shape)
            shifted[name] = rows
        return shifted


def shift_images(images: NDArray[Any], shifts: NDArray[np.int64], part: Part) -> NDArray[Any]:
    """Shift images (N, *shape) down and to the right by `shifts` (N, 2), in pixels.

    Pixel (y, x) of the result is pixel (y - down, x - right) of the image, or the nearest one in it.
    """
    axis = part.height
    height, width = images.shape[axis], images.shape[axis + 1]
    ys = np.clip(np.arange(height) - shifts[:, :1], 0, height - 1)
    xs = np.clip(np.arange(width) - shifts[:, 1:], 0, width - 1)
    moved = np.empty_like(images)
    for i, image in enumerate(images):
        moved[i] = image.take(ys[i], axis).take(xs[i], axis + 1)
    return moved
