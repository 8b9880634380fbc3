"""Where images come from: a name, a folder or a file."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glassnet.data.batches import validate_seed
from glassnet.data.dataset import TEST_SIZE, Dataset, Split
from glassnet.data.folder import read_folder
from glassnet.data.idx import find_idx, read_idx_pair
from glassnet.data.normalization import Normalization
from glassnet.data.splitting import draw_stratified, stratified_sample, stratified_split
from glassnet.errors import ConfigError, DataError, as_path

_DEBIAN_FASHION = Path("/usr/share/datasets/fashion-mnist")  # the package dataset-fashion-mnist
_FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)


def load_data(
    source: str | os.PathLike[str],
    *,
    image_size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    samples: int | None = None,
    seed: int = 42,
    test_size: float = TEST_SIZE,
    max_unreadable: float = 0.01,
) -> Dataset:
    """Load images from a source; ``load_data(**dataset.source)`` loads the same again.

    :param source: "digits", scikit-learn's, always split into the same 1,347 and 450;
        "fashion-mnist", from GLASSNET_DATA, or from where Debian's package installs it;
        a folder of IDX files, or one IDX images file (its labels, and test files if there are any, beside it);
        a folder with one folder of images for each class, or train/ and test/ of those. A folder named like
        one of the two data sets is written "./digits".
    :param image_size: side, or (height, width), to which a folder's images are brought; None keeps a size that all
        have, up to 256 pixels. The other sources have a size of their own.
    :param channels: 1 or 3, to which a folder's images are brought; None is 1 where all are gray, else 3.
    :param samples: as many training images, in the proportions of the classes; the test split stays whole.
    :param seed: of the samples, and of the stratified test_size held out where a source has no test images.
    :param test_size: 1 is for images that are to be judged, not trained on: all of them are the test split, and
        ``train`` holds the same ones. A folder may then have test/ alone.
    :param max_unreadable: the largest fraction of a folder's files that may be unreadable; they are listed.
    :raises DataError: images or files that cannot be used.
    :raises ConfigError: an argument that is not allowed.
    """
    size = _checked_size(image_size)
    validate_seed(seed)
    _check_share("test_size", test_size, 0 < test_size <= 1, "more than 0, up to 1")
    _check_share("max_unreadable", max_unreadable, 0 <= max_unreadable <= 1, "0 to 1")
    if samples is not None and (not isinstance(samples, int | np.integer) or samples < 1):
        raise ConfigError(f"samples is {samples!r}; allowed is an integer, 1 or more")
    path = as_path("A data source", source)
    name = str(source)
    if name == "digits":
        dataset = _sampled(_digits(), samples, seed)
    elif name == "fashion-mnist":
        dataset = _sampled(_idx(*_fashion_files(), _FASHION_CLASSES, seed, test_size), samples, seed)
    elif not name or not _readable(path):
        raise DataError(
            f"source {name!r} does not exist or may not be read; allowed: digits, fashion-mnist, a folder with one "
            "folder of images for each class (or train/ and test/ of those), or a path to IDX files"
        )
    elif found := find_idx(path):
        dataset = _sampled(_idx(*found, None, seed, test_size), samples, seed)
    else:
        dataset = read_folder(
            path,
            image_size=size,
            channels=channels,
            samples=samples,
            seed=seed,
            test_size=test_size,
            max_unreadable=max_unreadable,
        )
    if size not in (None, dataset.image_size):
        raise ConfigError(
            f"image_size is {size}; the images of {name!r} are {dataset.image_size}, and only those of a folder "
            "of image files are resized"
        )
    if channels not in (None, dataset.channels):
        raise ConfigError(
            f"channels is {channels}; the images of {name!r} have {dataset.channels}, and only those of a folder "
            "of image files are converted"
        )
    dataset.source = {
        "source": name if name in ("digits", "fashion-mnist") else str(path.resolve()),
        "image_size": list(dataset.image_size),
        "channels": channels,
        "samples": samples,
        "seed": seed,
        "test_size": test_size,
        "max_unreadable": max_unreadable,
    }
    return dataset


def _digits() -> Dataset:
    """scikit-learn's digits from its file, in the order and split of its own loader and ``train_test_split``."""
    package = find_spec("sklearn")  # found but not imported: that would take 2.5 s
    if package is None or package.origin is None:
        raise DataError("digits must be installed with scikit-learn. Got no package of that name.")
    table = np.loadtxt(Path(package.origin).parent / "datasets/data/digits.csv.gz", np.uint8, delimiter=",")
    images = table[:, :-1].reshape(-1, 8, 8, 1)  # (1797, 8, 8, 1), values 0..16
    labels = table[:, -1].astype(np.int64)
    train, test = (Split(images, labels).take(part) for part in draw_stratified(labels, 450, seed=42))
    dataset = Dataset.from_splits(train, test, [str(digit) for digit in range(10)], scale=16.0)
    dataset.normalization = Normalization(16.0, (0.0,), (1.0,))
    return dataset


def _fashion_files() -> tuple[Path, Path | None]:
    chosen = os.environ.get("GLASSNET_DATA")
    folders = [Path(chosen) / "fashion-mnist", Path(chosen)] if chosen else []
    for folder in [*folders, _DEBIAN_FASHION]:
        if folder.is_dir() and (found := find_idx(folder)):
            return found
    raise DataError(
        "fashion-mnist not found"
        + (f" in GLASSNET_DATA={chosen}" if chosen else "")
        + f" or {_DEBIAN_FASHION}; install Debian's package dataset-fashion-mnist, or set GLASSNET_DATA to the "
        "folder that holds train-images-idx3-ubyte.gz and its companions"
    )


def _idx(
    images: Path, test_images: Path | None, classes: tuple[str, ...] | None, seed: int, test_size: float
) -> Dataset:
    """IDX images. Without class names these are the training labels, from the smallest to the largest."""
    train = Split(*read_idx_pair(images))
    first, last = (0, len(classes) - 1) if classes else (int(train.labels.min()), int(train.labels.max()))
    names = classes or tuple(str(label) for label in range(first, last + 1))
    gaps = np.setdiff1d(np.arange(first, last + 1), train.labels)
    if len(gaps):
        raise DataError(
            f"the labels of {images} run from {first} to {last}, but {gaps[0]} never occurs; none may be left out"
        )
    train = Split(train.images, _shifted(train.labels, first, last, images))
    if test_images is None and test_size == 1:
        return Dataset.from_splits(train, train, names)
    if test_images is None:
        rest, held_out = stratified_split(train.labels, test_size, seed, names)
        return Dataset.from_splits(train.take(rest), train.take(held_out), names)
    extra_images, labels = read_idx_pair(test_images)
    return Dataset.from_splits(train, Split(extra_images, _shifted(labels, first, last, test_images)), names)


def _shifted(labels: NDArray[np.int64], first: int, last: int, images: Path) -> NDArray[np.int64]:
    outside = np.flatnonzero((labels < first) | (labels > last))
    if len(outside):
        raise DataError(
            f"the labels of {images}: number {outside[0]} is {labels[outside[0]]}; allowed is {first} to {last}"
        )
    return labels - first


def _sampled(dataset: Dataset, samples: int | None, seed: int) -> Dataset:
    if samples is None:
        return dataset
    chosen = stratified_sample(dataset.train.labels, samples, seed, dataset.classes)
    part = Dataset.from_splits(dataset.train.take(chosen), dataset.test, dataset.classes, scale=dataset.scale)
    if "normalization" in vars(dataset):
        part.normalization = dataset.normalization
    return part


def _readable(path: Path) -> bool:
    try:
        return (path.is_file() or path.is_dir()) and os.access(path, os.R_OK)
    except OSError:  # a folder on the way that may not be entered
        return False


def _checked_size(image_size: int | tuple[int, int] | None) -> tuple[int, int] | None:
    if image_size is None:
        return None
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or min(size) < 1:
        raise ConfigError(f"image_size is {image_size}; allowed is a side or (height, width), each 1 or more")
    return size


def _check_share(name: str, share: float, allowed: bool, range_text: str) -> None:
    if not allowed:
        raise ConfigError(f"{name} is {share}; allowed is {range_text}")
