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
    rest, part = map(np.sort, draw_stratified(labels, held_out, seed))
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
    part = np.sort(draw_stratified(labels, samples, seed)[1])
    missing = np.setdiff1d(values, labels[part])
    if len(missing):
        raise DataError(
            f"samples={samples} of {count} leaves no image of class {_name(missing[0], classes)}; ask for more"
        )
    return part


def draw_stratified(labels: NDArray[np.int64], size: int, seed: int) -> tuple[Indices, Indices]:
    """Draw ``size`` members, each class in proportion, and return the indices (rest, drawn), both in random order.

    The same indices, in the same order, as scikit-learn's ``train_test_split(stratify=labels)``, whose import alone
    takes 2.5 s. NumPy never changes the numbers of its legacy ``RandomState``, which both draw from.
    """
    rng = np.random.RandomState(validate_seed(seed))
    _, class_of, counts = np.unique(labels, return_inverse=True, return_counts=True)
    n_rest = _apportion(counts, len(labels) - size, rng)
    n_drawn = _apportion(counts - n_rest, size, rng)
    classes = np.split(np.argsort(class_of, kind="stable"), np.cumsum(counts)[:-1])
    rest, drawn = [], []
    for members, stop, more in zip(classes, n_rest, n_drawn, strict=True):
        shuffled = members[rng.permutation(len(members))]
        rest.append(shuffled[:stop])
        drawn.append(shuffled[stop : stop + more])
    return rng.permutation(np.concatenate(rest)), rng.permutation(np.concatenate(drawn))


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
        raised = rng.choice(equal, min(len(equal), missing), replace=False)
        shares[raised] += 1
        missing -= len(raised)
    return shares


def _name(value: np.int64, classes: Sequence[str] | None) -> str:
    return repr(classes[int(value)]) if classes is not None else repr(str(value))
