"""What can be said of images and labels before any training: copies, blanks, and neighbours that disagree."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import Dataset

NEIGHBOURS = 10
_MOST_ASKED, _MOST_NEIGHBOURS, _MOST_PIXELS = 1500, 4000, 1024  # keep the distances of a large set to seconds
_MOST_MEASURED = 400  # of which the number of dimensions hardly moves any more


@dataclass(frozen=True)
class Copies:
    """How often images of a data set, to the byte, stand elsewhere in it; blank ones are left out."""

    in_training: float  # share of the training images that are copies of an earlier one of the same class
    in_both: float  # share of the test images that stand in the training split, too
    pair: tuple[int, int]  # the two classes that have most images in common
    in_pair: float  # share of the smaller one's images that stand in the other class, too


@dataclass(frozen=True)
class Neighbours:
    """What the nearest training images of a training image, itself and its copies apart, say of its label."""

    agreement: float  # share of images whose neighbours' commonest label is their own
    chance: float  # what neighbours of random labels would reach
    contradicted: float  # of images with a clear neighbourhood, the share that bears another label
    clear: float  # share of images whose neighbourhood is clear: one label has at least 7 of 10
    asked: int
    dimensions: float  # in which the images differ, whatever their labels


def blank(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which images (N, H, W, C) have a single colour."""
    flat: NDArray[np.bool_] = (images == images[:, :1, :1]).all(axis=(1, 2, 3))
    return flat


def copies(data: Dataset) -> Copies:
    """Exact copies within the training split, across the splits and across classes."""
    keys = [_digests(split.images) for split in (data.train, data.test)]
    labels = [split.labels for split in (data.train, data.test)]
    full = [~blank(split.images) for split in (data.train, data.test)]
    train, test = ([key for key, kept in zip(k, f, strict=True) if kept] for k, f in zip(keys, full, strict=True))
    own = list(zip(train, labels[0][full[0]].tolist(), strict=True))
    by_class: list[set[bytes]] = [set() for _ in data.classes]
    for key, label in [*own, *zip(test, labels[1][full[1]].tolist(), strict=True)]:
        by_class[label].add(key)
    pair, share = _closest_classes(by_class)
    known = set(train)
    return Copies(
        in_training=1 - len(set(own)) / max(1, len(own)),
        in_both=sum(key in known for key in test) / max(1, len(test)),
        pair=pair,
        in_pair=share,
    )


def _digests(images: NDArray[np.uint8]) -> list[bytes]:
    return [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]


def _closest_classes(images: list[set[bytes]]) -> tuple[tuple[int, int], float]:
    """The classes with the largest share of common images; only those are compared that have any in common."""
    owners: dict[bytes, list[int]] = {}
    for label, keys in enumerate(images):
        for key in keys:
            owners.setdefault(key, []).append(label)
    common: dict[tuple[int, int], int] = {}
    for labels in owners.values():
        for place, first in enumerate(labels):
            for second in labels[place + 1 :]:
                common[first, second] = common.get((first, second), 0) + 1
    shares = {pair: count / max(1, min(len(images[pair[0]]), len(images[pair[1]]))) for pair, count in common.items()}
    return max(shares.items(), key=lambda item: item[1], default=((0, 1), 0.0))


def neighbours(data: Dataset) -> Neighbours:
    """Nearest neighbours by Euclidean distance of pixels (Cover & Hart 1967), leave-one-out, on the training split."""
    images, labels = data.train.images, data.train.labels
    _, first = np.unique(_digests(images), return_index=True)  # a copy would be its own best witness
    kept = first[~blank(images[first])]
    order = np.random.default_rng(0).permutation(kept)[:_MOST_NEIGHBOURS]
    if not len(order):
        return Neighbours(agreement=0.0, chance=1.0, contradicted=0.0, clear=0.0, asked=0, dimensions=inf)
    pixels, labels = _small(images[order]), labels[order]
    asked = min(_MOST_ASKED, len(order))
    votes = np.zeros((asked, len(data.classes)), np.int64)
    squares = (pixels**2).sum(axis=1)
    count = min(NEIGHBOURS, len(order) - 1)
    for start in range(0, asked, 256):
        rows = np.arange(start, min(start + 256, asked))
        distance = squares - 2 * pixels[rows] @ pixels.T
        distance[np.arange(len(rows)), rows] = np.inf
        nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
        for place in range(count):
            votes[rows, labels[nearest[:, place]]] += 1
    own, commonest = labels[:asked], votes.argmax(axis=1)
    clear = votes.max(axis=1) >= 0.7 * NEIGHBOURS
    shares = np.bincount(labels, minlength=len(data.classes)) / len(labels)
    return Neighbours(
        agreement=float((commonest == own).mean()),
        chance=float(shares.max()),
        contradicted=float((commonest != own)[clear].mean()) if clear.any() else 0.0,
        clear=float(clear.mean()),
        asked=asked,
        dimensions=_dimensions(pixels[:_MOST_MEASURED]),
    )


def _dimensions(pixels: NDArray[Any]) -> float:
    """The intrinsic dimension of distinct images (Levina & Bickel 2005); infinite where all are equally far apart.

    The more dimensions, the more of an image's nearest twentieth lie near the edge of that twentieth.
    """
    pixels = pixels.astype(np.float64)
    count = len(pixels) // 20
    if count < 2:
        return inf
    squares = (pixels**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * pixels @ pixels.T
    np.fill_diagonal(distances, np.inf)
    nearest = np.log(np.sort(distances, axis=1)[:, :count].clip(1)) / 2
    spread = float((nearest[:, -1:] - nearest[:, :-1]).mean())
    return 1 / spread if spread > 0 else inf


def _small(images: NDArray[np.uint8]) -> NDArray[Any]:
    """Images as float32 rows, of every k-th pixel where they are large; each pixel position less its mean."""
    count, height, width, channels = images.shape
    step = max(1, round((height * width * channels / _MOST_PIXELS) ** 0.5))
    rows = images[:, ::step, ::step].reshape(count, -1).astype(np.float32)
    rows -= rows.mean(axis=0)
    return rows
