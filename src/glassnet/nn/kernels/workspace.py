"""Memory for what lives no longer than one block: padded images, columns, blank kernel matrices.

One named piece for each use, which grows to the largest size asked for and is overwritten by the next block or layer::

    columns          | matrix of im2col, of this block, then of the next layer's  ...  |
    padded_buffer    | 0 0 0 0 |      the border is written once; only the image inside is copied anew
                     | 0 x x 0 |
                     | 0 0 0 0 |
    cached_views     the ndarrays over these pieces, since making them takes as long as a small step
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.nn.functional import Pair
from glassnet.nn.kernels.array_pool import aligned_empty

Views = TypeVar("Views")


class Workspace:
    """Named pieces of memory that the layers of one network share. One thread uses a workspace at a time."""

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[np.uint8]] = {}
        self._padded: dict[tuple[object, ...], NDArray[Any]] = {}
        self._views: dict[object, Any] = {}

    def __reduce__(self) -> tuple[type[Workspace], tuple[()]]:
        return Workspace, ()  # a copy begins without memory: copied views would no longer lie in it

    def empty(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an uninitialized C-contiguous array; the next call with the same name overwrites it."""
        count = prod(shape) * np.dtype(dtype).itemsize
        memory = self._memory.get(name)
        if memory is None or memory.size < count:
            memory = self._memory[name] = aligned_empty((count,), np.uint8)
            self._views.clear()
        return np.ndarray(shape, dtype, memory)

    def padded_buffer(
        self, shape: tuple[int, ...], border: tuple[Pair, Pair], value: float, dtype: DTypeLike
    ) -> NDArray[Any]:
        """Return images (N, H, W, C) with a border ((top, bottom), (left, right)) of ``value``: (N, H', W', C).

        The images inside are uninitialized, to be overwritten. The border is written once and must stay.
        """
        N, H, W, C = shape
        (top, bottom), (left, right) = border
        key = (H, W, C, border, value, np.dtype(dtype))
        memory = self._padded.get(key)
        if memory is None or len(memory) < N:
            memory = self._padded[key] = aligned_empty((N, top + H + bottom, left + W + right, C), dtype)
            memory.fill(value)
            self._views.clear()
        return memory[:N]

    def cached_views(self, key: Hashable, make: Callable[[], Views]) -> Views:
        """Return what ``make`` returned when the key was first seen. All views are forgotten when any piece is
        replaced by a larger one."""
        if key not in self._views:
            made = make()  # before it is stored, as it may ask for memory
            self._views[key] = made
        views: Views = self._views[key]
        return views
