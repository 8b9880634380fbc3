"""Images and labels in memory, split into training, validation and test."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from glassnet.data.files.listing import name_some
from glassnet.data.normalization import Normalization
from glassnet.data.splitting import HASH_BYTES, Hashes, hash_images, split_by_hash
from glassnet.errors import ConfigError, DataError

TEST_SIZE = 0.25


class Split:
    """Images and their labels, and what tells the images apart.

    Attributes: ``images``, uint8 (N, H, W, C) and C-contiguous; ``labels``, int64 (N,); ``names``, a tuple of N names,
    which are paths relative to the source, or None for images without names; ``hashes``, uint8 (N, 16).

    :param hashes: the content hashes of the files that the images were read from; by default those of the images.
    """

    def __init__(
        self,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        names: Sequence[str] | None = None,
        hashes: Hashes | None = None,
    ) -> None:
        self.images, self.labels = images, labels
        self.names = None if names is None else tuple(names)
        self._hashes = hashes

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        _, height, width, channels = self.images.shape
        return f"Split({len(self)} images, {height}×{width}, {channels} channel(s))"

    @property
    def hashes(self) -> Hashes:
        """The content hash of each image, uint8 (N, 16)."""
        if self._hashes is None:
            self._hashes = hash_images(self.images)
        return self._hashes

    def take(self, indices: NDArray[np.int64]) -> Split:
        """Return a split with copies of the images and labels at these indices, (M,)."""
        names = None if self.names is None else [self.names[index] for index in indices]
        hashes = None if self._hashes is None else self._hashes[indices]
        return Split(self.images[indices], self.labels[indices], names, hashes)

    def copy(self) -> Split:
        """Return a split with copies of both arrays."""
        return Split(self.images.copy(), self.labels.copy(), self.names, self._hashes)


class Dataset:
    """Training and test images of the same size, and the names of their classes.

    Attributes: ``train`` and ``test`` (Split); ``validation``, the Split that the source itself has for choosing an
    epoch, or None; ``test_name``, what the source calls the test split: "test", or "val" where it has no other;
    ``classes``, label k being classes[k]; ``scale``, the pixel value that stands for 1; ``normalization``, computed
    from the training split unless a source fixes it; ``fingerprint``; ``source``, a JSON object that says how to load
    the images again; ``unreadable_files``, one line for each file that could not be read; ``notes``, sentences that a
    training shows once.

    :param images: uint8 (N, H, W, C) or (N, H, W); copied.
    :param labels: integers 0..classes-1, (N,); copied.
    :param classes: the names of the classes, by default their labels.
    :param test_images: the test split, with ``test_labels``; without them the content of each image and the seed
        decide whether it is a test image, a fraction ``test_size`` of them on average. So images that are added or
        removed move no other image to the other split, and equal images are in the same one.
    :raises DataError: if the arrays cannot be trained on.
    :raises ConfigError: if ``scale``, ``test_size`` or ``seed`` is out of range, or only one of ``test_images`` and
        ``test_labels`` is given.
    """

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
        train = _make_split(images, labels, "")
        if classes is None:
            last = int(train.labels.max())
            if last >= len(train):
                raise DataError(f"labels must be 0 to classes - 1, each in use. Got {last} among {len(train)} labels.")
            classes = [str(label) for label in range(last + 1)]
        classes = _check_classes(classes)
        if test_images is not None and test_labels is not None:
            train, test = train.copy(), _make_split(test_images, test_labels, "test_").copy()
        elif test_images is None and test_labels is None:
            _check_labels(train, classes, "labels")
            kept, held_out = split_by_hash(train.labels, train.hashes, test_size, seed, classes)
            train, test = train.take(kept), train.take(held_out)
        else:
            alone = "test_labels" if test_images is None else "test_images"
            raise ConfigError(f"test_images and test_labels must be given together. Got {alone} alone.")
        self._set_splits(train, test, None, classes, scale)

    @classmethod
    def from_splits(
        cls,
        train: Split,
        test: Split,
        classes: Sequence[str],
        *,
        scale: float = 255.0,
        validation: Split | None = None,
        test_name: str = "test",
    ) -> Dataset:
        """Return the dataset of these splits, which are checked as the constructor does it but not copied.

        :param test: the same object as ``train`` for images that are evaluated and not trained on; they need not have
            all classes.
        :param validation: images that choose the best epoch of a training.
        :param test_name: what the source calls the test split.
        """
        dataset = cls.__new__(cls)
        checked = _check_split(train, "")
        checked_test = checked if test is train else _check_split(test, "test_")
        checked_validation = validation and _check_split(validation, "validation_")
        dataset._set_splits(checked, checked_test, checked_validation, classes, scale, test_name)
        return dataset

    def _set_splits(
        self,
        train: Split,
        test: Split,
        validation: Split | None,
        classes: Sequence[str],
        scale: float,
        test_name: str = "test",
    ) -> None:
        names = _check_classes(classes)
        if not (isinstance(scale, int | float | np.number) and math.isfinite(scale) and scale > 0):
            raise ConfigError(f"scale must be a finite number above 0. Got {scale!r}.")
        shape = train.images.shape[1:]
        _check_labels(train, names, "labels")
        for split, prefix in ((test, "test_"), (validation, "validation_")):
            if split is not None:
                if split.images.shape[1:] != shape:
                    raise DataError(
                        f"{prefix}images must be (H, W, C) = {shape}, as images are. Got {split.images.shape[1:]}."
                    )
                _check_labels(split, names, f"{prefix}labels")
        absent = np.setdiff1d(np.arange(len(names)), train.labels)
        if len(absent) and test is not train:
            raise DataError(f"Class {names[absent[0]]!r} (label {absent[0]}) must have a training image. Got none.")
        self.train, self.test, self.validation = train, test, validation
        self.classes, self.scale, self.test_name = names, float(scale), test_name
        self.source: dict[str, Any] = {"source": "arrays"}
        self.unreadable_files: list[str] = []
        self.notes: list[str] = [] if test is train else _note_unmeasured(test, names, test_name)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        _, height, width, _ = self.train.images.shape
        return height, width

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for colour."""
        return int(self.train.images.shape[3])

    @cached_property
    def normalization(self) -> Normalization:
        """The normalization by scale, mean and standard deviation of the training images.

        All of them are measured, also those that a training holds out with ``validation_fraction``.
        """
        return Normalization.from_images(self.train.images, self.scale)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of classes, scale, images and labels of all splits."""
        splits = [split for split in (self.train, self.validation, self.test) if split is not None]
        shapes = [split.images.shape for split in splits]
        digest = hashlib.sha256(json.dumps([self.classes, self.scale, shapes]).encode("utf-8"))
        for split in splits:
            digest.update(split.images.data)
            digest.update(split.labels.astype("<i8").data)  # the same bytes on every machine
        return digest.hexdigest()

    @property
    def remarks(self) -> list[str]:
        """Sentences for the user: the images that could not be read, and the notes."""
        if not (unreadable := self.unreadable_files):
            return self.notes
        n_images = len(self.test) if self.train is self.test else len(self.train) + len(self.test)
        n_images += 0 if self.validation is None else len(self.validation)
        count = f"{len(unreadable):,} of {n_images + len(unreadable):,} images"
        return [f"{count} could not be read and were left out: {name_some(unreadable, '; ')}", *self.notes]

    def describe(self) -> str:
        """Return the counts, the size and the classes: ``90 training and 30 test images, 8×8, gray, of 2 classes``."""
        parts = [f"{len(self.train):,} training"]
        if self.validation is not None:
            parts.append(f"{len(self.validation):,} validation")
        height, width = self.image_size
        colours = {1: "gray", 3: "colour"}.get(self.channels, f"{self.channels} channels")
        return (
            f"{', '.join(parts)} and {len(self.test):,} {self.test_name} images, {height}×{width}, {colours}, of "
            f"{len(self.classes)} classes ({name_some(self.classes)})"
        )

    def __repr__(self) -> str:
        height, width = self.image_size
        validation = f", {len(self.validation)} validation" if self.validation is not None else ""
        return (
            f"Dataset({len(self.train)} training{validation} and {len(self.test)} {self.test_name} images, "
            f"{len(self.classes)} classes, {height}×{width}, {self.channels} channel(s))"
        )


def _check_split(split: Split, prefix: str) -> Split:
    """Return the split, checked and with its arrays in the form that Split describes."""
    count = len(split)
    if split.names is not None and len(split.names) != count:
        raise DataError(f"{prefix}names must be {count}, one for each image. Got {len(split.names)}.")
    checked = _make_split(split.images, split.labels, prefix)
    if split._hashes is not None and split._hashes.shape != (count, HASH_BYTES):
        raise DataError(f"{prefix}hashes must have shape ({count}, {HASH_BYTES}). Got {split._hashes.shape}.")
    return Split(checked.images, checked.labels, split.names, split._hashes)


def _make_split(images: ArrayLike, labels: ArrayLike, prefix: str) -> Split:
    """Return the arrays as a Split, copied only where they must be. The prefix, "" or "test_", names them in errors."""
    array, targets = np.asarray(images), np.asarray(labels)
    _check_images(array, f"{prefix}images")
    if array.ndim == 3:
        array = array[..., np.newaxis]
    name = f"{prefix}labels"
    if targets.dtype.kind not in "iu":
        raise DataError(
            f"{name} must be integers. Got {targets.dtype}. "
            "Use classes, labels = numpy.unique(labels, return_inverse=True)."
        )
    if targets.ndim != 1 or len(targets) != len(array):
        raise DataError(f"{name} must have shape ({len(array)},), one for each image. Got {targets.shape}.")
    for extreme in (targets.min(), targets.max()):
        if not 0 <= extreme <= np.iinfo(np.int32).max:
            raise DataError(f"{name} must be 0 or more, one number for each class. Got {extreme}.")
    return Split(np.ascontiguousarray(array), targets.astype(np.int64, copy=False))


def _check_images(array: NDArray[Any], name: str) -> None:
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


def _check_classes(classes: Any) -> list[str]:
    if isinstance(classes, str | bytes) or not isinstance(classes, Sequence | np.ndarray):
        raise DataError(f"classes must be a sequence of names. Got {classes!r}.")
    names = [str(name) for name in classes]
    if len(names) < 2:
        raise DataError(f"classes must be at least 2. Got {names}.")
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"classes must be unique. Got {repeated!r} twice.")
    return names


def _note_unmeasured(test: Split, classes: list[str], test_name: str) -> list[str]:
    """Return a note on the classes without a test image, if there are any."""
    absent = [classes[label] for label in np.setdiff1d(np.arange(len(classes)), test.labels)]
    if not absent:
        return []
    names = ", ".join(map(repr, absent[:3])) + (", ..." if len(absent) > 3 else "")
    return [f"{len(absent)} of {len(classes)} classes have no {test_name} image and are not measured: {names}"]


def _check_labels(split: Split, classes: Sequence[str], name: str) -> None:
    index = int(split.labels.argmax())
    if split.labels[index] >= len(classes):
        raise DataError(
            f"{name} must be 0 to {len(classes) - 1}, for {len(classes)} classes. "
            f"Got {split.labels[index]} at index {index}."
        )
