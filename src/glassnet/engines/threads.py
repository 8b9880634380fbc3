"""A limit for the threads of BLAS.

With one BLAS thread sums have the same order, and results the same bits, for any number of cores.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _blas() -> list[Any]:
    """Return the loaded BLAS libraries. To find them takes milliseconds, as long as a training step on digits."""
    libraries: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return libraries


_changing = threading.Lock()
_inside: list[list[int]] = []  # for each active context, the thread counts at its entry


@contextmanager
def limit_blas_threads(count: int = 1) -> Iterator[None]:
    """Limit BLAS to ``count`` threads until the last Python thread that uses this context manager exits."""
    # ThreadpoolController.limit does the same in five times the time, and for the first of Python's threads only.
    with _changing:
        _inside.append([library.get_num_threads() for library in _blas()])
        _set_threads([count] * len(_blas()))
    try:
        yield
    finally:
        with _changing:
            before = _inside.pop(0)
            if _inside:
                _inside[0] = before  # the last context to exit restores the counts that the first one saved
            else:
                _set_threads(before)


def _set_threads(counts: list[int]) -> None:
    for library, count in zip(_blas(), counts, strict=True):
        if hasattr(library, "clear_controlling_thread"):  # OpenBLAS: else all threads but one change nothing
            library.clear_controlling_thread(force=True)
        library.set_num_threads(count)
