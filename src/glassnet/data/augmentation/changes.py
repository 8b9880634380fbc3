"""The changes that were drawn for some images, and the images that they make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import DataError

PADDING = 4  # black pixels around the image that a crop of its own size is cut from


@dataclass(frozen=True, eq=False)
class Changes:
    """The changes of n images. None stands for a change that the augmentation does not make."""

    count: int  # n
    size: tuple[int, int]  # (H, W) of the changed images
    crop_from: tuple[int, int]  # (H, W) of the images before: those of ``boxes``, otherwise ``size``
    boxes: NDArray[np.int64] | None = None  # (n, 4): top, left, height and width of the crop that is resized
    offsets: NDArray[np.int64] | None = None  # (n, 2): row and column of the crop in the padded image, 0..2·PADDING
    flips: NDArray[np.bool_] | None = None  # (n,): mirrored left to right, after the crop
    angles: NDArray[np.float64] | None = None  # (n,): degrees, counterclockwise
    shifts: NDArray[np.int64] | None = None  # (n, 2): pixels down and to the right
    factors: NDArray[np.float64] | None = None  # (n, 3): of brightness, contrast and saturation
    orders: NDArray[np.int64] | None = None  # (n,): in which of the six orders these factors are applied, 0..5

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the changed images, uint8 (n, H, W, C), as a new array.

        :param images: uint8 (n, H, W, C), H and W as in ``crop_from``.
        :raises DataError: if the images have another number or size.
        """
        expected = (self.count, *self.crop_from)
        if images.shape[:3] != expected:
            raise DataError(f"images must be (N, H, W) = {expected}, as their changes are. Got {images.shape[:3]}.")
        if self.offsets is not None:
            changed = self._crop(images, self.offsets)
        elif self.boxes is not None:
            changed = self._resize(images, self.boxes)
        else:
            changed = images.copy()
        if self.flips is not None:
            changed[self.flips] = changed[self.flips, :, ::-1]
        if self.angles is not None or self.shifts is not None or self.factors is not None:
            self._move_and_colour(changed)
        return changed

    def _crop(self, images: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return a crop of the images' own size from each image with black pixels around it."""
        count, height, width, channels = images.shape
        padded = np.zeros((count, height + 2 * PADDING, width + 2 * PADDING, channels), np.uint8)
        padded[:, PADDING : PADDING + height, PADDING : PADDING + width] = images
        cropped = np.empty_like(images)
        for target, image, (top, left) in zip(cropped, padded, offsets.tolist(), strict=True):
            target[...] = image[top : top + height, left : left + width]
        return cropped

    def _resize(self, images: NDArray[np.uint8], boxes: NDArray[np.int64]) -> NDArray[np.uint8]:
        from glassnet.data.augmentation.pillow_changes import resize_crop

        resized = np.empty((self.count, *self.size, images.shape[3]), np.uint8)
        for target, image, (top, left, height, width) in zip(resized, images, boxes.tolist(), strict=True):
            target[...] = resize_crop(image[top : top + height, left : left + width], self.size)
        return resized

    def _move_and_colour(self, images: NDArray[np.uint8]) -> None:
        from glassnet.data.augmentation.pillow_changes import jitter_colours, rotate_and_shift

        angles = np.zeros(self.count) if self.angles is None else self.angles
        shifts = np.zeros((self.count, 2), np.int64) if self.shifts is None else self.shifts
        for index, image in enumerate(images):
            if angles[index] or shifts[index].any():
                image[...] = rotate_and_shift(image, float(angles[index]), *shifts[index].tolist())
            if self.factors is not None and self.orders is not None:
                image[...] = jitter_colours(image, self.factors[index].tolist(), int(self.orders[index]))
