"""Sources of images: a name, a folder or a file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from glassnet.data.archive import is_archive, list_archive
from glassnet.data.arrow_files import find_arrow_files, list_arrow_files
from glassnet.data.batches import validate_seed
from glassnet.data.dataset import TEST_SIZE, Dataset, Split
from glassnet.data.file_finder import FileFinder
from glassnet.data.folder import list_folder
from glassnet.data.hub import is_hub_name, is_saved, list_hub, list_saved
from glassnet.data.idx import find_idx, read_idx_pair
from glassnet.data.image_file import ImageFile
from glassnet.data.image_form import MAX_PIXELS, Fit, ImageForm, check_file_channels, check_image_size
from glassnet.data.ink import SIZE
from glassnet.data.labeled_files import LabeledFiles, label_files, label_tables
from glassnet.data.listing import Listing
from glassnet.data.loading import LoadOptions, load_files
from glassnet.data.normalization import Normalization
from glassnet.data.splitting import (
    draw_stratified,
    split_by_hash,
    stratified_sample,
    stratified_sample_of_at_most,
)
from glassnet.data.table import is_table_name
from glassnet.errors import ConfigError, DataError, as_path, did_you_mean

DATA_SEED = 42  # of the split; the training has a seed of its own
MAX_UNREADABLE = 0.01

NAMES = ("digits", "fashion-mnist")
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
    fit: Fit = "crop",
    value_range: tuple[float, float] | None = None,
    classes: Sequence[str] | None = None,
    samples: int | None = None,
    test_samples: int | Literal["all"] | None = None,
    seed: int = DATA_SEED,
    test_size: float = TEST_SIZE,
    max_unreadable: float = MAX_UNREADABLE,
    max_pixels: int = MAX_PIXELS,
    ink: bool | None = None,
) -> Dataset:
    """Load images from a source; ``load_data(**dataset.source)`` loads the same again.

    :param source: "digits", scikit-learn's, always split into the same 1,347 and 450;
        "fashion-mnist", from GLASSNET_DATA, or from where Debian's package installs it;
        a folder of IDX files, or one IDX images file (its labels, and test files if there are any, beside it);
        a folder with one folder of images for each class, or train, val and test of those; a table (CSV, TSV or
        Parquet) of paths and labels; a zip or tar archive of either; Arrow or Parquet files with images in a column,
        or what `datasets` saved to disk; a data set of the Hugging Face hub, "owner/name" or "hf:name:config". A
        folder named like one of the two data sets is written "./digits".
    :param image_size: side, or (height, width), in pixels, to which a folder's images are resized and cropped. None
        keeps a size that all have, up to 256 pixels. The other sources have a size of their own.
    :param channels: 1 or 3, to which a folder's images are converted; None is 1 if all are gray, else 3.
    :param fit: how a file's image of another aspect ratio is brought to the size: "crop" cuts off what is too much
        around the middle, "pad" adds black bars, "squash" changes the aspect ratio.
    :param value_range: the values of 16-bit, int32 and float images that become 0 and 255. None measures one range
        on the training images.
    :param classes: class names of image files in their order, of which the source may have a part, as for images to
        evaluate a run on. Default: those of the training images.
    :param samples: number of training images, in the proportions of the classes.
    :param test_samples: largest number of test images, in the proportions of the classes, or "all". Default: as many
        as ``samples``.
    :param seed: seed of both samples, and of the hash that makes test images if a source has none.
    :param test_size: fraction of the images that become test images, on average, if a source has none: those whose
        content hash is below it, so that no image that is added or removed moves another one. 1 is for images that
        are evaluated and not trained on: all of them are the test split, and ``train`` holds the same ones. A folder
        may then have test/ alone.
    :param max_unreadable: largest fraction of the image files that may be unreadable, or three files if that is more;
        0 allows none. They are listed. Files that are no images do not count.
    :param max_pixels: largest width · height of an image file in pixels.
    :param ink: whether image files are drawn digits, to be found and brought to the form of the built-in digits
        (8×8, gray). A folder's images are when this is True; for "digits" it is the default and says how the files
        given to predict will be read.
    :raises DataError: if images or files cannot be used.
    :raises ConfigError: if an argument is out of range.
    """
    size = None if image_size is None else check_image_size(image_size)
    check_file_channels(channels or 1)
    ImageForm(size or (1, 1), channels or 1, fit, value_range, max_pixels)  # for its checks
    value_range = None if value_range is None else (float(value_range[0]), float(value_range[1]))
    _check_arguments(classes, samples, test_samples, seed, test_size, max_unreadable)
    path, name = as_path("source", source), str(source)
    is_file = bool(name) and _is_readable(path)
    is_hub = not is_file and is_hub_name(name)
    if name not in NAMES and not is_file and not is_hub:
        raise DataError(
            f"source must be {', '.join(NAMES)}, a readable folder or file of images, or a data set of the Hugging "
            f"Face hub (owner/name). Got {name!r}{did_you_mean(name, NAMES)}"
        )
    ink = name == "digits" if ink is None else bool(ink)
    max_test = samples if test_samples is None else None if test_samples == "all" else int(test_samples)
    if name == "digits":
        dataset = _sample(_digits(), samples, max_test, seed)
    elif name == "fashion-mnist":
        dataset = _sample(_idx(*_fashion_files(), _FASHION_CLASSES, seed, test_size), samples, max_test, seed)
    elif is_file and (files := find_idx(path)):
        dataset = _sample(_idx(*files, None, seed, test_size), samples, max_test, seed)
    else:
        size, channels = (size or (SIZE, SIZE), channels or 1) if ink else (size, channels)
        options = LoadOptions(
            size,
            channels,
            fit,
            value_range,
            classes,
            samples,
            max_test,
            seed,
            test_size,
            max_unreadable,
            max_pixels,
            ink,
        )
        dataset, value_range = load_files(_list_files(name if is_hub else str(path), is_hub, classes), name, options)
    _check_conversion("image_size", size, dataset.image_size, name)
    _check_conversion("channels", channels, dataset.channels, name)
    if ink and (*dataset.image_size, dataset.channels) != (SIZE, SIZE, 1):
        raise ConfigError(f"ink must be False for images other than gray ones of {SIZE}×{SIZE}. Got True for {name!r}.")
    dataset.source = {
        "source": name if name in NAMES or is_hub else str(path.resolve()),
        "image_size": list(dataset.image_size),
        "channels": channels,
        "fit": fit,
        "value_range": None if value_range is None else list(value_range),
        "samples": samples,
        "test_samples": max_test or "all",
        "seed": seed,
        "test_size": test_size,
        "max_unreadable": max_unreadable,
        "max_pixels": max_pixels,
        "ink": ink,
    }
    return dataset


def _list_files(source: str, is_hub: bool, classes: Sequence[str] | None) -> LabeledFiles:
    """List the image files of a source, with their classes and splits."""
    path = Path(source)
    listing = list_hub(source) if is_hub else _list_on_disk(path)
    if listing is None:
        return label_tables([ImageFile.on_disk(path, path.name)], source, FileFinder.on_disk(path.parent))
    finder = FileFinder.on_disk(path) if path.is_dir() else FileFinder.among(listing.files)
    return label_files(listing, source, finder, classes)


def _list_on_disk(path: Path) -> Listing | None:
    """List the files of a folder or an archive, or the images in Arrow and Parquet files; None for a table of paths."""
    if is_saved(path):
        return list_saved(path)
    listing = list_folder(path) if path.is_dir() else None
    if arrow_files := find_arrow_files(path, listing):
        return list_arrow_files(path, arrow_files)
    if listing or is_table_name(path.name):
        return listing
    if is_archive(path):
        return list_archive(path)
    raise DataError(
        f"{path} must be a folder, a table (.csv, .tsv, .parquet), an archive (zip or tar), Arrow or Parquet data with "
        "images in it, or an IDX images file (train-images-idx3-ubyte.gz). Got another file."
    )


def _check_arguments(
    classes: Any,
    samples: int | None,
    test_samples: int | str | None,
    seed: int,
    test_size: float,
    max_unreadable: float,
) -> None:
    validate_seed(seed)
    if classes is not None and not (
        isinstance(classes, list | tuple) and {*map(type, classes)} == {str} and len({*classes}) == len(classes)
    ):
        raise ConfigError(f"classes must be a list of different names. Got {classes!r}.")
    if not isinstance(test_size, int | float) or not 0 < test_size <= 1:
        raise ConfigError(f"test_size must be above 0 and at most 1. Got {test_size!r}.")
    if not isinstance(max_unreadable, int | float) or not 0 <= max_unreadable <= 1:
        raise ConfigError(f"max_unreadable must be from 0 to 1. Got {max_unreadable!r}.")
    if samples is not None and (not isinstance(samples, int | np.integer) or samples < 1):
        raise ConfigError(f"samples must be an integer of at least 1. Got {samples!r}.")
    if test_samples not in (None, "all") and (not isinstance(test_samples, int | np.integer) or test_samples < 1):
        raise ConfigError(f"test_samples must be an integer of at least 1 or 'all'. Got {test_samples!r}.")


def _check_conversion(option: str, requested: object, actual: object, name: str) -> None:
    if requested not in (None, actual):
        raise ConfigError(
            f"{option} must be {actual}, as the images of {name!r} have it; only a folder's images are converted. "
            f"Got {requested}."
        )


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


def _is_readable(path: Path) -> bool:
    try:
        return (path.is_file() or path.is_dir()) and os.access(path, os.R_OK)
    except OSError:  # a folder on the way that may not be entered
        return False
