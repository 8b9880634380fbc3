import pickle
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch

from glassnet.nn.kernels import array_pool
from glassnet.nn.kernels.array_pool import (
    ALIGNMENT,
    FREE_REFCOUNT,
    MIN_POOLED_BYTES,
    ArrayPool,
    aligned_empty,
    reference_count,
)
from tests.nn.oracle import Array

SHAPE = (MIN_POOLED_BYTES // 32, 2, 4)  # of float32: exactly as large as is recycled


def pieces_of(pool: ArrayPool) -> int:
    return sum(map(len, pool._pieces.values()))


HOLDS: dict[str, Callable[[Array], Any]] = {
    "itself": lambda array: array,
    "a slice": lambda array: array[3:5],
    "a view of a view": lambda array: array[1:].transpose(2, 0, 1)[:, ::2],
    "another shape": lambda array: array.reshape(-1, 8),
    "another dtype": lambda array: array.view(np.uint8),
    "a buffer": lambda array: memoryview(array[2]),
    "a tensor": lambda array: torch.from_numpy(array)[1:],
    "a base": lambda array: array.base,
}


@pytest.mark.parametrize("dtype", [np.bool_, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (1000, 7), (4 * MIN_POOLED_BYTES, 3)])
def test_aligned_empty_is_aligned(shape: tuple[int, ...], dtype: type) -> None:
    for make in (aligned_empty, aligned_empty, aligned_empty, ArrayPool().empty):
        array = make(shape, dtype)
        assert (array.shape, array.dtype) == (shape, dtype)
        assert array.flags.c_contiguous
        assert array.flags.writeable
        if make is aligned_empty or array.nbytes >= MIN_POOLED_BYTES:
            assert array.ctypes.data % ALIGNMENT == 0


def test_array_pool_reuses_free_pieces() -> None:
    pool = ArrayPool()
    assert len({pool.empty(SHAPE, np.float32).ctypes.data for _ in range(5)}) == 1
    assert len({pool.empty(SHAPE, np.float64).ctypes.data for _ in range(5)}) == 1
    assert pieces_of(pool) == 2


@pytest.mark.parametrize("what", HOLDS)
def test_array_pool_does_not_reuse_held_pieces(what: str) -> None:
    pool = ArrayPool()
    held = HOLDS[what](pool.empty(SHAPE, np.float32))
    mine = np.asarray(held)
    mine[...] = 1
    for _ in range(3):
        pool.empty(SHAPE, np.float32)[...] = 2
    assert (mine == 1).all()
    assert pieces_of(pool) == 2
    del held, mine
    both = [pool.empty(SHAPE, np.float32) for _ in range(2)]
    assert pieces_of(pool) == 2  # the first is free again
    assert not np.shares_memory(*both)


def test_array_pool_arrays_held_at_once_do_not_overlap() -> None:
    pool = ArrayPool()
    for _ in range(3):
        arrays = [pool.empty(SHAPE, np.float32) for _ in range(4)]
        for number, array in enumerate(arrays):
            array[...] = number
        assert [array.max() for array in arrays] == [array.min() for array in arrays] == [0, 1, 2, 3]
        del array, arrays
    assert pieces_of(pool) == 4


def test_array_pool_does_not_keep_small_arrays() -> None:
    pool = ArrayPool()
    pool.empty((MIN_POOLED_BYTES - 1,), np.uint8)
    assert pieces_of(pool) == 0


def test_start_task_releases_the_pieces_of_other_tasks() -> None:
    pool = ArrayPool()
    pool.start_task("training")
    held = pool.empty(SHAPE, np.float32)
    held[...] = 3
    pool.start_task("training")
    assert pieces_of(pool) == 1
    pool.start_task("evaluation")
    assert pieces_of(pool) == 0
    pool.empty(SHAPE, np.float32)[...] = 4
    assert (held == 3).all()


def test_start_task_releases_the_pieces_of_other_pools() -> None:
    first, second = ArrayPool(), ArrayPool()
    first.start_task("training")
    first.empty(SHAPE, np.float32)
    second.start_task("training")
    second.empty(SHAPE, np.float32)
    assert (pieces_of(first), pieces_of(second)) == (0, 1)
    first.start_task("training")
    assert (pieces_of(first), pieces_of(second)) == (0, 0)
    del first
    second.start_task("training")  # what is gone keeps nothing
    assert pieces_of(second) == 0


def test_array_pool_keeps_at_most_max_pool_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_pool, "MAX_POOL_BYTES", 3 * MIN_POOLED_BYTES)
    pool = ArrayPool()
    for work in ("training", "evaluation"):
        pool.start_task(work)
        arrays = [pool.empty(SHAPE, np.float32) for _ in range(5)]
        for number, array in enumerate(arrays):
            array[...] = number
        assert [array.max() for array in arrays] == [array.min() for array in arrays] == [0, 1, 2, 3, 4]
        assert pieces_of(pool) == 3
        del array, arrays


def test_array_pool_keeps_nothing_without_refcounts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(array_pool, "HAS_REFCOUNTS", False)
    pool = ArrayPool()
    pool.empty(SHAPE, np.float32)
    assert pieces_of(pool) == 0


def test_array_pool_copy_is_empty() -> None:
    pool = ArrayPool()
    pool.empty(SHAPE, np.float32)
    for copy in (deepcopy(pool), pickle.loads(pickle.dumps(pool))):
        assert isinstance(copy, ArrayPool)
        assert pieces_of(copy) == 0


def test_free_refcount_is_measured() -> None:
    """Python counts its own temporary references differently from version to version."""
    piece = aligned_empty((5,), np.float32)
    assert reference_count(piece) == FREE_REFCOUNT
    array = piece.view()
    assert reference_count(piece) == FREE_REFCOUNT + 1
    for _ in range(10_000):  # nor does it change where an interpreter makes often-used code quicker
        assert reference_count(piece) == FREE_REFCOUNT + 1
    del array
    assert reference_count(piece) == FREE_REFCOUNT
