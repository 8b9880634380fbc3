"""Memory of arrays, aligned to the processor's vectors, and reused once no array refers to it.

A training step asks for the same arrays again and again. Memory from the system comes page by page, each cleared first:
that took a fifth of the time of a residual block. The pool keeps large pieces. It returns one again once Python's count
of references to its memory shows that no array, view or buffer uses it::

    piece = aligned memory  <- array that a layer returned  <- view that another layer saved      count 3: taken
    piece = aligned memory                                                                        count 1: free
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Hashable
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]

ALIGNMENT = 64  # bytes: a line of the cache, and the widest vector
MIN_POOLED_BYTES = 1 << 16  # for smaller arrays, looking for a piece takes longer than a new array
MAX_POOL_BYTES = 1 << 29  # of all pieces together


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return an uninitialized C-contiguous array that begins at a line of the cache.

    Additions within the cache then take half the time, and products with a matrix of 64 columns two thirds.
    """
    memory = np.empty(prod(shape) * np.dtype(dtype).itemsize + ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, memory, -memory.ctypes.data % ALIGNMENT)


def reference_count(array: Array) -> int:
    """Return the number of references to the memory of an ``aligned_empty`` array: one for each array or view."""
    return sys.getrefcount(array.base)


HAS_REFCOUNTS = sys.implementation.name == "cpython"
_FREE_ARRAY = aligned_empty((0,), np.uint8)
FREE_REFCOUNT = reference_count(_FREE_ARRAY) if HAS_REFCOUNTS else 0  # no references besides the piece itself


class ArrayPool:
    """The large arrays of one network, reused from step to step.

    The memory of an array is not reused as long as a reference to the array or a view of it exists. Only the network
    that was used last keeps pieces, at most ``MAX_POOL_BYTES``. Like its network, a pool is used by one caller at a
    time.
    """

    _latest: weakref.ref[ArrayPool] | None = None

    def __init__(self) -> None:
        self._pieces: dict[Hashable, list[Array]] = {}
        self._bytes = 0
        self._task: Hashable = None

    def start_task(self, key: Hashable) -> None:
        """Keep pieces for the task ``key`` from now on; the pieces of other tasks and networks are released."""
        latest = ArrayPool._latest() if ArrayPool._latest else None
        if latest is self and key == self._task:
            return
        for pool in (latest, self):
            if pool is not None:
                pool._pieces, pool._bytes = {}, 0
        self._task = key
        ArrayPool._latest = weakref.ref(self)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return an uninitialized C-contiguous array; from ``MIN_POOLED_BYTES`` on it is pooled, and so aligned."""
        key = shape, np.dtype(dtype)
        for piece in self._pieces.get(key, ()):
            if reference_count(piece) == FREE_REFCOUNT:
                return piece.view()
        size = prod(shape) * np.dtype(dtype).itemsize
        if size < MIN_POOLED_BYTES or not HAS_REFCOUNTS:
            return np.empty(shape, dtype)
        piece = aligned_empty(shape, dtype)
        if self._bytes + size <= MAX_POOL_BYTES:
            self._pieces.setdefault(key, []).append(piece)
            self._bytes += size
        return piece.view()

    def __reduce__(self) -> tuple[type[ArrayPool], tuple[()]]:
        return ArrayPool, ()  # a copy begins without pieces
