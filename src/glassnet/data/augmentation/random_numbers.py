"""Random numbers that follow from (seed, epoch, image) alone, computed for many images at once.

Each image has a SplitMix64 generator of its own (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number
generators", the constants of Java's SplittableRandom). Number k of it is a function of the image's state and k, so it
does not matter which numbers were drawn before, of which images, in which process.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3, _TO_53_BITS = (np.uint64(bits) for bits in (30, 27, 31, 11))


class RandomNumbers:
    """The random numbers of some images in one epoch."""

    def __init__(self, seed: int, epoch: int, indices: ArrayLike) -> None:
        """Make the generators of the images at these indices of a split, (n,)."""
        state = np.zeros((), np.uint64)
        for word in (seed, epoch, indices):
            state = split_mix(state ^ np.asarray(word).astype(np.uint64))
        self._states = np.atleast_1d(state)

    def __len__(self) -> int:
        return len(self._states)

    def uniform(self, number: int) -> NDArray[np.float64]:
        """Return the number at this position of each image's generator, (n,), uniform in [0, 1)."""
        with np.errstate(over="ignore"):
            states = self._states + np.uint64(number) * _GOLDEN
        return (split_mix(states) >> _TO_53_BITS).astype(np.float64) * 2.0**-53

    def between(self, number: int, low: float, high: float) -> NDArray[np.float64]:
        """Return numbers (n,), uniform from ``low`` to ``high``."""
        return low + (high - low) * self.uniform(number)

    def below(self, number: int, count: int | NDArray[np.int64]) -> NDArray[np.int64]:
        """Return integers (n,) from 0 to below ``count``, each as probable as the others."""
        return (self.uniform(number) * count).astype(np.int64)


def split_mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return the next number of SplitMix64 generators of these states, which advance by a constant each time."""
    with np.errstate(over="ignore"):
        z = state + _GOLDEN
        z = (z ^ (z >> _SHIFT_1)) * _MIX_1
        z = (z ^ (z >> _SHIFT_2)) * _MIX_2
        return z ^ (z >> _SHIFT_3)
