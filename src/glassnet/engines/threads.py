"""BLAS held to one thread, so that sums have one order and bits do not depend on the number of cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _blas() -> list[Any]:
    """Found once: looking for the loaded libraries takes milliseconds, a training step on digits hardly more."""
    libraries: list[Any] = ThreadpoolController().select(user_api="blas").lib_controllers
    return libraries


@contextmanager
def one_blas_thread() -> Iterator[None]:
    # ThreadpoolController.limit does the same in five times the time.
    before = [(library, library.get_num_threads()) for library in _blas()]
    for library, _ in before:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, threads in before:
            library.set_num_threads(threads)
