"""Random streams that depend on nothing but their names, and the batches of an epoch."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from glassnet.errors import ConfigError


def validate_seed(seed: int) -> int:
    """Return the seed.

    :raises ConfigError: if it is outside 0..2**32-1, the range of scikit-learn's seeds.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ConfigError(f"seed must be an integer from 0 to 4294967295. Got {seed!r}.")
    return int(seed)


def make_rng(seed: int, stream: str, epoch: int = 0) -> np.random.Generator:
    """Return the generator of a random stream ("shuffle", "augment", "dropout", ...) in one epoch.

    It follows from (seed, stream, epoch) alone: a resumed run needs no generator's state, and the number of draws
    from one stream never changes another.

    :raises ConfigError: if the seed is out of range.
    """
    key = (zlib.crc32(stream.encode("utf-8")), epoch)
    sequence = np.random.SeedSequence(validate_seed(seed), spawn_key=key)
    return np.random.Generator(np.random.PCG64(sequence))


def count_batches(count: int, batch_size: int) -> int:
    """Return the number of batches of an epoch of ``count`` images.

    A last batch of one image would be too small for BatchNorm and its gradient no mean: it joins the one before.

    :raises ConfigError: if batch_size is below 1.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size must be an integer of at least 1. Got {batch_size}.")
    n_full, left = divmod(count, batch_size)
    return n_full + (left > 1 or (left == 1 and n_full == 0))


def shuffled_batches(count: int, batch_size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Return index arrays, int64, that together hold 0..count-1 once each, shuffled.

    Each has ``batch_size`` indices, but for the last, which may have fewer, and one more in place of a batch of one.
    The order is drawn when this is called, not when the first batch is taken.

    :raises ConfigError: if batch_size is below 1.
    """
    n_batches = count_batches(count, batch_size)
    order = rng.permutation(count).astype(np.int64, copy=False)
    ends = [*range(batch_size, batch_size * n_batches, batch_size), count][:n_batches]
    return (order[start:end] for start, end in zip([0, *ends], ends, strict=False))


def cycle_batches(count: int, batch_size: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Return the batches of a training from ``seed``, epoch after epoch, endlessly."""
    for epoch in itertools.count(1):
        yield from shuffled_batches(count, batch_size, make_rng(seed, "shuffle", epoch))
