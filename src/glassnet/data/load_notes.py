"""Notes on image files that were loaded: sentences that a training shows once and its run keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from glassnet.data.files.labeled_files import LabeledFiles
from glassnet.data.files.listing import N_NAMED, name_some
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.scan import Scans
from glassnet.data.selection import Images

_NOTED_CUT = 0.2  # fraction of an image's pixels


def note_other_files(labeled: LabeledFiles, scans: Scans) -> list[str]:
    """Return notes on the files that are no images, and on folders that have no other files."""
    is_image = scans.has("is_image")
    names = [*labeled.other_files, *(labeled.files[index].name for index in np.flatnonzero(~is_image).tolist())]
    with_images = set(compress(labeled.labels, is_image.tolist()))
    notes = []
    if names:
        notes.append(f"Files that are no images were left out: {len(names):,} ({name_some(names)}).")
    if without := sorted({*labeled.labels} - with_images):
        notes.append(f"Classes without an image were left out: {len(without)} ({name_some(without)}).")
    return notes


def note_labels(images: Images, classes: Sequence[str]) -> list[str]:
    """Return notes on equal images under two labels, and on classes whose names differ in case only."""
    notes = []
    if pairs := _pairs_with_two_labels(images):
        places = [
            " and ".join(f"{images.files[i].name} ({classes[images.labels[i]]})" for i in pair)
            for pair in pairs[:N_NAMED]
        ]
        notes.append(f"Images with two labels, {len(pairs):,} in all: {'; '.join(places)}.")
    spellings = Counter(name.casefold() for name in classes)
    if same := [name for name in classes if spellings[name.casefold()] > 1]:
        notes.append(f"Classes whose names differ in case only are kept apart: {name_some(same)}.")
    return notes


def _pairs_with_two_labels(images: Images) -> list[tuple[int, int]]:
    """Return for each content with two labels the first image that has it, and the first of another label."""
    words = np.ascontiguousarray(images.hashes).view("<u8")
    order = np.lexsort((*words.T,))  # keeps equal ones in their order
    is_next = (words[order[1:]] == words[order[:-1]]).all(axis=1)
    first = order[np.maximum.accumulate(np.where(np.append(False, is_next), 0, np.arange(len(order))))]
    pairs: dict[int, int] = {}
    differs = images.labels[first] != images.labels[order]
    for one, other in zip(first[differs].tolist(), order[differs].tolist(), strict=True):
        pairs.setdefault(one, other)
    return sorted(pairs.items(), key=lambda pair: pair[1])


def note_form(train: Images, form: ImageForm, ink: bool) -> list[str]:
    """Return notes on the range of values, and on what the crop of training images cuts away."""
    notes = []
    if form.value_range is not None and train.scans.has("is_deep").any():
        low, high = form.value_range
        notes.append(
            f"16-bit and float images are scaled by one range of values: {low:g} becomes 0 and {high:g} becomes 255."
        )
    if colours := [train.files[index].name for index in np.flatnonzero(train.scans.has("loses_bits")).tolist()]:
        notes.append(
            f"16-bit images in colour are read as the upper 8 bits of each value, as Pillow does: {len(colours):,} "
            f"({name_some(colours)})."
        )
    cut = 1 - float(_kept_fractions(train.scans.sizes.astype(np.float64), form.size).mean())
    if form.fit == "crop" and not ink and cut > _NOTED_CUT:
        notes.append(
            f"The crop to {form.size[0]}×{form.size[1]} cuts away {cut:.0%} of the pixels of a training image on "
            "average. To keep them, set fit to pad or squash (--fit pad)."
        )
    return notes


def _kept_fractions(sizes: NDArray[np.float64], target: tuple[int, int]) -> NDArray[np.float64]:
    """Return the fraction of each image's pixels that a crop to the aspect ratio of the target keeps.

    :param sizes: (N, 2), height and width.
    """
    heights, widths = np.where((sizes == 0).any(axis=1, keepdims=True), target, sizes).T
    ratios = (widths * target[0]) / (heights * target[1])
    fractions: NDArray[np.float64] = np.minimum(ratios, 1 / ratios)
    return fractions
