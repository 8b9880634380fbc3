"""Notes on image files that were loaded: sentences that a training shows once and its run keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from glassnet.data.files.labeled_files import LabeledFiles
from glassnet.data.files.listing import N_NAMED, name_some
from glassnet.data.images.image_form import ImageForm
from glassnet.data.images.scan import ScannedImage
from glassnet.data.selection import Images

_NOTED_CUT = 0.2  # fraction of an image's pixels


def note_other_files(labeled: LabeledFiles, scans: Sequence[ScannedImage]) -> list[str]:
    """Return notes on the files that are no images, and on folders that have no other files."""
    others = [file.name for file, scan in zip(labeled.files, scans, strict=True) if not scan.is_image]
    names = [*labeled.other_files, *others]
    with_images = {label for label, scan in zip(labeled.labels, scans, strict=True) if scan.is_image}
    notes = []
    if names:
        notes.append(f"Files that are no images were left out: {len(names):,} ({name_some(names)}).")
    if without := sorted({*labeled.labels} - with_images):
        notes.append(f"Classes without an image were left out: {len(without)} ({name_some(without)}).")
    return notes


def note_labels(images: Images, classes: Sequence[str]) -> list[str]:
    """Return notes on equal images under two labels, and on classes whose names differ in case only."""
    notes = []
    first: dict[bytes, int] = {}
    pairs: dict[bytes, str] = {}
    for index, digest in enumerate(map(bytes, images.hashes)):
        other = first.setdefault(digest, index)
        if images.labels[other] != images.labels[index]:
            places = (f"{images.files[i].name} ({classes[images.labels[i]]})" for i in (other, index))
            pairs.setdefault(digest, " and ".join(places))
    if pairs:
        notes.append(f"Images with two labels, {len(pairs):,} in all: {'; '.join(list(pairs.values())[:N_NAMED])}.")
    spellings = Counter(name.casefold() for name in classes)
    if same := [name for name in classes if spellings[name.casefold()] > 1]:
        notes.append(f"Classes whose names differ in case only are kept apart: {name_some(same)}.")
    return notes


def note_form(train: Images, form: ImageForm, ink: bool) -> list[str]:
    """Return notes on the range of values, and on what the crop of training images cuts away."""
    notes = []
    if form.value_range is not None and any(scan.is_deep for scan in train.scans):
        low, high = form.value_range
        notes.append(
            f"16-bit and float images are scaled by one range of values: {low:g} becomes 0 and {high:g} becomes 255."
        )
    if colours := [file.name for file, scan in zip(train.files, train.scans, strict=True) if scan.loses_bits]:
        notes.append(
            f"16-bit images in colour are read as the upper 8 bits of each value, as Pillow does: {len(colours):,} "
            f"({name_some(colours)})."
        )
    cut = 1 - float(np.mean([_kept_fraction(scan.size, form.size) for scan in train.scans]))
    if form.fit == "crop" and not ink and cut > _NOTED_CUT:
        notes.append(
            f"The crop to {form.size[0]}×{form.size[1]} cuts away {cut:.0%} of the pixels of a training image on "
            "average. To keep them, set fit to pad or squash (--fit pad)."
        )
    return notes


def _kept_fraction(size: tuple[int, int], target: tuple[int, int]) -> float:
    """Return the fraction of an image's pixels that a crop to the aspect ratio of the target keeps."""
    if 0 in size:
        return 1.0
    ratio = (size[1] * target[0]) / (size[0] * target[1])
    return min(ratio, 1 / ratio)
