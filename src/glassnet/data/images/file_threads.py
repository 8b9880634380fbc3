"""Image files worked on in threads."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from time import thread_time
from typing import TypeVar

from glassnet.progress import track

Result = TypeVar("Result")

_FILES_PER_TASK = 16
_TIMED_FILES = 5
_WORTH_A_THREAD = 1e-3  # seconds of processor time for a file


def map_files(function: Callable[[int], Result], files: Sequence[object], title: str) -> list[Result]:
    """Return ``function(index)`` of each file, in order.

    The first files are timed to choose the number of threads: the cores, but one for small files, whose work is mostly
    Python's own. Measured on two cores: 32×32 JPEGs of 1 KB take 0.22 ms each with one thread and 0.33 ms with two,
    512×512 ones of 74 KB 1.36 and 0.95 ms.

    :param title: the progress's.
    """
    results: list[Result] = []
    seconds = []
    with track(title, len(files)) as advance:
        for index in range(min(_TIMED_FILES, len(files))):
            start = thread_time()
            results.append(function(index))
            seconds.append(thread_time() - start)
            advance(1)
        is_worth = seconds and statistics.median(seconds) > _WORTH_A_THREAD
        executor = ThreadPoolExecutor((os.cpu_count() or 1) if is_worth else 1)

        def work_on_block(start: int) -> list[Result]:
            return [function(index) for index in range(start, min(start + _FILES_PER_TASK, len(files)))]

        try:
            for block in executor.map(work_on_block, range(len(results), len(files), _FILES_PER_TASK)):
                results += block
                advance(len(block))
        finally:
            executor.shutdown(cancel_futures=True)
    return results
