"""Images and labels in memory, split into training and test."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet.data.normalization import Normalization
from glassnet.data.splitting import stratified_split
from glassnet.errors import ConfigError, DataError

TEST_SIZE = 0.25


@dataclass(frozen=True, eq=False)
class Split:
    """Images, uint8 (N, H, W, C) and C-contiguous, and their labels, int64 (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> Split:
        """A copy of the images at these indices."""
        return Split(self.images[indices], self.labels[indices])


class Dataset:
    """Training and test images of the same size, and the names of their classes.

    Attributes: `train` and `test` (Split); `classes`, label k being classes[k]; `scale`, the pixel value that
    stands for 1; `normalization`, measured on the training split unless a source fixes it; `fingerprint`;
    `source`, a json-able record of how to load the images again; `skipped`, one line for each image that
    could not be read.
    """

    train: Split
    test: Split
    classes: list[str]
    scale: float
    source: dict[str, Any]
    skipped: list[str]

    def __init__(
        self,
        images: ArrayLike,
        labels: ArrayLike,
        classes: Sequence[str] | None = None,
        *,
        test_images: ArrayLike | None = None,
        test_labels: ArrayLike | None = None,
        scale: float = 255.0,
        test_size: float = TEST_SIZE,
        seed: int = 42,
    ) -> None:
        """One's own arrays, copied: images uint8 (N, H, W, C) or (N, H, W), labels integers 0..classes-1.

        Without test arrays a stratified share, drawn from seed, is held out. Without class names they are the
        labels. Raises DataError or ConfigError, one line each, for anything that cannot be trained on.
        """
        if (test_images is None) != (test_labels is None):
            raise ConfigError("test_images and test_labels belong together; give both or neither")
        train = _checked_split(images, labels, "")
        if classes is None:
            last = int(train.labels.max())
            if last >= len(train):
                raise DataError(
                    f"labels go up to {last} for {len(train)} images; allowed is 0 to classes-1, each in use"
                )
            classes = [str(label) for label in range(last + 1)]
        _check_is_sequence(classes)
        if test_images is None or test_labels is None:
            _check_labels(train, classes, "labels")
            rest, held_out = stratified_split(train.labels, test_size, seed, classes)
            train, test = train.take(rest), train.take(held_out)
        else:
            train = Split(train.images.copy(), train.labels.copy())
            test = _checked_split(test_images, test_labels, "test_")
            test = Split(test.images.copy(), test.labels.copy())
        self._hold(train, test, classes, scale)

    @classmethod
    def from_splits(cls, train: Split, test: Split, classes: Sequence[str], *, scale: float = 255.0) -> Dataset:
        """The same from splits that are there already; checked, but not copied."""
        dataset = cls.__new__(cls)
        train = _checked_split(train.images, train.labels, "")
        test = _checked_split(test.images, test.labels, "test_")
        dataset._hold(train, test, classes, scale)
        return dataset

    def _hold(self, train: Split, test: Split, classes: Sequence[str], scale: float) -> None:
        _check_is_sequence(classes)
        names = [str(name) for name in classes]
        if len(names) < 2:
            raise DataError(f"the data has {len(names)} class(es): {names}; at least 2 are needed")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"class name {twice!r} occurs twice in classes; each must occur once")
        if not (isinstance(scale, int | float | np.number) and math.isfinite(scale) and scale > 0):
            raise ConfigError(f"scale is {scale!r}; allowed is a finite number above 0")
        if train.images.shape[1:] != test.images.shape[1:]:
            raise DataError(
                f"test images are (H, W, C) = {test.images.shape[1:]}, "
                f"training images {train.images.shape[1:]}; both must be the same"
            )
        _check_labels(train, names, "labels")
        _check_labels(test, names, "test_labels")
        absent = np.flatnonzero(np.bincount(train.labels, minlength=len(names)) == 0)
        if len(absent):
            raise DataError(
                f"class {names[absent[0]]!r} (label {absent[0]}) has no training image; each class needs one"
            )
        self.train, self.test, self.classes, self.scale = train, test, names, float(scale)
        self.source = {"source": "arrays"}
        self.skipped = []

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        _, height, width, _ = self.train.images.shape
        return height, width

    @property
    def channels(self) -> int:
        return int(self.train.images.shape[3])

    @cached_property
    def normalization(self) -> Normalization:
        return Normalization.measure(self.train.images, self.scale)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of classes, scale, images and labels of both splits."""
        shapes = [self.train.images.shape, self.test.images.shape]
        digest = hashlib.sha256(json.dumps([self.classes, self.scale, shapes]).encode("utf-8"))
        for split in (self.train, self.test):
            digest.update(split.images.data)
            digest.update(split.labels.astype("<i8").data)  # the same bytes on every machine
        return digest.hexdigest()

    def __repr__(self) -> str:
        height, width = self.image_size
        return (
            f"Dataset({len(self.train)} training and {len(self.test)} test images, {len(self.classes)} classes, "
            f"{height}×{width}, {self.channels} channel(s))"
        )


def _checked_split(images: ArrayLike, labels: ArrayLike, prefix: str) -> Split:
    """The arrays as a Split, copied only where they must be. The prefix, "" or "test_", names them in errors."""
    array, targets = np.asarray(images), np.asarray(labels)
    if array.dtype != np.uint8:
        convert = "(images * 255).round().astype('uint8') for values from 0 to 1"
        if array.dtype.kind in "iu":
            convert = "images.astype('uint8') for values from 0 to 255"
        raise DataError(f"{prefix}images are {array.dtype}; allowed is uint8: {convert}")
    if array.ndim == 3:
        array = array[..., np.newaxis]
    if array.ndim != 4 or 0 in array.shape:
        raise DataError(
            f"{prefix}images have shape {np.shape(images)}; allowed is (N, H, W, C) or (N, H, W), none of them 0"
        )
    if array.shape[3] > 4 and array.shape[1] <= 4:
        raise DataError(
            f"{prefix}images have shape {array.shape}, which looks like (N, C, H, W); "
            "allowed is (N, H, W, C): images.transpose(0, 2, 3, 1)"
        )
    if targets.dtype.kind not in "iu":
        raise DataError(
            f"{prefix}labels are {targets.dtype}; allowed are integers: "
            "classes, labels = numpy.unique(labels, return_inverse=True)"
        )
    if targets.ndim != 1 or len(targets) != len(array):
        raise DataError(f"{prefix}labels have shape {targets.shape}; allowed is ({len(array)},), one for each image")
    if targets.min() < 0 or targets.max() > np.iinfo(np.int32).max:
        wrong = targets.min() if targets.min() < 0 else targets.max()
        raise DataError(f"{prefix}labels hold {wrong}; allowed is 0 and above, one number for each class")
    return Split(np.ascontiguousarray(array), targets.astype(np.int64, copy=False))


def _check_is_sequence(classes: Any) -> None:
    if isinstance(classes, str | bytes) or not isinstance(classes, Sequence | np.ndarray):
        raise DataError(f"classes is {classes!r}; allowed is a sequence of names")


def _check_labels(split: Split, classes: Sequence[str], name: str) -> None:
    if split.labels.max() >= len(classes):
        position = int(split.labels.argmax())
        raise DataError(
            f"{name}[{position}] is {split.labels[position]}; allowed is 0 to {len(classes) - 1}, "
            f"the {len(classes)} classes"
        )
