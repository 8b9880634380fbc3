"""Memory that is used again and again for what nobody keeps."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.nn.arguments import Pair
from glassnet.nn.memory import aligned

Views = TypeVar("Views")


class Scratch:
    """Named pieces of memory that grow to the largest size asked for.

    The layers of one network share one scratch: a padded input or a matrix of columns lives only
    until the next layer needs the place. A network, like torch's, is used by one thread at a time.
    """

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[np.uint8]] = {}
        self._bordered: dict[tuple[object, ...], NDArray[Any]] = {}
        self._views: dict[object, Any] = {}

    def __reduce__(self) -> tuple[type[Scratch], tuple[()]]:
        return Scratch, ()  # a copy begins without memory: copied views would no longer lie in it

    def empty(self, purpose: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An uninitialized C-contiguous array; the next call with the same purpose overwrites it."""
        count = prod(shape) * np.dtype(dtype).itemsize
        memory = self._memory.get(purpose)
        if memory is None or memory.size < count:
            memory = self._memory[purpose] = aligned((count,), np.uint8)
            self._views.clear()
        return np.ndarray(shape, dtype, memory)

    def bordered(
        self, shape: tuple[int, ...], border: tuple[Pair, Pair], value: float, dtype: DTypeLike
    ) -> NDArray[Any]:
        """Pictures (N, H, W, C) with a border ((top, bottom), (left, right)) of ``value``: (N, H', W', C).

        The pictures inside are uninitialized, to be overwritten; the border is there and must stay.
        """
        N, H, W, C = shape
        (top, bottom), (left, right) = border
        key = (H, W, C, border, value, np.dtype(dtype))
        memory = self._bordered.get(key)
        if memory is None or len(memory) < N:
            memory = self._bordered[key] = aligned((N, top + H + bottom, left + W + right, C), dtype)
            memory.fill(value)
            self._views.clear()
        return memory[:N]

    def views(self, key: Hashable, make: Callable[[], Views]) -> Views:
        """What ``make`` made when the key was first seen, of this scratch or beside it: that can take as long as a
        small step. All is forgotten when any piece is replaced by a larger one."""
        if key not in self._views:
            made = make()  # before it is remembered, as it may ask for memory
            self._views[key] = made
        views: Views = self._views[key]
        return views
