"""Stratified parts: each class keeps its share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glassnet.data.batches import validate_seed
from glassnet.errors import ConfigError, DataError

Indices = NDArray[np.int64]


def stratified_split(
    labels: NDArray[np.int64],
    share: float,
    seed: int,
    classes: Sequence[str] | None = None,
    *,
    kind: str = "image",
) -> tuple[Indices, Indices]:
    """Sorted indices (rest, share): the share of each class held out, as scikit-learn's train_test_split draws it.

    Raises ConfigError for a share outside 0..1, and DataError where a class has fewer than two members (named by
    classes, if given, and the members by kind), where either part would have fewer members than there are classes, or
    where a class would be missing in the rest. A class of very few members may be missing in the share.
    """
    if not isinstance(share, int | float | np.floating) or not 0 < share < 1:
        raise ConfigError(f"the share to hold out is {share!r}; allowed is more than 0 and less than 1")
    count = len(labels)
    values, members = np.unique(labels, return_counts=True)
    if members.min() < 2:
        rarest = values[members.argmin()]
        raise DataError(
            f"class {_name(rarest, classes)} has 1 {kind}; at least 2 are needed to hold out a share of {share}"
        )
    held_out = math.ceil(share * count)
    if min(held_out, count - held_out) < len(values):
        raise DataError(
            f"a share of {share} of {count} images splits them into {count - held_out} and {held_out}; "
            f"each part needs at least one for each of the {len(values)} classes"
        )
    rest, part = _drawn(labels, held_out, seed)
    missing = np.setdiff1d(values, labels[rest])
    if len(missing):
        raise DataError(
            f"holding out a share of {share} leaves no image of class {_name(missing[0], classes)}; "
            "allowed is a smaller share or a class of more images"
        )
    return rest, part


def stratified_sample(
    labels: NDArray[np.int64], samples: int, seed: int, classes: Sequence[str] | None = None
) -> Indices:
    """Sorted indices of exactly that many members, each class in proportion.

    Raises ConfigError for a number that cannot be drawn, DataError where a class would be missing.
    """
    count = len(labels)
    if samples == count:
        return np.arange(count, dtype=np.int64)
    values = np.unique(labels)
    if not len(values) <= samples <= count - len(values):
        raise ConfigError(
            f"samples is {samples}; allowed is {len(values)} (the number of classes) to {count - len(values)}, "
            f"or {count}, all training images"
        )
    singles = np.flatnonzero(np.bincount(labels) == 1)
    if len(singles):
        raise DataError(
            f"class {_name(singles[0], classes)} has 1 training image; at least 2 are needed to take samples"
        )
    _, part = _drawn(labels, samples, seed)
    missing = np.setdiff1d(values, labels[part])
    if len(missing):
        raise DataError(
            f"samples={samples} of {count} leaves no image of class {_name(missing[0], classes)}; ask for more"
        )
    return part


def _drawn(labels: NDArray[np.int64], size: int, seed: int) -> tuple[Indices, Indices]:
    from sklearn.model_selection import train_test_split

    rest, part = train_test_split(
        np.arange(len(labels), dtype=np.int64), test_size=size, stratify=labels, random_state=validate_seed(seed)
    )
    return np.sort(rest), np.sort(part)


def _name(value: np.int64, classes: Sequence[str] | None) -> str:
    return repr(classes[int(value)]) if classes is not None else repr(str(value))
