"""Statistics of images and labels before any training: uniform images, duplicates and nearest neighbours."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import combinations
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.data import Dataset, Split

NEIGHBOURS = 10
UNANIMOUS = 7  # number of neighbours that must have one label
_MAX_QUERIES, _MAX_IMAGES, _MAX_PIXELS = 1500, 4000, 1024  # keep the distances of a large data set to seconds
_MAX_DIMENSION_IMAGES = 400  # more images hardly change the number of dimensions


@dataclass(frozen=True)
class DuplicateStats:
    """Fractions of images with equal bytes. Uniform images are not counted."""

    in_training: float  # fraction of the training images: copies of an earlier one of the same class
    in_both: float  # fraction of the test images: also in the training set
    class_pair: tuple[int, int]  # the two classes with the largest fraction of common images
    in_pair: float  # fraction of the smaller class's images: also in the other class


@dataclass(frozen=True)
class NeighbourStats:
    """Labels of the nearest training images of a training image, copies of itself excluded."""

    agreement: float  # fraction of images whose label is the most common one among their neighbours
    chance: float  # the agreement that neighbours of random labels would have
    disagreement: float  # fraction of the images with unanimous neighbours that have another label
    unanimous_fraction: float  # fraction of images: at least UNANIMOUS neighbours have the same label
    n_queried: int
    dimensions: float  # intrinsic dimension of the images, independent of their labels


def is_uniform(images: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return (N,): whether each of the images (N, H, W, C) has a single colour."""
    uniform: NDArray[np.bool_] = (images == images[:, :1, :1]).all(axis=(1, 2, 3))
    return uniform


def find_uniform(split: Split) -> NDArray[np.bool_]:
    """Return (N,): whether each image of a split has a single colour."""
    return np.concatenate([is_uniform(images) for _, images in split.blocks()])


def measure_levels(split: Split) -> tuple[NDArray[np.uint8], int]:
    """Return the difference of the largest and the smallest pixel value of each image, and the number of values.

    Images of a single colour are left out of both.
    """
    spans, is_used = [], np.zeros(256, bool)
    for _, images in split.blocks():
        varied = images[~is_uniform(images)]
        pixels = varied.reshape(len(varied), np.prod(split.shape))
        spans.append(np.ptp(pixels, axis=1))
        is_used[pixels] = True
    return np.concatenate(spans), int(is_used.sum())


def find_duplicates(data: Dataset) -> DuplicateStats:
    """Count exact copies within the training set, across the two sets and across classes."""
    train, test = (
        [
            (digest, label)
            for digest, label, uniform in zip(_digests(split), split.labels.tolist(), find_uniform(split), strict=True)
            if not uniform
        ]
        for split in (data.train, data.test)
    )
    known = {digest for digest, _ in train}
    class_pair, in_pair = _most_common_pair({*train, *test})
    return DuplicateStats(
        in_training=1 - len(set(train)) / max(1, len(train)),
        in_both=sum(digest in known for digest, _ in test) / max(1, len(test)),
        class_pair=class_pair,
        in_pair=in_pair,
    )


def _digests(split: Split) -> list[bytes]:
    return [
        hashlib.blake2b(image.tobytes(), digest_size=16).digest() for _, images in split.blocks() for image in images
    ]


def _most_common_pair(images: set[tuple[bytes, int]]) -> tuple[tuple[int, int], float]:
    """Return the two classes with the largest fraction of common images, and that fraction of the smaller one."""
    labels_of = defaultdict(list)
    for digest, label in images:
        labels_of[digest].append(label)
    sizes = Counter(label for _, label in images)
    common = Counter(pair for labels in labels_of.values() for pair in combinations(sorted(labels), 2))
    fractions = {pair: count / min(sizes[pair[0]], sizes[pair[1]]) for pair, count in sorted(common.items())}
    return max(fractions.items(), key=lambda item: item[1], default=((0, 1), 0.0))


def measure_neighbours(data: Dataset) -> NeighbourStats:
    """Compare labels with those of the nearest training images (Cover & Hart 1967), each image left out in turn.

    The distance is the Euclidean distance of pixels.
    """
    _, first = np.unique(_digests(data.train), return_index=True)  # a copy would be its own nearest neighbour
    distinct = first[~find_uniform(data.train)[first]]
    order = np.random.default_rng(0).permutation(distinct)[:_MAX_IMAGES]
    if not len(order):
        return NeighbourStats(0.0, 1.0, 0.0, 0.0, n_queried=0, dimensions=inf)
    pixels, labels = _small_rows(data.train.take(order)), data.train.labels[order]
    votes = _neighbour_votes(pixels, labels, len(data.classes))
    own, predicted = labels[: len(votes)], votes.argmax(axis=1)
    unanimous = votes.max(axis=1) >= UNANIMOUS
    return NeighbourStats(
        agreement=float((predicted == own).mean()),
        chance=float(np.bincount(labels).max() / len(labels)),
        disagreement=float((predicted != own)[unanimous].mean()) if unanimous.any() else 0.0,
        unanimous_fraction=float(unanimous.mean()),
        n_queried=len(votes),
        dimensions=_intrinsic_dimension(pixels[:_MAX_DIMENSION_IMAGES]),
    )


def _neighbour_votes(pixels: NDArray[Any], labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Return (queries, classes): how many of the nearest neighbours of each of the first rows have each label."""
    votes = np.zeros((min(_MAX_QUERIES, len(pixels)), classes), np.int64)
    squares = (pixels**2).sum(axis=1)
    count = min(NEIGHBOURS, len(pixels) - 1)
    for start in range(0, len(votes), 256):
        rows = np.arange(start, min(start + 256, len(votes)))
        distance = squares - 2 * pixels[rows] @ pixels.T
        distance[np.arange(len(rows)), rows] = np.inf
        nearest = np.argpartition(distance, count - 1, axis=1)[:, :count]
        for column in range(count):
            votes[rows, labels[nearest[:, column]]] += 1
    return votes


def _intrinsic_dimension(pixels: NDArray[Any]) -> float:
    """Return the intrinsic dimension of distinct images (Levina & Bickel 2005); infinite if all distances are equal.

    The more dimensions, the more of an image's nearest twentieth are about as far away as the farthest of them.
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


def _small_rows(split: Split) -> NDArray[Any]:
    """Return images as float32 rows, with every k-th pixel of large ones, less the mean of each pixel position."""
    height, width, channels = split.shape
    step = max(1, round((height * width * channels / _MAX_PIXELS) ** 0.5))
    parts = [images[:, ::step, ::step].reshape(len(images), -1) for _, images in split.blocks()]
    rows = np.concatenate(parts).astype(np.float32)
    rows -= rows.mean(axis=0)
    return rows
