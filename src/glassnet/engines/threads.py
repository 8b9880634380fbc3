"""BLAS held to one thread, so that sums have one order and bits do not depend on the number of cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def _blas() -> Any:
    """Found once: looking for the loaded libraries takes milliseconds, a training step on digits hardly more."""
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def one_blas_thread() -> Iterator[None]:
    with _blas().limit(limits=1):
        yield
