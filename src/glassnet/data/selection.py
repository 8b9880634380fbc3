"""Selection of the images of each split, before they are decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from glassnet.data.files.class_names import UnknownClassError, number_labels, order_classes
from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.labeled_files import LabeledFiles
from glassnet.data.files.layout import split_role
from glassnet.data.images.scan import Scans
from glassnet.data.splitting import (
    Hashes,
    Indices,
    split_by_hash,
    stratified_sample,
    stratified_sample_of_at_most,
)
from glassnet.errors import DataError, choice_error, did_you_mean
from glassnet.formats import pluralize


@dataclass(frozen=True)
class Images:
    """Images whose headers can be read: N files, labels (N,), hashes (N, 16) and scans."""

    files: Sequence[ImageFile]
    labels: NDArray[np.int64]
    hashes: Hashes
    scans: Scans

    def __len__(self) -> int:
        return len(self.files)

    def take(self, indices: Indices) -> Images:
        """Return the images at these indices, (M,)."""
        return Images(
            [self.files[index] for index in indices.tolist()],
            self.labels[indices],
            self.hashes[indices],
            self.scans.take(indices),
        )


@dataclass(frozen=True)
class ImageSplits:
    """Images of each split; ``test`` is ``train`` itself if all images are test images."""

    train: Images
    test: Images
    validation: Images | None = None
    test_name: str = "test"

    @property
    def parts(self) -> list[Images]:
        """The splits that differ: training, test and validation images."""
        parts = [self.train, *([] if self.test is self.train else [self.test])]
        return parts if self.validation is None else [*parts, self.validation]


def find_classes(labeled: LabeledFiles, scans: Scans, source: str, known: Sequence[str] | None) -> list[str]:
    """Return the class names in their order: the known ones, or those of the training images.

    :param source: the folder, archive or table, for errors.
    :raises DataError: if there are fewer than two.
    """
    if known is not None:
        return list(known)
    is_image = scans.has("is_image").tolist()
    places = set(compress(zip(labeled.labels, labeled.splits, strict=True), is_image))
    names = {label for label, word in places if split_role(word or "train") == "train"} or {
        label for label, _ in places
    }
    if len(names) < 2:
        raise DataError(f"{source} must have images of at least 2 classes. Got only {next(iter(names))!r}.")
    return order_classes(names) if labeled.classes is None else [name for name in labeled.classes if name in names]


def readable_images(
    labeled: LabeledFiles, scans: Scans, classes: Sequence[str], source: str, is_known: bool
) -> tuple[Images, list[str | None]]:
    """Return the images whose headers can be read, and the word for the split of each.

    :param source: the folder, archive or table, for errors.
    :param is_known: whether the classes are given, and not those of the training images.
    :raises DataError: if there are none, or one is of an unknown class.
    """
    is_readable = scans.has("is_image")
    is_readable[list(scans.problems)] = False
    indices = np.flatnonzero(is_readable)
    readable = indices.tolist()
    if not readable:
        raise DataError(
            f"{source} must have an image that can be read. Got none among {pluralize(len(scans), 'file')}."
        )
    try:
        labels = number_labels([labeled.labels[index] for index in readable], classes)
    except UnknownClassError as error:
        (label,) = error.args
        if is_known:
            raise choice_error(f"A class of {source}", classes, label, DataError) from None
        raise DataError(
            f"Class {label!r} must have a training image. Got none in {source}{did_you_mean(label, classes)}"
        ) from None
    images = Images(
        [labeled.files[index] for index in readable],
        np.array(labels, np.int64),
        scans.hashes[indices],
        scans.take(indices),
    )
    return images, [labeled.splits[index] for index in readable]


def select_splits(
    images: Images, words: Sequence[str | None], source: str, classes: Sequence[str], seed: int, test_size: float
) -> ImageSplits:
    """Select the images of each split, by the words of the source for them or else by their hashes.

    :param words: the word for the split of each image, or None.
    :param source: the folder, archive or table, for errors.
    :raises DataError: if there are no training images, unless ``test_size`` is 1.
    """
    roles = {word: split_role(word or "train") for word in set(words)}
    of_image = np.array([roles[word] for word in words])
    train, validation, test = (images.take(np.flatnonzero(of_image == role)) for role in ("train", "val", "test"))
    test_name = "test"
    if not len(test) and len(validation):
        test_name = next(str(word) for word in words if split_role(word or "train") == "val")
        test, validation = validation, test
    if not len(train) and test_size < 1:
        raise DataError(f"{source} must have train beside {test_name}. Got images to evaluate only.")
    if not len(train):
        return ImageSplits(test, test, test_name=test_name)
    if len(test):
        return ImageSplits(train, test, validation if len(validation) else None, test_name)
    if test_size == 1:
        return ImageSplits(train, train)
    kept, held_out = split_by_hash(train.labels, train.hashes, test_size, seed, classes)
    return ImageSplits(train.take(kept), train.take(held_out))


def sample_splits(
    splits: ImageSplits, samples: int | None, max_test: int | None, seed: int, classes: Sequence[str]
) -> ImageSplits:
    """Take a part of each split; if both are the same and limited alike, they stay the same.

    :param samples: number of training images, or None for all.
    :param max_test: largest number of test images, and of validation images, or None.
    """
    train, test, validation = splits.train, splits.test, splits.validation
    if samples is not None:
        train = train.take(stratified_sample(train.labels, samples, seed, classes))
    if splits.test is splits.train and samples == max_test:
        test = train
    elif max_test is not None:
        test = _take_at_most(test, max_test, seed)
    if validation is not None and max_test is not None:
        validation = _take_at_most(validation, max_test, seed)
    return ImageSplits(train, test, validation, splits.test_name)


def _take_at_most(images: Images, max_count: int, seed: int) -> Images:
    return images.take(stratified_sample_of_at_most(images.labels, max_count, seed))
