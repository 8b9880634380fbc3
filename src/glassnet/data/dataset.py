"""Images and labels, split into training, validation and test."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from glassnet.data.files.listing import name_some
from glassnet.data.normalization import Normalization
from glassnet.data.split import Split, check_images, check_label_array
from glassnet.data.splitting import split_by_hash
from glassnet.errors import ConfigError, DataError
from glassnet.formats import agree, pluralize

TEST_SIZE = 0.25
_DECODING = ("fit", "value_range", "ink")  # of a source's settings: these change the pixels of a given size


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
        checked = train.checked("")
        checked_test = checked if test is train else test.checked("test_")
        checked_validation = validation and validation.checked("validation_")
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
        _check_labels(train, names, "labels")
        for split, prefix in ((test, "test_"), (validation, "validation_")):
            if split is not None:
                if split.shape != train.shape:
                    raise DataError(
                        f"{prefix}images must be (H, W, C) = {train.shape}, as images are. Got {split.shape}."
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
        height, width, _ = self.train.shape
        return height, width

    @property
    def channels(self) -> int:
        """1 for gray images, 3 for colour."""
        return self.train.shape[2]

    @cached_property
    def normalization(self) -> Normalization:
        """The normalization by scale, mean and standard deviation of the training images.

        All of them are measured, also those that a training holds out with ``validation_fraction``.
        """
        return Normalization.from_sums(*self.train.pixel_totals(), self.scale)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256, in hexadecimal, of classes, scale, image size and channels, and of each split's images and labels.

        Images count by their content hashes. Those of files are hashes of the files, which other settings of decoding
        would make other images of: these count as well.
        """
        splits = [split for split in (self.train, self.validation, self.test) if split is not None]
        decoding = None if self.train.names is None else [self.source.get(name) for name in _DECODING]
        shapes = [(len(split), *split.shape) for split in splits]
        digest = hashlib.sha256(json.dumps([self.classes, self.scale, shapes, decoding]).encode("utf-8"))
        for split in splits:
            digest.update(split.hashes.tobytes())
            digest.update(split.labels.astype("<i8").data)  # the same bytes on every machine
        return digest.hexdigest()

    @property
    def remarks(self) -> list[str]:
        """Sentences for the user: the images that could not be read, and the notes."""
        if not (unreadable := self.unreadable_files):
            return self.notes
        n_images = len(self.test) if self.train is self.test else len(self.train) + len(self.test)
        n_images += 0 if self.validation is None else len(self.validation)
        count = f"{len(unreadable):,} of {pluralize(n_images + len(unreadable), 'image')}"
        return [f"{count} could not be read and were left out: {name_some(unreadable, '; ')}", *self.notes]

    def describe(self) -> str:
        """Return the counts, the size and the classes: ``90 training and 30 test images, 8×8, gray, of 2 classes``."""
        parts = [f"{len(self.train):,} training"]
        if self.validation is not None:
            parts.append(f"{len(self.validation):,} validation")
        height, width = self.image_size
        colours = {1: "gray", 3: "colour"}.get(self.channels, f"{self.channels} channels")
        test = pluralize(len(self.test), f"{self.test_name} image")
        return (
            f"{', '.join(parts)} and {test}, {height}×{width}, {colours}, of {len(self.classes)} classes "
            f"({name_some(self.classes)})"
        )

    def __repr__(self) -> str:
        height, width = self.image_size
        validation = f", {len(self.validation)} validation" if self.validation is not None else ""
        test = pluralize(len(self.test), f"{self.test_name} image")
        return (
            f"Dataset({len(self.train)} training{validation} and {test}, "
            f"{len(self.classes)} classes, {height}×{width}, {pluralize(self.channels, 'channel')})"
        )


def _make_split(images: ArrayLike, labels: ArrayLike, prefix: str) -> Split:
    """Return the arrays as a Split, copied only where they must be. The prefix, "" or "test_", names them in errors."""
    array = check_images(images, f"{prefix}images")
    return Split(array, check_label_array(labels, len(array), f"{prefix}labels"))


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
    has, is_ = agree(len(absent), "has", "have"), agree(len(absent), "is", "are")
    return [f"{len(absent)} of {len(classes)} classes {has} no {test_name} image and {is_} not measured: {names}"]


def _check_labels(split: Split, classes: Sequence[str], name: str) -> None:
    index = int(split.labels.argmax())
    if split.labels[index] >= len(classes):
        raise DataError(
            f"{name} must be 0 to {len(classes) - 1}, for {len(classes)} classes. "
            f"Got {split.labels[index]} at index {index}."
        )
