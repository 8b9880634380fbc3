"""Image files worked on in threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from glassnet.data.image_file import ImageFile
from glassnet.data.image_opening import UnreadableError, read_bytes
from glassnet.progress import track

Result = TypeVar("Result")

_FILES_PER_TASK = 16
_SAMPLED_FILES = 16
_WORTH_A_THREAD = 32 * 1024  # bytes


def map_files(function: Callable[[int], Result], files: Sequence[ImageFile], title: str) -> list[Result]:
    """Return ``function(index)`` of each file, in order.

    :param title: the progress's.
    """

    def work_on_block(start: int) -> list[Result]:
        return [function(index) for index in range(start, min(start + _FILES_PER_TASK, len(files)))]

    results: list[Result] = []
    executor = ThreadPoolExecutor(_n_workers(files))
    with track(title, len(files)) as advance:
        try:
            for block in executor.map(work_on_block, range(0, len(files), _FILES_PER_TASK)):
                results += block
                advance(len(block))
        finally:
            executor.shutdown(cancel_futures=True)
    return results


def _n_workers(files: Sequence[ImageFile]) -> int:
    """Return the number of threads: the cores for large files, one for small ones, whose work is mostly Python's own.

    Measured on two cores: 32×32 JPEGs of 1 KB take 0.22 ms each with one thread and 0.33 ms with two, 512×512 ones
    of 74 KB 1.36 and 0.95 ms.
    """
    sizes = [_n_bytes(file) for file in files[:: 1 + len(files) // _SAMPLED_FILES]]
    return (os.cpu_count() or 1) if sum(sizes) > _WORTH_A_THREAD * len(sizes) else 1


def _n_bytes(file: ImageFile) -> int:
    try:
        return len(read_bytes(file))
    except UnreadableError:
        return 0
