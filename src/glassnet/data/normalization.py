"""Normalization, from pixels to the numbers a network reads: (x / scale − mean) / std, per channel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.errors import DataError
from glassnet.formats import pluralize

# np.bincount turns its input into 64-bit integers; blocks keep that copy small.
_BLOCK_PIXELS = 1 << 22


@dataclass(frozen=True)
class Normalization:
    """The scale that brings pixels to 0..1, then mean and standard deviation per channel (in units of 0..1)."""

    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_images(cls, images: NDArray[np.uint8], scale: float) -> Normalization:
        """Return the normalization by mean and standard deviation of each channel of images, uint8 (N, H, W, C)."""
        return cls.from_sums(*pixel_totals([images]), scale)

    @classmethod
    def from_sums(cls, count: int, sums: Sequence[int], squares: Sequence[int], scale: float) -> Normalization:
        """Return the normalization by mean and population standard deviation, from exact sums.

        A constant channel gets std 1. Python's integers and their quotients are exact to the last bit, so the result
        does not depend on how the pixels were added up.

        :param count: number of pixels.
        :param sums: the sum of the pixel values of each channel.
        :param squares: the sum of their squares.
        """
        mean = tuple(total / count / scale for total in sums)
        variances = [(count * square - total**2) / count**2 for total, square in zip(sums, squares, strict=True)]
        return cls(float(scale), mean, tuple(math.sqrt(variance) / scale or 1.0 for variance in variances))

    def apply(self, images: NDArray[np.uint8], dtype: DTypeLike = np.float32) -> NDArray[np.floating]:
        """Return images, uint8 (N, H, W, C), as a new float array (N, C, H, W), still channels-last in memory.

        Divided by scale, less the mean, divided by std: in that order and in ``dtype``, as the engines do it.

        :raises DataError: if the images have another dtype, number of dimensions or number of channels.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4:
            raise DataError(f"images must be uint8 (N, H, W, C). Got {images.dtype} of shape {images.shape}.")
        count, height, width, channels = images.shape
        if channels != len(self.mean):
            raise DataError(
                f"images must have {pluralize(len(self.mean), 'channel')}, as the normalization has. Got {channels}."
            )
        x = images.reshape(count * height, width * channels).astype(dtype)  # (N·H, W·C)
        # A whole row of pixels at a time: loops over the channels alone would be three numbers long.
        repeats = 1 if channels == 1 else width
        x /= x.dtype.type(self.scale)
        x -= np.tile(np.asarray(self.mean, x.dtype), repeats)
        x /= np.tile(np.asarray(self.std, x.dtype), repeats)
        return x.reshape(images.shape).transpose(0, 3, 1, 2)


def pixel_totals(blocks: Iterable[NDArray[np.uint8]]) -> tuple[int, list[int], list[int]]:
    """Return the number of pixels of images, uint8 (N, H, W, C) each block, and the sums of each channel.

    The sums are those of the pixel values and those of their squares.
    """
    counts = np.sum([_value_counts(images) for images in blocks], axis=0)  # (256, C)
    values = np.arange(256)
    return int(counts[:, 0].sum()), (values @ counts).tolist(), (values**2 @ counts).tolist()


def _value_counts(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Count each pixel value in each channel: (256, C)."""
    count, height, width, channels = images.shape
    block = max(1, _BLOCK_PIXELS // (height * width * channels))
    counts = np.zeros((256, channels), np.int64)
    for start in range(0, count, block):
        for channel in range(channels):
            values = images[start : start + block, ..., channel].ravel()
            counts[:, channel] += np.bincount(values, minlength=256)
    return counts
