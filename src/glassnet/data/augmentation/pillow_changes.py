"""Changes of one image that Pillow computes, as torchvision's transforms of Pillow images do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

Pixels = NDArray[np.uint8]

_ENHANCEMENTS: tuple[Any, ...] = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
ORDERS = tuple(permutations(range(len(_ENHANCEMENTS))))


def resize_crop(crop: Pixels, size: tuple[int, int]) -> Pixels:
    """Return a crop, (h, w, C), in the size (H, W): bilinear, with a wider filter where it shrinks."""
    height, width = size
    return _change(crop, lambda image: image.resize((width, height), Image.Resampling.BILINEAR))


def rotate_and_shift(pixels: Pixels, angle: float, down: int, right: int) -> Pixels:
    """Return an image rotated about its middle, in degrees counterclockwise, and then shifted; bilinear, on black."""
    return _change(
        pixels, lambda image: image.rotate(angle, Image.Resampling.BILINEAR, translate=(right, down), fillcolor=0)
    )


def jitter_colours(pixels: Pixels, factors: Sequence[float], order: int) -> Pixels:
    """Return an image with brightness, contrast and saturation multiplied by these factors.

    :param order: which of the six orders they are applied in.
    """

    def enhance(image: Image.Image) -> Image.Image:
        for kind in ORDERS[order]:
            image = _ENHANCEMENTS[kind](image).enhance(factors[kind])
        return image

    return _change(pixels, enhance)


def _change(pixels: Pixels, function: Callable[[Image.Image], Image.Image]) -> Pixels:
    """Return what a function of Pillow images makes of (h, w, C): in colour, or each channel as a gray image."""
    if pixels.shape[2] == 3:
        return np.asarray(function(Image.fromarray(np.ascontiguousarray(pixels))))
    grays = (Image.fromarray(np.ascontiguousarray(channel)) for channel in pixels.transpose(2, 0, 1))
    return np.stack([np.asarray(function(gray)) for gray in grays], axis=2)
