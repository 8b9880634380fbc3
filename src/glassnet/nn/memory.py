"""Memory for arrays: aligned to the processor's vectors, and used again where nobody holds an array in it any more."""

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
RECYCLED = 1 << 16  # bytes from which on it pays to look for a piece
MOST = 1 << 29  # bytes that a network may keep


def aligned(shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """An uninitialized C-contiguous array that begins at a line of the cache: additions in the cache take half the
    time there, and products with a matrix of 64 columns two thirds."""
    memory = np.empty(prod(shape) * np.dtype(dtype).itemsize + ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, memory, -memory.ctypes.data % ALIGNMENT)


def references(array: Array) -> int:
    """How many hold an ``aligned`` array's memory. Each array in it does, and each view of one: NumPy sees to that."""
    return sys.getrefcount(array.base)


COUNTED = sys.implementation.name == "cpython"  # others do not count references
_UNHELD = aligned((0,), np.uint8)
UNHELD = references(_UNHELD) if COUNTED else 0  # by nobody but the array itself


class Recycled:
    """The large arrays of a network that does the same again and again, as a training does.

    Memory that is asked for anew comes from the system page by page, each cleared first, at every step: a fifth of the
    time of a residual block. Here a piece is kept, and used again once no array lies in it any more. What was handed
    out stays untouched for as long as anybody holds it or a view of it.

    Of all networks only the one that worked last keeps pieces, ``MOST`` bytes of them. Like its network, it is used by
    one caller at a time.
    """

    _latest: weakref.ref[Recycled] | None = None

    def __init__(self) -> None:
        self._pieces: dict[Hashable, list[Array]] = {}
        self._kept = 0
        self._work: Hashable = None

    def serve(self, work: Hashable) -> None:
        """From now on it is ``work`` that arrays are for: equal works ask for equal ones. Others' pieces go."""
        latest = Recycled._latest() if Recycled._latest else None
        if latest is self and work == self._work:
            return
        for one in (latest, self):
            if one is not None:
                one._pieces, one._kept = {}, 0
        self._work = work
        Recycled._latest = weakref.ref(self)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """An uninitialized C-contiguous array, aligned where its memory is kept."""
        key = shape, np.dtype(dtype)
        for piece in self._pieces.get(key, ()):
            if references(piece) == UNHELD:
                return piece.view()
        size = prod(shape) * np.dtype(dtype).itemsize
        if size < RECYCLED or not COUNTED:
            return np.empty(shape, dtype)
        piece = aligned(shape, dtype)
        if self._kept + size <= MOST:
            self._pieces.setdefault(key, []).append(piece)
            self._kept += size
        return piece.view()

    def __reduce__(self) -> tuple[type[Recycled], tuple[()]]:
        return Recycled, ()  # a copy begins without pieces
