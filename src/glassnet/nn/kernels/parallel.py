"""Blocks of a batch on several threads: NumPy releases Python's global lock (GIL) while it computes.

::

    batch     | block 0 | block 1 | block 2 | block 3 | block 4 |      each of about BLOCK_BYTES
    caller      0          2           4                               a thread that is done takes the next block;
    thread 1       1           3                                       each has a Workspace of its own
    results   [ r0, r1, r2, r3, r4 ]                                   in the order of the blocks

A kernel writes ``compute_block(block, workspace)``, which computes one slice of the batch, and hands it to
``BlockExecutor.map`` or ``.sum``. How a batch is cut depends on shapes, dtype and ``BLOCK_BYTES``, never on the number
of threads, and sums are added in the order of the blocks. So any number of threads gives the same bits. Another
``BLOCK_BYTES`` changes the order of sums, and with it the last bits of every run.
"""

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

from glassnet.nn.kernels import layout
from glassnet.nn.kernels.array_pool import ArrayPool
from glassnet.nn.kernels.workspace import Workspace

Array = NDArray[Any]
Result = TypeVar("Result")
BlockFunction = Callable[[slice, Workspace], Result]

# The size of one block in the array whose ``item_bytes`` a kernel gives: the patches of a convolution, x or dy in most
# other kernels. It is so small that a block and the arrays beside it are still in the core's cache (L2 and its part of
# L3) when the next operation reads them, and so large that threads rarely contend for the GIL, which every operation
# takes again when it ends.
BLOCK_BYTES = 1 << 20


class BlockExecutor:
    """Threads that share the blocks of a batch, each with a workspace of its own.

    The layers of one network share an executor, and the memory of their arrays if it has a pool. A network, like
    torch's, is used by one caller at a time. ``workspaces[0]`` is the caller's: a kernel may also use it between
    blocks, under names that its blocks do not use.
    """

    def __init__(self, threads: int = 1, array_pool: ArrayPool | None = None) -> None:
        self.workspaces = [Workspace() for _ in range(threads)]
        self.array_pool = array_pool

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Return an uninitialized C-contiguous array for a layer to return or save."""
        return np.empty(shape, dtype) if self.array_pool is None else self.array_pool.empty(shape, dtype)

    def empty_like(self, x: Array, dtype: DTypeLike | None = None) -> Array:
        """Return an uninitialized array with x's shape and memory order, and with x's dtype unless another is given."""
        rows = layout.nhwc(x) if x.ndim == 4 else x
        if not rows.flags.c_contiguous:
            return np.empty_like(x, dtype)
        like = self.empty(rows.shape, x.dtype if dtype is None else dtype)
        return layout.nchw(like) if x.ndim == 4 else like

    def map(self, compute_block: BlockFunction[Result], items: int, item_bytes: int) -> list[Result]:
        """Return the results of ``compute_block(block, workspace)`` for all blocks, in the order of the blocks.

        :param compute_block: computes the items of ``block``, a slice. An exception in it is raised here, when all
            threads have stopped.
        :param items: the number of items (images) in the batch.
        :param item_bytes: the bytes that one item takes in the main array of a block, such as its patches or its x;
            max-pooling counts one row of its kernel. A block is as many items as fit in ``BLOCK_BYTES``, at least one.
        """
        size = max(1, BLOCK_BYTES // max(1, item_bytes))
        if 0 < items <= size:
            return [compute_block(slice(0, items), self.workspaces[0])]
        blocks = -(-items // size)
        results: list[Any] = [None] * blocks
        indices = count()

        def take_blocks(workspace: Workspace) -> None:
            while (index := next(indices)) < blocks:  # a step of count() is one step of the interpreter
                block = slice(index * size, min(items, (index + 1) * size))
                results[index] = compute_block(block, workspace)

        # The caller is a thread, too: it already works while the others wake up.
        worker_workspaces, completion = self.workspaces[1:blocks], _Completion()
        for workspace in worker_workspaces:  # in the caller's context, which has its np.errstate
            _task_queue().put((partial(copy_context().run, take_blocks, workspace), completion))
        try:
            take_blocks(self.workspaces[0])
        finally:
            completion.wait(len(worker_workspaces))
        completion.raise_first()
        return results

    def sum(self, compute_block: BlockFunction[Any], items: int, item_bytes: int) -> Any:
        """Return the results of ``map``, added in the order of the blocks; without items, an empty block's result."""
        results = self.map(compute_block, items, item_bytes) or [compute_block(slice(0, 0), self.workspaces[0])]
        return sum(results[1:], start=results[0])

    def elementwise(self, operation: Callable[..., Any], first: Array, *others: Array) -> Array:
        """Return ``operation(first, *others)`` of arrays of one shape, in the dtype and memory order of the first."""
        result = self.empty_like(first)
        if first.nbytes <= BLOCK_BYTES:
            operation(first, *others, out=result)
            return result

        def compute_block(block: slice, _: Workspace) -> None:
            operation(first[block], *(other[block] for other in others), out=result[block])

        self.map(compute_block, len(first), first[:1].nbytes)
        return result


class _Completion:
    """The list of the worker threads' finished tasks, with the exception of each or None. It waits for all of them."""

    def __init__(self) -> None:
        self._errors: list[BaseException | None] = []
        self._signal: SimpleQueue[None] = SimpleQueue()

    def mark_done(self, error: BaseException | None) -> None:
        self._errors.append(error)
        self._signal.put(None)

    def wait(self, count: int) -> None:
        try:
            while len(self._errors) < count:
                self._signal.get()
        except BaseException:  # Ctrl-C: threads must not go on writing to arrays that the caller may read
            self.wait(count)
            raise

    def raise_first(self) -> None:
        error = next((error for error in self._errors if error is not None), None)
        self._errors.clear()
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame, and would keep the arrays of its own until gc


Task = tuple[Callable[[], None], _Completion]

_starting = threading.Lock()


def _task_queue() -> SimpleQueue[Task]:
    """Return the task queue of this process's threads; a forked process inherits no threads and starts its own.

    A pool of concurrent.futures does the same but takes 25 µs longer per task, and a step of a large network has
    hundreds of tasks.
    """
    with _starting:  # with the cache alone, two callers could both start threads
        return _start_threads(os.getpid())


@cache
def _start_threads(process: int) -> SimpleQueue[Task]:
    tasks: SimpleQueue[Task] = SimpleQueue()
    for number in range(os.cpu_count() or 1):
        threading.Thread(target=_worker_loop, args=(tasks,), name=f"glassnet-{number}", daemon=True).start()
    return tasks


def _worker_loop(tasks: SimpleQueue[Task]) -> None:
    """Run tasks as long as the process lives.

    Between two tasks, no reference to the last one remains, not even in the traceback of its error: the memory of its
    arrays can then be reused.
    """
    while True:
        task, completion = tasks.get()
        error = None
        try:
            task()
        except BaseException as raised:
            error = raised
        del task
        completion.mark_done(error)
        del error, completion
