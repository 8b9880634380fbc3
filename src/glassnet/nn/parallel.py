"""The blocks of a batch, on several threads: NumPy lets go of Python's lock while it computes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import cache, partial
from itertools import count
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from glassnet.nn import layout
from glassnet.nn.memory import Recycled
from glassnet.nn.scratch import Scratch

Array = NDArray[Any]
Result = TypeVar("Result")
Work = Callable[[slice, Scratch], Result]

# What a thread works on at a time: little enough to be in its cache still when the next operation reads it, and enough
# that the threads seldom meet at Python's lock, which each operation takes again when it is done.
BLOCK_BYTES = 1 << 20


class Workers:
    """Threads that share the blocks of a batch, each with a scratch of its own.

    How a batch is cut depends on shapes alone and results come in the order of the blocks, so whoever adds them up
    gets the same bits from any number of threads. The layers of one network share their workers, and the memory of
    their arrays where that is recycled; a network, like torch's, is used by one caller at a time.
    """

    def __init__(self, threads: int = 1, recycled: Recycled | None = None) -> None:
        self.scratches = [Scratch() for _ in range(threads)]
        self.recycled = recycled

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """An uninitialized C-contiguous array for a layer to return or keep."""
        return np.empty(shape, dtype) if self.recycled is None else self.recycled.empty(shape, dtype)

    def empty_like(self, x: Array, dtype: DTypeLike | None = None) -> Array:
        """One of the shape of x, of its memory order, and of its dtype unless another is given."""
        rows = layout.nhwc(x) if x.ndim == 4 else x
        if not rows.flags.c_contiguous:
            return np.empty_like(x, dtype)
        like = self.empty(rows.shape, x.dtype if dtype is None else dtype)
        return layout.nchw(like) if x.ndim == 4 else like

    def map(self, work: Work[Result], items: int, item_bytes: int) -> list[Result]:
        """``work(part, scratch)`` for each block of ``items`` things (pictures, rows) of ``item_bytes`` each.

        ``part`` is the block's slice; a block has about ``BLOCK_BYTES``. What one raises is raised here, when all
        threads have stopped.
        """
        size = max(1, BLOCK_BYTES // max(1, item_bytes))
        if 0 < items <= size:
            return [work(slice(0, items), self.scratches[0])]
        blocks = -(-items // size)
        results: list[Any] = [None] * blocks
        taken = count()

        def share(scratch: Scratch) -> None:
            while (place := next(taken)) < blocks:  # a step of count() is one step of the interpreter
                results[place] = work(slice(place * size, min(items, (place + 1) * size)), scratch)

        # The caller is a thread, too: the last to start, and the first to be at work.
        others, ends = self.scratches[1:blocks], Ends()
        for scratch in others:  # in the caller's context, where its np.errstate is
            _waiting_threads().put((partial(copy_context().run, share, scratch), ends))
        try:
            share(self.scratches[0])
        finally:
            ends.wait(len(others))
        ends.raise_first()
        return results

    def sum(self, work: Work[Any], items: int, item_bytes: int) -> Any:
        """The results of ``map`` added in the order of the blocks; without items, that of an empty block."""
        first, *others = self.map(work, items, item_bytes) or [work(slice(0, 0), self.scratches[0])]
        return sum(others, start=first)

    def elementwise(self, operation: Callable[..., Any], first: Array, *others: Array) -> Array:
        """``operation(first, *others)``, a ufunc of arrays of one shape, in the dtype and memory order of the first."""
        result = self.empty_like(first)
        if first.nbytes <= BLOCK_BYTES:
            operation(first, *others, out=result)
            return result

        def work(part: slice, _: Scratch) -> None:
            operation(first[part], *(other[part] for other in others), out=result[part])

        self.map(work, len(first), first[:1].nbytes)
        return result


class Ends:
    """What the other threads' work ended with: None, or what it raised."""

    def __init__(self) -> None:
        self._ends: list[BaseException | None] = []
        self._bell: SimpleQueue[None] = SimpleQueue()

    def tell(self, error: BaseException | None) -> None:
        self._ends.append(error)
        self._bell.put(None)

    def wait(self, count: int) -> None:
        try:
            while len(self._ends) < count:
                self._bell.get()
        except BaseException:  # Ctrl-C, which must not leave threads at work on arrays that the caller may look at
            self.wait(count)
            raise

    def raise_first(self) -> None:
        error = next((error for error in self._ends if error is not None), None)
        self._ends.clear()
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame, and would keep the arrays of its own until gc


Task = tuple[Callable[[], None], Ends]

_starting = threading.Lock()


def _waiting_threads() -> SimpleQueue[Task]:
    """What the threads of this process wait at; a forked one inherits none and makes its own.

    A concurrent.futures pool does the same, but hands over in 25 µs more, which large networks pay hundreds of times a
    step.
    """
    with _starting:  # a cache alone lets two callers start them both
        return _threads_of(os.getpid())


@cache
def _threads_of(process: int) -> SimpleQueue[Task]:
    tasks: SimpleQueue[Task] = SimpleQueue()
    for number in range(os.cpu_count() or 1):
        threading.Thread(target=_serve, args=(tasks,), name=f"glassnet-{number}", daemon=True).start()
    return tasks


def _serve(tasks: SimpleQueue[Task]) -> None:
    """For as long as the process lives. Between two tasks nothing of the last one is held: its arrays' memory may be
    used again, and an error's traceback holds arrays, too."""
    while True:
        task, ends = tasks.get()
        error = None
        try:
            task()
        except BaseException as raised:
            error = raised
        del task
        ends.tell(error)
        del error, ends
