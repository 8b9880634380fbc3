"""Labelled image files as a Dataset: scanned, split, selected and decoded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from glassnet.data.dataset import Dataset
from glassnet.data.decoding import Decoder, scan_files
from glassnet.data.files.labeled_files import LabeledFiles
from glassnet.data.files.listing import name_some
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.value_range import choose_value_range
from glassnet.data.load_notes import note_form, note_labels, note_other_files
from glassnet.data.load_options import LoadOptions
from glassnet.data.selection import Images, ImageSplits, find_classes, readable_images, sample_splits, select_splits
from glassnet.errors import ConfigError, DataError
from glassnet.formats import pluralize

Range = tuple[float, float] | None

_MAX_UNRESIZED_SIDE = 256  # pixels: larger images are resized only to a size that the user chose
_SET_SIZE = "Set image_size (--image-size), for example 64."
_MIN_UNREADABLE = 3  # files that are allowed however few there are


class _Unreadable:
    """The images that cannot be read, each one line, and their limit."""

    def __init__(self, source: str, n_images: int, max_unreadable: float) -> None:
        self.lines: list[str] = []
        self.source, self.n_images, self.max_unreadable = source, n_images, max_unreadable

    def add(self, lines: Iterable[str]) -> None:
        """Add lines.

        :raises DataError: if there are more than allowed: a fraction of the images, or three if that is more.
        """
        self.lines += lines
        n_allowed = int(max(self.max_unreadable * self.n_images, _MIN_UNREADABLE if self.max_unreadable else 0))
        if len(self.lines) > n_allowed:
            or_few = f" or {_MIN_UNREADABLE}" if self.max_unreadable else ""
            raise DataError(
                f"{self.source} must have at most {pluralize(n_allowed, 'unreadable image')} "
                f"({self.max_unreadable:.2%}{or_few} of {self.n_images:,}). "
                f"Got {len(self.lines):,}: {name_some(self.lines, '; ')}. Remove them or raise "
                "max_unreadable (--max-unreadable)."
            )


def load_files(labeled: LabeledFiles, source: str, place: str, options: LoadOptions) -> tuple[Dataset, Range]:
    """Return the dataset of labelled files, and the range of values that become 0 to 255. Each file is read twice.

    :param source: the folder, archive or table, for errors.
    :param place: its absolute path, or its name on the hub, under which the cache keeps its images.
    :raises DataError: if files, classes or splits cannot be used, or more images than allowed are unreadable.
    :raises ConfigError: if image_size is needed but missing, or samples cannot be drawn.
    """
    scans = scan_files(labeled.files, place, options)
    n_images = int(scans.has("is_image").sum())
    if not n_images:
        raise DataError(f"{source} must hold images. Got no image among {pluralize(len(scans), 'file')}.")
    unreadable = _Unreadable(source, n_images, options.max_unreadable)
    unreadable.add(f"{labeled.files[index].name}: {problem}" for index, problem in sorted(scans.problems.items()))
    classes = find_classes(labeled, scans, source, options.classes)
    images, words = readable_images(labeled, scans, classes, source, options.classes is not None)
    splits = select_splits(images, words, source, classes, options.seed, options.test_size)
    splits = sample_splits(splits, options.samples, options.max_test, options.seed, classes)
    form = _choose_form(splits, options)
    dataset = _decode(splits, form, classes, unreadable, Decoder(place, scans.hashes, options.ink))
    dataset.notes = [
        *labeled.notes,
        *note_other_files(labeled, scans),
        *note_labels(images, classes),
        *note_form(splits.train, form, options.ink),
        *dataset.notes,
    ]
    dataset.unreadable_files = unreadable.lines
    return dataset, form.value_range


def _choose_form(splits: ImageSplits, options: LoadOptions) -> ImageForm:
    """Return the form of the decoded images; what the options leave open follows from the images."""
    size = options.image_size or _common_size(splits.parts)
    channels = options.channels or (1 if all(part.scans.has("is_gray").all() for part in splits.parts) else 3)
    value_range = options.value_range
    if value_range is None and not options.ink and splits.test is not splits.train:
        value_range = choose_value_range(splits.train.scans.quantiles())
    return ImageForm(size, channels, options.fit, value_range, options.max_pixels)


def _common_size(parts: Sequence[Images]) -> tuple[int, int]:
    """Return the (height, width) that all images have.

    :raises ConfigError: if they differ, or are so large that they must be resized.
    """
    height, width = first = tuple(parts[0].scans.sizes[0].tolist())
    for part in parts:
        sizes = part.scans.sizes
        wrong = (sizes != first).any(axis=1) | (sizes.max(axis=1) > _MAX_UNRESIZED_SIDE)
        if not wrong.any():
            continue
        index = int(wrong.argmax())
        texts = [
            f"{images.files[index].name} of {'×'.join(map(str, images.scans.sizes[index]))}"
            for images, index in ((parts[0], 0), (part, index))
        ]
        if tuple(sizes[index].tolist()) != first:
            raise ConfigError(f"Images must have the same size. Got {texts[0]} and {texts[1]}. {_SET_SIZE}")
        raise ConfigError(
            f"Images must be at most {_MAX_UNRESIZED_SIDE} pixels high and wide. Got {texts[1]}. {_SET_SIZE}"
        )
    return height, width


def _decode(
    splits: ImageSplits, form: ImageForm, classes: Sequence[str], unreadable: _Unreadable, decoder: Decoder
) -> Dataset:
    """Decode the images of each split. Those that turn out to be unreadable are left out.

    :raises DataError: if there are too many of them, or no training image of a class remains.
    """
    decoded = []
    for part, (split, failures) in zip(splits.parts, decoder.decode(splits.parts, form), strict=True):
        unreadable.add(f"{part.files[index].name}: {reason}" for index, reason in sorted(failures.items()))
        if not len(split):
            raise DataError(
                f"Each split of {unreadable.source} must have an image that can be read. Got a split of none."
            )
        decoded.append(split)
    train, test, validation = decoded[0], decoded[0], None
    if splits.test is not splits.train:
        test, *rest = decoded[1:]
        validation = rest[0] if rest else None
        if len(absent := np.setdiff1d(np.arange(len(classes)), train.labels)):
            raise DataError(f"Class {classes[absent[0]]!r} must have a readable training image. Got none.")
    return Dataset.from_splits(train, test, classes, validation=validation, test_name=splits.test_name)
