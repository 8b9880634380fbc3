"""Sources of images: a name, a folder, a file, or a data set of the Hugging Face hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from glassnet.data.array_sources import NAMES, load_arrays
from glassnet.data.dataset import TEST_SIZE, Dataset
from glassnet.data.files.archive import is_archive, list_archive
from glassnet.data.files.arrow_files import find_arrow_files, list_arrow_files
from glassnet.data.files.file_finder import FileFinder
from glassnet.data.files.folder import list_folder
from glassnet.data.files.hub import is_hub_name, is_saved, list_hub, list_saved
from glassnet.data.files.image_file import ImageFile
from glassnet.data.files.labeled_files import LabeledFiles, label_files, label_tables
from glassnet.data.files.listing import Listing
from glassnet.data.files.table import is_table_name
from glassnet.data.idx import find_idx
from glassnet.data.images.image_form import MAX_PIXELS, Fit
from glassnet.data.images.ink import SIZE
from glassnet.data.load_options import DATA_SEED, MAX_UNREADABLE, LoadOptions
from glassnet.data.loading import load_files
from glassnet.errors import ConfigError, DataError, as_path, did_you_mean


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
    path, name = as_path("source", source), str(source)
    options = LoadOptions(
        image_size=image_size,  # type: ignore[arg-type]  # a side becomes a pair
        channels=channels,
        fit=fit,
        value_range=value_range,
        classes=classes,
        samples=samples,
        test_samples=test_samples,
        seed=seed,
        test_size=test_size,
        max_unreadable=max_unreadable,
        max_pixels=max_pixels,
        ink=name == "digits" if ink is None else bool(ink),
    )
    is_file = name not in NAMES and bool(name) and _is_readable(path)
    is_hub = name not in NAMES and not is_file and is_hub_name(name)
    if name not in NAMES and not is_file and not is_hub:
        raise DataError(
            f"source must be {', '.join(NAMES)}, a readable folder or file of images, or a data set of the Hugging "
            f"Face hub (owner/name). Got {name!r}{did_you_mean(name, NAMES)}"
        )
    place = str(path.resolve()) if is_file else name
    idx_files = find_idx(path) if is_file else None
    if name in NAMES or idx_files:
        dataset = load_arrays(name, idx_files, options)
    else:
        if options.ink:
            options = replace(options, image_size=options.image_size or (SIZE, SIZE), channels=channels or 1)
        labeled = _list_files(name if is_hub else str(path), is_hub, classes)
        dataset, used_range = load_files(labeled, name, place, options)
        options = replace(options, value_range=used_range)
    _check_conversions(options, dataset, name)
    dataset.source = options.to_source(place, dataset)
    return dataset


def is_converted(source: str | os.PathLike[str]) -> bool:
    """Whether the images of a source are converted to a size and a number of channels; those of arrays are not.

    :raises ConfigError: if the source is no path.
    """
    path = as_path("source", source)
    return str(source) not in NAMES and not (_is_readable(path) and find_idx(path))


def _list_files(source: str, is_hub: bool, classes: Sequence[str] | None) -> LabeledFiles:
    """List the image files of a source, with their classes and splits."""
    path = Path(source)
    listing = list_hub(source) if is_hub else _list_on_disk(path)
    if listing is None:
        return label_tables([ImageFile.on_disk(path, path.name)], source, FileFinder.on_disk(path.parent))
    finder = FileFinder.on_disk(path) if path.is_dir() else FileFinder.among(listing.files)
    return label_files(listing, source, finder, classes)


def list_files(source: str) -> Sequence[ImageFile]:
    """Return the files of a source that may be images.

    :param source: the path of the source, or its name on the hub.
    :raises DataError: if they cannot be listed.
    """
    return _list_files(source, not Path(source).exists(), None).files


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


def _check_conversions(options: LoadOptions, dataset: Dataset, name: str) -> None:
    for option in ("image_size", "channels"):
        requested, actual = getattr(options, option), getattr(dataset, option)
        if requested not in (None, actual):
            raise ConfigError(
                f"{option} must be {actual}, as the images of {name!r} have it; only a folder's images are converted. "
                f"Got {requested}."
            )
    if options.ink and (*dataset.image_size, dataset.channels) != (SIZE, SIZE, 1):
        raise ConfigError(f"ink must be False for images other than gray ones of {SIZE}×{SIZE}. Got True for {name!r}.")


def _is_readable(path: Path) -> bool:
    try:
        return (path.is_file() or path.is_dir()) and os.access(path, os.R_OK)
    except OSError:  # a folder on the way that may not be entered
        return False
