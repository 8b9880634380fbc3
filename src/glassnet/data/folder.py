"""Images in folders: one folder for each class, or train/ and test/ of those."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glassnet.data.dataset import Dataset, Split
from glassnet.data.decode import decode_images, read_image_headers
from glassnet.data.splitting import stratified_sample, stratified_split
from glassnet.errors import ConfigError, DataError

_LARGEST_UNASKED = 256  # pixels: larger images are resized only to a size that somebody chose
_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")


@dataclass(frozen=True)
class _Listing:
    """The files of one split, class after class."""

    classes: list[str]
    paths: list[Path]
    labels: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64]) -> _Listing:
        return _Listing(self.classes, [self.paths[index] for index in indices], self.labels[indices])


def read_folder(
    folder: Path,
    *,
    image_size: tuple[int, int] | None,
    channels: int | None,
    samples: int | None,
    seed: int,
    test_size: float,
    max_unreadable: float,
) -> Dataset:
    """The images of a folder; load_data says what is allowed. Files are chosen first: only those are decoded."""
    train, test = _chosen(folder, test_size, seed)
    if samples is not None:
        train = train.take(stratified_sample(train.labels, samples, seed, train.classes))
    listings = [train] if test is train else [train, test]
    paths = [path for listing in listings for path in listing.paths]
    size, channels = _size_and_channels(folder, paths, image_size, channels)
    decoded = [_decoded(listing, folder, size, channels) for listing in listings]
    splits, skipped = [split for split, _ in decoded], [line for _, lines in decoded for line in lines]
    count = len(paths)
    if len(skipped) > max_unreadable * count:
        raise DataError(
            f"{folder}: {len(skipped)} of {count} images cannot be read, {len(skipped) / count:.2%}; allowed is "
            f"{max_unreadable:.2%} (max_unreadable; --max-unreadable of train and doctor); the first is {skipped[0]}"
        )
    for listing, split in zip(listings, splits, strict=True):
        _check_classes_remain(listing, split)
    dataset = Dataset.from_splits(splits[0], splits[-1], train.classes)
    dataset.skipped = skipped
    return dataset


def _chosen(folder: Path, test_size: float, seed: int) -> tuple[_Listing, _Listing]:
    """The files of both splits, the same for both where all are test images."""
    train, test = _listed(folder)
    if train and test:
        return train, test
    if test_size == 1 and (every := train or test):
        return every, every
    if train is None:
        raise DataError(f"{folder}: has test alone; to train, train is needed beside it")
    rest, held_out = stratified_split(train.labels, test_size, seed, train.classes)
    return train.take(rest), train.take(held_out)


def _listed(folder: Path) -> tuple[_Listing | None, _Listing | None]:
    """The files of the folder's train and test. Class folders directly in it count as train alone."""
    names = {path.name for path in _visible(folder) if path.is_dir()}
    if names == {"test"} and _has_folders(folder / "test"):
        return None, _list_classes(folder / "test")
    if "train" not in names or not _has_folders(folder / "train"):
        return _list_classes(folder), None
    others = sorted(names - {"train", "test"})
    if others:
        raise DataError(f"{folder}: has train and {', '.join(others)}; beside train only test is allowed")
    train = _list_classes(folder / "train")
    if "test" not in names:
        return train, None
    test = _list_classes(folder / "test")
    if train.classes != test.classes:
        missing = sorted(set(train.classes) - set(test.classes))
        added = sorted(set(test.classes) - set(train.classes))
        raise DataError(
            f"{folder}: train and test must have the same classes; only in train: {missing}, only in test: {added}"
        )
    return train, test


def _has_folders(folder: Path) -> bool:
    return any(path.is_dir() for path in _visible(folder))


def _list_classes(folder: Path) -> _Listing:
    """One class for each folder in it. Names are compared in Unicode's composed form, as macOS may decompose."""
    folders = [path for path in _visible(folder) if path.is_dir()]
    classes = [_composed(path) for path in folders]
    if len(classes) < 2:
        found = f"only the class folder {classes[0]!r}" if classes else "no class folder"
        raise DataError(f"{folder}: has {found}; at least 2 are needed, one folder of images for each class")
    paths: list[Path] = []
    labels: list[int] = []
    for label, path in enumerate(folders):
        files = _visible(path)
        nested = next((file for file in files if file.is_dir()), None)
        if nested:
            raise DataError(f"{nested}: is a folder in a class folder; allowed there are images only")
        if not files:
            raise DataError(f"{path}: the class folder is empty; each class needs images")
        paths += files
        labels += [label] * len(files)
    return _Listing(classes, paths, np.array(labels, np.int64))


def _visible(folder: Path) -> list[Path]:
    """What the folder holds but for hidden and system files, in an order that no operating system changes."""
    try:
        children = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    shown = [path for path in children if not path.name.startswith(".") and path.name.lower() not in _SYSTEM_FILES]
    return sorted(shown, key=lambda path: (unicodedata.normalize("NFC", path.name), path.name))


def _composed(path: Path) -> str:
    try:
        path.name.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"{str(path)!a}: the name of a class folder must be valid UTF-8") from None
    return unicodedata.normalize("NFC", path.name)


def _size_and_channels(
    folder: Path, paths: Sequence[Path], image_size: tuple[int, int] | None, channels: int | None
) -> tuple[tuple[int, int], int]:
    """What was asked for, or else the size of all images; 1 channel if all are gray, else 3."""
    gray = True
    first: tuple[Path, tuple[int, int]] | None = None
    for path, size, is_gray in read_image_headers(paths):
        gray = gray and is_gray
        first = first or (path, size)
        if image_size is None:
            _check_alike(first, (path, size))
        elif channels or not gray:
            break
    if first is None:
        raise DataError(f"{folder}: none of its {len(paths)} files is an image that can be read")
    return image_size or first[1], channels or (1 if gray else 3)


def _check_alike(first: tuple[Path, tuple[int, int]], other: tuple[Path, tuple[int, int]]) -> None:
    if first[1] != other[1]:
        found = " and ".join(f"{path} is {height}×{width}" for path, (height, width) in (first, other))
        raise ConfigError(f"the images differ in size ({found}): set image_size (--image-size), for example 64")
    height, width = other[1]
    if max(height, width) > _LARGEST_UNASKED:
        raise ConfigError(
            f"{other[0]} is {height}×{width}: for images above {_LARGEST_UNASKED} pixels set image_size "
            "(--image-size), for example 64"
        )


def _decoded(listing: _Listing, folder: Path, size: tuple[int, int], channels: int) -> tuple[Split, list[str]]:
    images, failures = decode_images(listing.paths, size, channels)
    labels = np.delete(listing.labels, list(failures))
    skipped = [
        f"{listing.paths[index].relative_to(folder).as_posix()}: {reason}" for index, reason in sorted(failures.items())
    ]
    # A file name that is not valid UTF-8 must not stop whoever prints or stores the line.
    skipped = [line.encode("utf-8", "replace").decode("utf-8") for line in skipped]
    return Split(images, labels), skipped


def _check_classes_remain(listing: _Listing, split: Split) -> None:
    lost = np.setdiff1d(listing.labels, split.labels)
    if len(lost):
        path = listing.paths[int(np.flatnonzero(listing.labels == lost[0])[0])].parent
        raise DataError(f"{path}: none of the images chosen from it can be read; each class needs some")
