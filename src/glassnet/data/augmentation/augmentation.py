"""The augmentation of a training: the kinds of changes, their limits, and the draw of each image's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data.augmentation.changes import PADDING, Changes
from glassnet.data.augmentation.random_numbers import RandomNumbers
from glassnet.errors import choice_error

AUGMENTATIONS = ("none", "flip", "crop", "flip-crop", "resized-crop", "flip-resized-crop")
CROP_AREA = (0.08, 1.0)  # of a resized crop, as a fraction of the image (Szegedy et al. 2015; torchvision's defaults)
CROP_RATIO = (3 / 4, 4 / 3)  # of its width to its height
CROP_ATTEMPTS = 10  # at a crop that fits into the image

# Positions in an image's random numbers. Each change has its own, so that none depends on the others.
_FLIP, _ROW, _COLUMN, _ANGLE, _SHIFT, _JITTER, _ORDER = 0, 1, 2, 3, 4, 6, 9
_AREA, _RATIO = 16, 32


@dataclass(frozen=True)
class Augmentation:
    """Random changes of training images, drawn for an image from (seed, epoch, its index in the training split).

    The image is cropped, mirrored, rotated and shifted, and its colours are changed, in this order. ``flip`` mirrors
    half of the images left to right; ``crop`` cuts the image's size out of the image with 4 black pixels around it (He
    et al. 2015, section 4.2); ``resized-crop`` enlarges or shrinks a crop of random area and ratio to the image's size.

    :param augment: one of AUGMENTATIONS.
    :param rotate: largest angle in degrees, to both sides.
    :param translate: largest shift, as a fraction of height and width.
    :param jitter: brightness, contrast and saturation are multiplied by factors between 1 − jitter and 1 + jitter.
    :raises ConfigError: if ``augment`` is something else.
    """

    augment: str = "none"
    rotate: float = 0.0
    translate: float = 0.0
    jitter: float = 0.0
    seed: int = 42

    def __post_init__(self) -> None:
        if self.augment not in AUGMENTATIONS:
            raise choice_error("augment", AUGMENTATIONS, self.augment)

    def __bool__(self) -> bool:
        """Whether any image is changed."""
        return self.augment != "none" or self.rotate > 0 or self.translate > 0 or self.jitter > 0

    @property
    def has_resized_crops(self) -> bool:
        """Whether the images are resized from crops, for which larger images are better."""
        return self.augment.endswith("resized-crop")

    def draw(
        self,
        indices: NDArray[np.int64],
        epoch: int,
        size: tuple[int, int],
        crop_from: tuple[int, int] | None = None,
    ) -> Changes:
        """Return the changes of images in an epoch.

        :param indices: of the images in the training split, (n,).
        :param size: (H, W) of the images that the network reads.
        :param crop_from: (H, W) of the images that resized crops are cut from; by default ``size``.
        """
        numbers = RandomNumbers(self.seed, epoch, indices)
        drawn: dict[str, Any] = {}
        if self.has_resized_crops:
            drawn["boxes"] = _draw_boxes(numbers, crop_from or size)
        elif self.augment.endswith("crop"):
            drawn["offsets"] = np.stack([numbers.below(axis, 2 * PADDING + 1) for axis in (_ROW, _COLUMN)], axis=1)
        if self.augment.startswith("flip"):
            drawn["flips"] = numbers.uniform(_FLIP) < 0.5
        if self.rotate:
            drawn["angles"] = numbers.between(_ANGLE, -self.rotate, self.rotate)
        if self.translate:
            limits = [self.translate * length for length in size]
            shifts = [numbers.between(_SHIFT + axis, -limit, limit) for axis, limit in enumerate(limits)]
            drawn["shifts"] = np.rint(np.stack(shifts, axis=1)).astype(np.int64)
        if self.jitter:
            low, high = max(0.0, 1 - self.jitter), 1 + self.jitter
            drawn["factors"] = np.stack([numbers.between(_JITTER + kind, low, high) for kind in range(3)], axis=1)
            drawn["orders"] = numbers.below(_ORDER, 6)
        return Changes(len(indices), size, crop_from if self.has_resized_crops and crop_from else size, **drawn)


def _draw_boxes(numbers: RandomNumbers, size: tuple[int, int]) -> NDArray[np.int64]:
    """Return (top, left, height, width) of a crop of each image, (n, 4), as torchvision's RandomResizedCrop draws it.

    Area and logarithm of the ratio are uniform, and so is the place. The first of CROP_ATTEMPTS crops that fits into
    the image is taken; if none does, the largest one in the middle whose ratio is allowed.
    """
    height, width = size
    boxes = np.tile(np.array(_largest_box(size), np.int64), (len(numbers), 1))
    is_open = np.ones(len(numbers), bool)
    for attempt in range(CROP_ATTEMPTS):
        if not is_open.any():
            break
        area = height * width * numbers.between(_AREA + attempt, *CROP_AREA)
        ratio = np.exp(numbers.between(_RATIO + attempt, *np.log(CROP_RATIO)))
        heights, widths = (np.rint(np.sqrt(side)).astype(np.int64) for side in (area / ratio, area * ratio))
        fits = is_open & (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
        tops = numbers.below(_ROW, height - heights + 1)
        lefts = numbers.below(_COLUMN, width - widths + 1)
        boxes[fits] = np.stack([tops, lefts, heights, widths], axis=1)[fits]
        is_open &= ~fits
    return boxes


def _largest_box(size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of the largest crop in the middle whose ratio is allowed."""
    height, width = size
    narrowest, widest = CROP_RATIO
    if width / height < narrowest:
        box = max(1, round(width / narrowest)), width
    elif width / height > widest:
        box = height, max(1, round(height * widest))
    else:
        box = size
    return (height - box[0]) // 2, (width - box[1]) // 2, *box
