"""Memory that is used again and again for what nobody keeps."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray


class Scratch:
    """Named pieces of memory that grow to the largest size asked for.

    The layers of one network share one scratch: a padded input or a matrix of columns lives only
    until the next layer needs the place. A network, like torch's, is used by one thread at a time.
    """

    def __init__(self) -> None:
        self._memory: dict[str, NDArray[np.uint8]] = {}

    def empty(self, purpose: str, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[np.floating]:
        """An uninitialized C-contiguous array; the next call with the same purpose overwrites it."""
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = self._memory.get(purpose)
        if memory is None or memory.size < count:
            memory = self._memory[purpose] = np.empty(count, np.uint8)
        return memory[:count].view(dtype).reshape(shape)
