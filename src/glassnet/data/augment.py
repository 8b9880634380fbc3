"""Random changes to training images, sampled as plain arrays so that every engine applies the same ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import DataError, choice_error

AUGMENTATIONS = ("none", "flip-crop")


@dataclass(frozen=True, eq=False)
class Augmentation:
    """The flips and crops of one batch (He et al. 2015, section 4.2)."""

    flips: NDArray[np.bool_]  # (N,): mirrored left to right, after the crop
    offsets: NDArray[np.int64]  # (N, 2): row and column of the crop in the padded image, 0..2·padding
    padding: int = 4  # black pixels added on each side

    def take(self, rows: slice) -> Augmentation:
        """Return the flips and crops of these images of the batch."""
        return replace(self, flips=self.flips[rows], offsets=self.offsets[rows])

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the images (N, H, W, C) padded, cropped back to H×W and flipped, as a fresh array.

        :raises DataError: if there are not as many images as flips.
        """
        count, height, width, channels = images.shape
        if count != len(self.flips):
            raise DataError(f"An augmentation of {len(self.flips)} images must get that many. Got {count}.")
        border = self.padding
        padded = np.zeros((count, height + 2 * border, width + 2 * border, channels), images.dtype)
        padded[:, border : border + height, border : border + width] = images
        rows = self.offsets[:, :1] + np.arange(height)  # (N, H)
        columns = self.offsets[:, 1:] + np.arange(width)  # (N, W)
        columns[self.flips] = columns[self.flips, ::-1]
        top = np.arange(count)[:, np.newaxis] * padded.shape[1]  # the padded image's first row, of all rows
        pixels = (top + rows)[:, :, np.newaxis] * padded.shape[2] + columns[:, np.newaxis, :]  # (N, H, W)
        cropped: NDArray[np.uint8] = padded.reshape(-1, channels).take(pixels, axis=0)
        return cropped


def sample_augmentation(name: str, count: int, rng: np.random.Generator) -> Augmentation | None:
    """Sample the named augmentation for ``count`` images; None for "none", which draws nothing.

    :raises ConfigError: if the name is unknown.
    """
    if name not in AUGMENTATIONS:
        raise choice_error("augment", AUGMENTATIONS, name)
    if name == "none":
        return None
    flips = rng.random(count) < 0.5
    offsets = rng.integers(0, 2 * Augmentation.padding + 1, size=(count, 2), dtype=np.int64)
    return Augmentation(flips, offsets)
