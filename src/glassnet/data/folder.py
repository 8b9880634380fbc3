"""Images in folders: one folder for each class, or train/ and test/ with such folders."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glassnet.data.dataset import Dataset, Split
from glassnet.data.decode import decode_images
from glassnet.data.image_file import ImageFile
from glassnet.data.image_form import ImageForm
from glassnet.data.scan import scan_images
from glassnet.data.splitting import stratified_sample, stratified_sample_of_at_most, stratified_split
from glassnet.errors import ConfigError, DataError

_MAX_UNRESIZED_SIDE = 256  # pixels: larger images are resized only to a size that the user chose
_SET_SIZE = "Set image_size (--image-size), for example 64."
_SYSTEM_FILES = ("thumbs.db", "desktop.ini", "__macosx")

Size = tuple[int, int]


@dataclass(frozen=True)
class _FileList:
    """The files of one split, class after class."""

    classes: list[str]
    paths: list[Path]
    labels: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64]) -> _FileList:
        return _FileList(self.classes, [self.paths[index] for index in indices], self.labels[indices])


def read_folder(
    folder: Path,
    image_size: Size | None,
    channels: int | None,
    samples: int | None,
    max_test: int | None,
    seed: int,
    test_size: float,
    max_unreadable: float,
    ink: bool,
) -> Dataset:
    """Read the images of a folder, with the arguments of load_data. Files are selected first; only those are decoded.

    :param max_test: largest number of test images; None for all.
    :raises DataError: if the folder has no such layout, or more unreadable images than allowed.
    :raises ConfigError: if image_size is needed but missing, or samples cannot be drawn.
    """
    train, test = _sample(*_select_splits(folder, test_size, seed), samples, max_test, seed)
    lists = [train] if test is train else [train, test]
    paths = [path for files in lists for path in files.paths]
    size, channels = _size_and_channels(folder, paths, image_size, channels)
    decoded = [_decode_files(files, folder, size, channels, ink) for files in lists]
    unreadable = [line for _, lines in decoded for line in lines]
    if len(unreadable) > max_unreadable * len(paths):
        raise DataError(
            f"{folder} must have at most {max_unreadable:.2%} unreadable images. Got {len(unreadable)} of {len(paths)} "
            f"(first: {unreadable[0]}). Remove them or raise max_unreadable (--max-unreadable)."
        )
    for files, (split, _) in zip(lists, decoded, strict=True):
        _check_classes_remain(files, split)
    dataset = Dataset.from_splits(decoded[0][0], decoded[-1][0], train.classes)
    dataset.unreadable_files = unreadable
    return dataset


def _select_splits(folder: Path, test_size: float, seed: int) -> tuple[_FileList, _FileList]:
    """Select the files of both splits, the same for both if all are test images."""
    train, test = _list_splits(folder)
    if train and test:
        return train, test
    if test_size == 1 and (files := train or test):
        return files, files
    if train is None:
        raise DataError(f"{folder} must have train beside test. Got test alone, which can be evaluated only.")
    kept, held_out = stratified_split(train.labels, test_size, seed, train.classes)
    return train.take(kept), train.take(held_out)


def _sample(
    train: _FileList, test: _FileList, samples: int | None, max_test: int | None, seed: int
) -> tuple[_FileList, _FileList]:
    """Take a part of each split; if both are the same and limited alike, they stay the same."""
    is_same = train is test and samples == max_test
    if samples is not None:
        train = train.take(stratified_sample(train.labels, samples, seed, train.classes))
    if is_same:
        return train, train
    if max_test is not None:
        test = test.take(stratified_sample_of_at_most(test.labels, max_test, seed))
    return train, test


def _list_splits(folder: Path) -> tuple[_FileList | None, _FileList | None]:
    """List the files of the folder's train and test. Class folders directly in it count as train alone."""
    names = {path.name for path in _visible(folder) if path.is_dir()}
    if names == {"test"} and _has_folders(folder / "test"):
        return None, _list_classes(folder / "test")
    if "train" not in names or not _has_folders(folder / "train"):
        return _list_classes(folder), None
    if unexpected := sorted(names - {"train", "test"}):
        raise DataError(f"{folder} must have no folder but test beside train. Got {', '.join(unexpected)}.")
    train = _list_classes(folder / "train")
    if "test" not in names:
        return train, None
    test = _list_classes(folder / "test")
    if train.classes != test.classes:
        missing = sorted(set(train.classes) - set(test.classes))
        added = sorted(set(test.classes) - set(train.classes))
        raise DataError(
            f"{folder} must have the same classes in train and test. Got {missing} only in train and {added} only in "
            "test."
        )
    return train, test


def _has_folders(folder: Path) -> bool:
    return any(path.is_dir() for path in _visible(folder))


def _list_classes(folder: Path) -> _FileList:
    """List the files of each folder in ``folder``, a class."""
    folders = [path for path in _visible(folder) if path.is_dir()]
    classes = [_nfc_name(path) for path in folders]
    if len(classes) < 2:
        received = f"only {classes[0]!r}" if classes else "none"
        raise DataError(f"{folder} must have at least 2 folders of images, one for each class. Got {received}.")
    files = [_list_images(path) for path in folders]
    labels = np.repeat(np.arange(len(files)), [len(paths) for paths in files])
    return _FileList(classes, [path for paths in files for path in paths], labels)


def _list_images(folder: Path) -> list[Path]:
    files = _visible(folder)
    if nested := next((file.name for file in files if file.is_dir()), None):
        raise DataError(f"{folder} must hold images only, as a class folder. Got the folder {nested!r} in it.")
    if not files:
        raise DataError(f"{folder} must hold images, as a class folder. Got none.")
    return files


def _visible(folder: Path) -> list[Path]:
    """Return the folder's children but hidden and system files, in an order that no operating system changes."""
    try:
        children = list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} must be a folder that can be read. Got: {error.strerror}.") from error
    visible = [path for path in children if not path.name.startswith(".") and path.name.lower() not in _SYSTEM_FILES]
    return sorted(visible, key=lambda path: (unicodedata.normalize("NFC", path.name), path.name))


def _nfc_name(path: Path) -> str:
    """Return the name in Unicode's composed form, as macOS may decompose it."""
    try:
        path.name.encode("utf-8")
    except UnicodeEncodeError:
        raise DataError(f"The name of a class folder must be valid UTF-8. Got {str(path)!a}.") from None
    return unicodedata.normalize("NFC", path.name)


def _size_and_channels(
    folder: Path, paths: Sequence[Path], image_size: Size | None, channels: int | None
) -> tuple[Size, int]:
    """Return the requested size, or else that of all images; and 1 channel if all are gray, else 3."""
    gray = True
    first: tuple[Path, Size] | None = None
    for path, image in zip(paths, scan_images(_as_files(paths)), strict=True):
        if image.problem or not image.is_image:
            continue
        gray = gray and image.is_gray
        first = first or (path, image.size)
        if image_size is None:
            _check_same_size(first, (path, image.size))
    if first is None:
        raise DataError(f"{folder} must have an image that can be read. Got none among {len(paths)} files.")
    return image_size or first[1], channels or (1 if gray else 3)


def _as_files(paths: Sequence[Path]) -> list[ImageFile]:
    return [ImageFile.on_disk(path) for path in paths]


def _check_same_size(first: tuple[Path, Size], other: tuple[Path, Size]) -> None:
    first_text, other_text = (f"{path} of {height}×{width}" for path, (height, width) in (first, other))
    if first[1] != other[1]:
        raise ConfigError(f"Images must have the same size. Got {first_text} and {other_text}. {_SET_SIZE}")
    if max(other[1]) > _MAX_UNRESIZED_SIDE:
        raise ConfigError(
            f"Images must be at most {_MAX_UNRESIZED_SIDE} pixels high and wide. Got {other_text}. {_SET_SIZE}"
        )


def _decode_files(files: _FileList, folder: Path, size: Size, channels: int, ink: bool) -> tuple[Split, list[str]]:
    """Decode the images that can be read, and return a line for each of the others."""
    images, failures = decode_images(_as_files(files.paths), ImageForm(size, channels), ink)
    lines = (f"{files.paths[i].relative_to(folder).as_posix()}: {reason}" for i, reason in sorted(failures.items()))
    # A file name that is not valid UTF-8 must not stop what prints or stores the line.
    unreadable = [line.encode("utf-8", "replace").decode("utf-8") for line in lines]
    return Split(images, np.delete(files.labels, list(failures))), unreadable


def _check_classes_remain(files: _FileList, split: Split) -> None:
    lost = np.setdiff1d(files.labels, split.labels)
    if len(lost):
        path = files.paths[int(np.flatnonzero(files.labels == lost[0])[0])].parent
        raise DataError(f"{path} must have a readable image among the selected ones. Got none.")
