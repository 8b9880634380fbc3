"""Data sets of images in arrays: digits, fashion-mnist and IDX files."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glassnet.data.dataset import Dataset
from glassnet.data.idx import find_idx, read_idx_pair
from glassnet.data.load_options import LoadOptions
from glassnet.data.normalization import Normalization
from glassnet.data.split import Split
from glassnet.data.splitting import (
    draw_stratified,
    split_by_hash,
    stratified_sample,
    stratified_sample_of_at_most,
)
from glassnet.errors import DataError

NAMES = ("digits", "fashion-mnist")
_DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # the package dataset-fashion-mnist
_FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def load_arrays(name: str, idx_files: tuple[Path, Path | None] | None, options: LoadOptions) -> Dataset:
    """Load a data set by its name, or the images of IDX files (training, test or None).

    :raises DataError: if it is missing or cannot be used.
    :raises ConfigError: if the samples cannot be drawn.
    """
    if idx_files is None and name == "digits":
        dataset = _digits()
    else:
        files, classes = (idx_files, None) if idx_files else (_fashion_files(), _FASHION_CLASSES)
        dataset = _idx(*files, classes, options.seed, options.test_size)
    return _sample(dataset, options.samples, options.max_test, options.seed)


def _digits() -> Dataset:
    """Load digits from scikit-learn's file, in the order and split of its own loader and ``train_test_split``."""
    package = find_spec("sklearn")  # found but not imported: that would take 2.5 s
    if package is None or package.origin is None:
        raise DataError("digits must be installed, as part of scikit-learn. Got no scikit-learn here.")
    table = np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", np.uint8, delimiter=",")
    images = table[:, :-1].reshape(-1, 8, 8, 1)  # (1797, 8, 8, 1), values 0..16
    labels = table[:, -1].astype(np.int64)
    train, test = (Split(images, labels).take(part) for part in draw_stratified(labels, 450, seed=42))
    dataset = Dataset.from_splits(train, test, [str(digit) for digit in range(10)], scale=16.0)
    dataset.normalization = Normalization(16.0, (0.0,), (1.0,))
    return dataset


def _fashion_files() -> tuple[Path, Path | None]:
    setting = os.environ.get("GLASSNET_DATA")
    own = [Path(setting) / "fashion-mnist", Path(setting)] if setting else []
    for folder in [*own, _DEBIAN_FASHION]:
        if folder.is_dir() and (files := find_idx(folder)):
            return files
    places = f"GLASSNET_DATA={setting} or {_DEBIAN_FASHION}" if setting else f"{_DEBIAN_FASHION} or GLASSNET_DATA"
    raise DataError(
        f"fashion-mnist must be in {places}. Got no IDX files there. Install Debian's package dataset-fashion-mnist, "
        "or set GLASSNET_DATA to the folder that holds train-images-idx3-ubyte.gz and its companions."
    )


def _idx(
    images: Path, test_images: Path | None, classes: tuple[str, ...] | None, seed: int, test_size: float
) -> Dataset:
    """Read IDX images. Without class names the classes are the training labels, from the smallest to the largest."""
    train = Split(*read_idx_pair(images))
    first, last = (0, len(classes) - 1) if classes else (int(train.labels.min()), int(train.labels.max()))
    names = classes or tuple(str(label) for label in range(first, last + 1))
    gaps = np.setdiff1d(np.arange(first, last + 1), train.labels)
    if len(gaps):
        raise DataError(f"The labels of {images} must be all numbers from {first} to {last}. Got no {gaps[0]}.")
    train = Split(train.images, _shift_labels(train.labels, first, last, images))
    if test_images is not None:
        extra_images, labels = read_idx_pair(test_images)
        return Dataset.from_splits(train, Split(extra_images, _shift_labels(labels, first, last, test_images)), names)
    if test_size == 1:
        return Dataset.from_splits(train, train, names)
    kept, held_out = split_by_hash(train.labels, train.hashes, test_size, seed, names)
    return Dataset.from_splits(train.take(kept), train.take(held_out), names)


def _shift_labels(labels: NDArray[np.int64], first: int, last: int, images: Path) -> NDArray[np.int64]:
    outside = np.flatnonzero((labels < first) | (labels > last))
    if len(outside):
        raise DataError(
            f"The labels of {images} must be from {first} to {last}. Got {labels[outside[0]]} at index {outside[0]}."
        )
    return labels - first


def _sample(dataset: Dataset, samples: int | None, max_test: int | None, seed: int) -> Dataset:
    if samples is None and max_test is None:
        return dataset
    train, test = dataset.train, dataset.test
    if samples is not None:
        train = train.take(stratified_sample(train.labels, samples, seed, dataset.classes))
    if max_test is not None:
        test = test.take(stratified_sample_of_at_most(test.labels, max_test, seed))
    part = Dataset.from_splits(train, test, dataset.classes, scale=dataset.scale)
    if "normalization" in vars(dataset):
        part.normalization = dataset.normalization
    return part
