"""Images with their labels, in memory or in a mapped file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet.data.normalization import pixel_totals
from glassnet.data.splitting import HASH_BYTES, Hashes, hash_images
from glassnet.errors import DataError
from glassnet.formats import pluralize

BLOCK_BYTES = 1 << 24  # of the pixels that are read at once


class Split:
    """Images and their labels, and what tells the images apart.

    The images may be more than the memory holds. ``pixels`` reads some of them, ``blocks`` all of them in turn.

    Attributes: ``labels``, int64 (N,); ``names``, a tuple of N names, which are paths relative to the source, or None
    for images without names; ``hashes``, uint8 (N, 16); ``larger``, a split of the same images in a larger size, from
    which random crops are resized, or None.

    :param images: uint8 (M, H, W, C) and C-contiguous, in memory or a memory map of a file (``numpy.memmap``).
    :param hashes: the content hashes of the files that the images were read from; by default those of the images.
    :param rows: int64 (N,), the images of the M that the split has; None stands for all.
    :param pixel_sums: uint64 (N, 2, C), the sums of each image's pixel values and of their squares in each channel, if
        they are known.
    :param check: called with some of ``rows`` before their images are read, for a file that may be damaged.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        names: Sequence[str] | None = None,
        hashes: Hashes | None = None,
        rows: NDArray[np.int64] | None = None,
        pixel_sums: NDArray[np.uint64] | None = None,
        check: Callable[[NDArray[np.int64]], None] | None = None,
    ) -> None:
        self._images, self._rows = images, rows
        self.labels = labels
        self.names = None if names is None else tuple(names)
        self._hashes, self._pixel_sums, self._check = hashes, pixel_sums, check
        self.larger: Split | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        height, width, channels = self.shape
        return f"Split({pluralize(len(self), 'image')}, {height}×{width}, {pluralize(channels, 'channel')})"

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of an image."""
        _, height, width, channels = self._images.shape
        return height, width, channels

    @property
    def nbytes(self) -> int:
        """The number of bytes of all pixels of the split."""
        height, width, channels = self.shape
        return len(self) * height * width * channels

    @property
    def is_mapped(self) -> bool:
        """Whether the images are in a mapped file and not in memory."""
        return isinstance(self._images, np.memmap)

    @property
    def images(self) -> NDArray[np.uint8]:
        """The array of all images, uint8 (N, H, W, C), for splits that are known to be small."""
        return self._images if self._rows is None else self.pixels(range(len(self)))

    def pixels(self, indices: Sequence[int] | NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Return the images at these indices, (n,), as a new array, uint8 (n, H, W, C)."""
        rows = indices if self._rows is None else self._rows[np.asarray(indices)]
        if self._check is not None:
            self._check(np.asarray(rows))
        return np.asarray(self._images).take(rows, axis=0)

    def blocks(self) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield all images in order, as (index of the first, uint8 (n, H, W, C)) of at most BLOCK_BYTES or one image.

        A block may be a view of the split's memory, and is not to be changed.
        """
        count = max(1, BLOCK_BYTES // (self.nbytes // len(self)))
        for start in range(0, len(self), count):
            if self._rows is None:
                yield start, np.asarray(self._images)[start : start + count]
            else:
                yield start, self.pixels(range(start, min(start + count, len(self))))

    @property
    def hashes(self) -> Hashes:
        """The content hash of each image, uint8 (N, 16)."""
        if self._hashes is None:
            self._hashes = np.concatenate([hash_images(block) for _, block in self.blocks()])
        return self._hashes

    def pixel_totals(self) -> tuple[int, list[int], list[int]]:
        """Return the number of pixels, the sum of their values in each channel, and the sum of the values' squares."""
        if self._pixel_sums is not None:
            sums, squares = self._pixel_sums.sum(axis=0).tolist()
            return self.nbytes // self.shape[2], sums, squares
        return pixel_totals(block for _, block in self.blocks())

    def take(self, indices: NDArray[np.int64]) -> Split:
        """Return a split of the images at these indices, (M,): copies of them, or the same mapped file."""
        names = None if self.names is None else [self.names[index] for index in indices]
        hashes = None if self._hashes is None else self._hashes[indices]
        sums = None if self._pixel_sums is None else self._pixel_sums[indices]
        labels = self.labels[indices]
        if self.is_mapped:
            rows = np.asarray(indices, np.int64) if self._rows is None else self._rows[indices]
            part = Split(self._images, labels, names, hashes, rows, sums, self._check)
        else:
            part = Split(self.pixels(indices), labels, names, hashes, pixel_sums=sums)
        part.larger = self.larger and self.larger.take(indices)
        return part

    def copy(self) -> Split:
        """Return a split with copies of images and labels."""
        copied = Split(self.images.copy(), self.labels.copy(), self.names, self._hashes)
        copied.larger = self.larger
        return copied

    def checked(self, prefix: str) -> Split:
        """Return the split with its arrays in the form that this class describes.

        :param prefix: ``""`` or ``test_``, before the names of the arrays in errors.
        :raises DataError: if an array cannot be trained on, or belongs to another number of images.
        """
        images = check_images(self._images, f"{prefix}images")
        count = len(images if self._rows is None else self._rows)
        labels = check_label_array(self.labels, count, f"{prefix}labels")
        if self.names is not None and len(self.names) != count:
            raise DataError(f"{prefix}names must be {count}, one for each image. Got {len(self.names)}.")
        if self._hashes is not None and self._hashes.shape != (count, HASH_BYTES):
            raise DataError(f"{prefix}hashes must have shape ({count}, {HASH_BYTES}). Got {self._hashes.shape}.")
        checked = Split(images, labels, self.names, self._hashes, self._rows, self._pixel_sums, self._check)
        checked.larger = self.larger
        return checked


def check_images(images: ArrayLike, name: str) -> NDArray[np.uint8]:
    """Return images as a contiguous array of shape (N, H, W, C), copied only where they must be.

    :raises DataError: if they have another dtype or shape.
    """
    array = images if isinstance(images, np.memmap) else np.asarray(images)
    if array.dtype != np.uint8:
        convert = "(images * 255).round().astype('uint8') for values from 0 to 1"
        if array.dtype.kind in "iu":
            convert = "images.astype('uint8') for values from 0 to 255"
        raise DataError(f"{name} must be uint8. Got {array.dtype}. Use {convert}.")
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(f"{name} must have shape (N, H, W, C) or (N, H, W), none of them 0. Got {array.shape}.")
    if array.ndim == 4 and array.shape[3] > 4 and array.shape[1] <= 4:
        raise DataError(
            f"{name} must have shape (N, H, W, C). Got {array.shape}, which looks like (N, C, H, W). "
            "Use images.transpose(0, 2, 3, 1)."
        )
    if array.ndim == 3:
        array = array[..., np.newaxis]
    return array if array.flags.c_contiguous else np.ascontiguousarray(array)


def check_label_array(labels: ArrayLike, count: int, name: str) -> NDArray[np.int64]:
    """Return the labels of ``count`` images as int64 (N,), copied only where they must be.

    :raises DataError: if they are no integers from 0, or another number of them.
    """
    targets = np.asarray(labels)
    if targets.dtype.kind not in "iu":
        raise DataError(
            f"{name} must be integers. Got {targets.dtype}. "
            "Use classes, labels = numpy.unique(labels, return_inverse=True)."
        )
    if targets.ndim != 1 or len(targets) != count:
        raise DataError(f"{name} must have shape ({count},), one for each image. Got {targets.shape}.")
    for extreme in (targets.min(), targets.max()):
        if not 0 <= extreme <= np.iinfo(np.int32).max:
            raise DataError(f"{name} must be 0 or more, one number for each class. Got {extreme}.")
    return targets.astype(np.int64, copy=False)
