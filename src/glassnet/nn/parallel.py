"""The blocks of a batch, on several threads: NumPy lets go of Python's lock while it computes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.scratch import Scratch

Array = NDArray[Any]
Result = TypeVar("Result")
Work = Callable[[slice, Scratch], Result]

# What a thread works on at a time: little enough to be in its cache still when the next operation reads it, and enough
# that the threads seldom meet at Python's lock, which each operation takes again when it is done.
BLOCK_BYTES = 1 << 21


class Workers:
    """Threads that share the blocks of a batch, each with a scratch of its own.

    How a batch is cut depends on shapes alone and results come in the order of the blocks, so whoever adds them up
    gets the same bits from any number of threads. The layers of one network share their workers; a network, like
    torch's, is used by one caller at a time.
    """

    def __init__(self, threads: int = 1) -> None:
        self.scratches = [Scratch() for _ in range(threads)]

    def map(self, work: Work[Result], items: int, item_bytes: int) -> list[Result]:
        """``work(part, scratch)`` for each block of ``items`` things (pictures, rows) of ``item_bytes`` each.

        ``part`` is the block's slice; a block has about ``BLOCK_BYTES``. What one raises is raised here, when all
        threads have stopped.
        """
        size = max(1, BLOCK_BYTES // max(1, item_bytes))
        parts = [slice(start, min(start + size, items)) for start in range(0, items, size)]
        if len(parts) < 2 or len(self.scratches) == 1:
            return [work(part, self.scratches[0]) for part in parts]
        results: list[Any] = [None] * len(parts)
        taken = count()

        def share(scratch: Scratch) -> None:
            while (place := next(taken)) < len(parts):  # a step of count() is one step of the interpreter
                results[place] = work(parts[place], scratch)

        # The caller is a thread, too: the last to start, and the first to be at work.
        others = [_pool(os.getpid()).submit(share, scratch) for scratch in self.scratches[1 : len(parts)]]
        try:
            share(self.scratches[0])
        finally:
            for other in others:
                other.exception()  # waits
        for other in others:
            other.result()
        return results

    def sum(self, work: Work[Any], items: int, item_bytes: int) -> Any:
        """The results of ``map`` added in the order of the blocks; without items, that of an empty block."""
        first, *others = self.map(work, items, item_bytes) or [work(slice(0, 0), self.scratches[0])]
        return sum(others, start=first)

    def elementwise(self, operation: Callable[..., Any], first: Array, *others: Array) -> Array:
        """``operation(first, *others)``, a ufunc of arrays of one shape, in the dtype and memory order of the first."""
        result = np.empty_like(first)

        def work(part: slice, _: Scratch) -> None:
            operation(first[part], *(other[part] for other in others), out=result[part])

        self.map(work, len(first), first[:1].nbytes)
        return result


@cache
def _pool(process: int) -> ThreadPoolExecutor:
    """The threads of this process; a forked one inherits none and makes its own."""
    return ThreadPoolExecutor(max_workers=os.cpu_count(), thread_name_prefix="glassnet")
