"""Memory buffers that are reused for every block: padded images, patches, kernel matrices.

One named piece for each use, which grows to the largest size asked for and is overwritten by the next block or layer::

    patches          | the rows of im2col: of this block, then of the next block or layer ...  |
    padded_buffer    | 0 0 0 0 |      the border is written once; only the image inside is copied anew
                     | 0 x x 0 |
                     | 0 0 0 0 |
    cached_views     arrays over these pieces, which take longer to make than a small block to compute
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
        size = prod(shape) * np.dtype(dtype).itemsize
        memory = self._memory.get(name)
        if memory is None or memory.size < size:
            memory = self._memory[name] = aligned_empty((size,), np.uint8)
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
        """Return ``make()``, from the cache if the key is known.

        If a piece is replaced by a larger one, all views are removed from the cache: they might show the old piece.
        """
        if key not in self._views:
            new_views = make()  # it may ask for memory, which clears the cache, and so comes before the assignment
            self._views[key] = new_views
        views: Views = self._views[key]
        return views
