"""The test split, which the content of each image alone decides, and stratified validation splits and samples.

A data set grows, and a run on the old images must be testable on the new ones. So ``is_test_image`` looks at one image
at a time. What is drawn by stratification is drawn from the training images alone, and never crosses that border.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glassnet.data.batches import validate_seed
from glassnet.errors import ConfigError, DataError
from glassnet.formats import pluralize

Indices = NDArray[np.int64]
Hashes = NDArray[np.uint8]  # (N, 16), a content hash for each image

HASH_BYTES = 16
_OWN_SPLIT = "choose the test images yourself (folders train and test, or test_images)"


def content_hash(content: bytes | memoryview) -> bytes:
    """Return the first 16 bytes of the SHA-256 of an image file's bytes."""
    return hashlib.sha256(content).digest()[:HASH_BYTES]


def hash_images(images: NDArray[np.uint8]) -> Hashes:
    """Return the content hashes, (N, 16), of images in memory, uint8 (N, H, W, C).

    Each is that of the image's shape, three little-endian integers of 8 bytes, and its pixels in C order.
    """
    shape = np.array(images.shape[1:], "<i8").tobytes()
    return pack_hashes([content_hash(shape + image.tobytes()) for image in images])


def pack_hashes(hashes: Sequence[bytes]) -> Hashes:
    """Return content hashes of 16 bytes each as an array, (N, 16)."""
    return np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, HASH_BYTES)


def is_test_image(hashes: Hashes, test_size: float, seed: int) -> NDArray[np.bool_]:
    """Return which images, by their content hashes, are test images, (N,).

    An image is one if the first 8 bytes of SHA-256(seed, as 8 little-endian bytes, + content hash), read as a
    big-endian fraction of 2**64, are below ``test_size``. Nothing else counts: no other image, no name, no label and
    no order. So images that are added, removed or renamed move no other one, and equal images are on the same side.
    """
    prefix = validate_seed(seed).to_bytes(8, "little")
    threshold = test_size * 2**64  # exact
    digests = (hashlib.sha256(prefix + row.tobytes()).digest() for row in hashes)
    return np.array([int.from_bytes(digest[:8], "big") < threshold for digest in digests], dtype=bool)


def split_by_hash(
    labels: NDArray[np.int64], hashes: Hashes, test_size: float, seed: int, classes: Sequence[str] | None = None
) -> tuple[Indices, Indices]:
    """Return sorted indices (kept, held_out) of the images that are not, and that are, test images by their hashes.

    The fraction held out of all images, and of each class, is ``test_size`` on average and follows chance.

    :param labels: (N,), as ``hashes`` (N, 16).
    :param classes: the names of the classes for errors, by default their labels.
    :raises ConfigError: if ``test_size`` is outside 0..1, or the seed is out of range.
    :raises DataError: if a class has no training image, or no image at all is a test image.
    """
    _check_fraction("test_size", test_size)
    is_test = is_test_image(hashes, test_size, seed)
    kept, held_out = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    if len(absent := np.setdiff1d(labels, labels[kept])):
        count = np.count_nonzero(labels == absent[0])
        received = "its only image is a test image" if count == 1 else f"all its {count} images are test images"
        raise DataError(
            f"Class {_class_name(absent[0], classes)} must have a training image. Got none: {received}, by the hash "
            f"of its content. Add images of this class, or {_OWN_SPLIT}."
        )
    if not len(held_out):
        raise DataError(
            f"test_size must leave a test image. Got {test_size}, by which none of {pluralize(len(labels), 'image')} "
            f"is one. Add images, or {_OWN_SPLIT}."
        )
    return kept, held_out


def stratified_split(
    labels: NDArray[np.int64],
    fraction: float,
    seed: int,
    classes: Sequence[str] | None = None,
    *,
    name: str = "test_size",
) -> tuple[Indices, Indices]:
    """Return sorted indices (kept, held_out), with the fraction of each class held out as scikit-learn draws it.

    A class with very few images may be missing in the held-out part.

    :param classes: the names of the classes for errors, by default their labels.
    :param name: the name of the fraction in errors.
    :raises ConfigError: if the fraction is outside 0..1.
    :raises DataError: if a class has fewer than two members, if a part would have fewer members than there are
        classes, or if a class would be missing in the kept part.
    """
    _check_fraction(name, fraction)
    values = _check_pairs(labels, classes, f"hold out a {name} of {fraction}")
    n_held_out = math.ceil(fraction * len(labels))
    n_kept = len(labels) - n_held_out
    if min(n_held_out, n_kept) < len(values):
        raise DataError(
            f"{name} must leave an image for each of the {len(values)} classes in both parts. "
            f"Got {fraction}, for parts of {n_kept} and {n_held_out}."
        )
    kept, held_out = map(np.sort, draw_stratified(labels, n_held_out, seed))
    if absent := _absent(values, labels[kept], classes):
        raise DataError(f"{name} must leave an image of class {absent}. Got {fraction}, which leaves none.")
    return kept, held_out


def stratified_sample(
    labels: NDArray[np.int64], samples: int, seed: int, classes: Sequence[str] | None = None
) -> Indices:
    """Return sorted indices of exactly ``samples`` members, each class in proportion.

    :raises ConfigError: if that number cannot be drawn.
    :raises DataError: if a class would be missing.
    """
    count = len(labels)
    if samples == count:
        return np.arange(count, dtype=np.int64)
    fewest = len(np.unique(labels))
    if not fewest <= samples <= count - fewest:
        raise ConfigError(
            f"samples must be from {fewest}, the number of classes, to {count - fewest}, or all {count} images. "
            f"Got {samples}."
        )
    values = _check_pairs(labels, classes, "take samples")
    drawn = np.sort(draw_stratified(labels, samples, seed)[1])
    if absent := _absent(values, labels[drawn], classes):
        raise DataError(f"samples must take an image of class {absent}. Got {samples} of {count}, which take none.")
    return drawn


def stratified_sample_of_at_most(labels: NDArray[np.int64], max_count: int, seed: int) -> Indices:
    """Return sorted indices of at most ``max_count`` members, each class in proportion; all if there are no more.

    Unlike in ``stratified_sample``, the smallest classes may be missing.
    """
    if max_count >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    return np.sort(draw_stratified(labels, max_count, seed)[1])


def draw_stratified(labels: NDArray[np.int64], size: int, seed: int) -> tuple[Indices, Indices]:
    """Draw ``size`` members, each class in proportion, and return the indices (kept, drawn), both in random order.

    The same indices, in the same order, as scikit-learn's ``train_test_split(stratify=labels)``, whose import alone
    takes 2.5 s. NumPy never changes the numbers of its legacy ``RandomState``, which both draw from.
    """
    rng = np.random.RandomState(validate_seed(seed))
    _, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    n_kept = _apportion(counts, len(labels) - size, rng)
    n_drawn = _apportion(counts - n_kept, size, rng)
    classes = np.split(np.argsort(class_of, kind="stable"), np.cumsum(counts)[:-1])
    kept, drawn = [], []
    for members, start, count in zip(classes, n_kept, n_drawn, strict=True):
        shuffled = members[rng.permutation(len(members))]
        kept.append(shuffled[:start])
        drawn.append(shuffled[start : start + count])
    return rng.permutation(np.concatenate(kept)), rng.permutation(np.concatenate(drawn))


def _apportion(counts: Indices, total: int, rng: np.random.RandomState) -> Indices:
    """Divide ``total`` in the proportions of ``counts`` by largest remainders; equal remainders are drawn by lot."""
    exact = counts / counts.sum() * total
    shares: Indices = np.floor(exact).astype(np.int64)
    remainders = exact - shares
    missing = int(total - shares.sum())
    for remainder in np.unique(remainders)[::-1]:
        if missing == 0:
            break
        equal = np.flatnonzero(remainders == remainder)
        incremented = rng.choice(equal, min(len(equal), missing), replace=False)
        shares[incremented] += 1
        missing -= len(incremented)
    return shares


def _check_fraction(name: str, fraction: float) -> None:
    if not isinstance(fraction, int | float | np.floating) or not 0 < fraction < 1:
        raise ConfigError(f"{name} must be a number above 0 and below 1. Got {fraction!r}.")


def _check_pairs(labels: NDArray[np.int64], classes: Sequence[str] | None, purpose: str) -> Indices:
    """Return the labels in use.

    :raises DataError: if a class has one member only.
    """
    values, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        rarest = _class_name(values[counts.argmin()], classes)
        raise DataError(f"Class {rarest} must have at least 2 images to {purpose}. Got 1.")
    return values


def _absent(values: Indices, labels: NDArray[np.int64], classes: Sequence[str] | None) -> str | None:
    """Return the name of the first class without a label, if there is one."""
    return next((_class_name(value, classes) for value in np.setdiff1d(values, labels)), None)


def _class_name(value: np.int64, classes: Sequence[str] | None) -> str:
    return repr(str(value) if classes is None else classes[int(value)])
