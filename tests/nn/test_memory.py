import pickle
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch

from glassnet.nn import memory
from glassnet.nn.memory import ALIGNMENT, RECYCLED, UNHELD, Recycled, aligned, references
from tests.nn.oracle import Array

SHAPE = (RECYCLED // 32, 2, 4)  # of float32: exactly as large as is recycled


def pieces_of(recycled: Recycled) -> int:
    return sum(map(len, recycled._pieces.values()))


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
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 5), (1000, 7), (4 * RECYCLED, 3)])
def test_memory_is_aligned_whatever_its_size_and_dtype(shape: tuple[int, ...], dtype: type) -> None:
    for make in (aligned, aligned, aligned, Recycled().empty):
        array = make(shape, dtype)
        assert (array.shape, array.dtype) == (shape, dtype)
        assert array.flags.c_contiguous
        assert array.flags.writeable
        if make is aligned or array.nbytes >= RECYCLED:
            assert array.ctypes.data % ALIGNMENT == 0


def test_what_nobody_holds_is_handed_out_again() -> None:
    recycled = Recycled()
    assert len({recycled.empty(SHAPE, np.float32).ctypes.data for _ in range(5)}) == 1
    assert len({recycled.empty(SHAPE, np.float64).ctypes.data for _ in range(5)}) == 1
    assert pieces_of(recycled) == 2


@pytest.mark.parametrize("what", HOLDS)
def test_what_somebody_holds_is_not(what: str) -> None:
    recycled = Recycled()
    held = HOLDS[what](recycled.empty(SHAPE, np.float32))
    mine = np.asarray(held)
    mine[...] = 1
    for _ in range(3):
        recycled.empty(SHAPE, np.float32)[...] = 2
    assert (mine == 1).all()
    assert pieces_of(recycled) == 2
    del held, mine
    both = [recycled.empty(SHAPE, np.float32) for _ in range(2)]
    assert pieces_of(recycled) == 2  # the first is free again
    assert not np.shares_memory(*both)


def test_arrays_that_are_held_at_once_lie_apart() -> None:
    recycled = Recycled()
    for _ in range(3):
        arrays = [recycled.empty(SHAPE, np.float32) for _ in range(4)]
        for number, array in enumerate(arrays):
            array[...] = number
        assert [array.max() for array in arrays] == [array.min() for array in arrays] == [0, 1, 2, 3]
        del array, arrays
    assert pieces_of(recycled) == 4


def test_small_arrays_come_from_numpy() -> None:
    recycled = Recycled()
    recycled.empty((RECYCLED - 1,), np.uint8)
    assert pieces_of(recycled) == 0


def test_other_work_begins_with_other_pieces() -> None:
    recycled = Recycled()
    recycled.serve("training")
    held = recycled.empty(SHAPE, np.float32)
    held[...] = 3
    recycled.serve("training")
    assert pieces_of(recycled) == 1
    recycled.serve("evaluation")
    assert pieces_of(recycled) == 0
    recycled.empty(SHAPE, np.float32)[...] = 4
    assert (held == 3).all()


def test_only_the_network_that_worked_last_keeps_pieces() -> None:
    first, second = Recycled(), Recycled()
    first.serve("training")
    first.empty(SHAPE, np.float32)
    second.serve("training")
    second.empty(SHAPE, np.float32)
    assert (pieces_of(first), pieces_of(second)) == (0, 1)
    first.serve("training")
    assert (pieces_of(first), pieces_of(second)) == (0, 0)
    del first
    second.serve("training")  # what is gone keeps nothing
    assert pieces_of(second) == 0


def test_no_more_is_kept_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST", 3 * RECYCLED)
    recycled = Recycled()
    for work in ("training", "evaluation"):
        recycled.serve(work)
        arrays = [recycled.empty(SHAPE, np.float32) for _ in range(5)]
        for number, array in enumerate(arrays):
            array[...] = number
        assert [array.max() for array in arrays] == [array.min() for array in arrays] == [0, 1, 2, 3, 4]
        assert pieces_of(recycled) == 3
        del array, arrays


def test_without_a_count_of_references_nothing_is_recycled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "COUNTED", False)
    recycled = Recycled()
    recycled.empty(SHAPE, np.float32)
    assert pieces_of(recycled) == 0


def test_a_copy_begins_without_pieces() -> None:
    recycled = Recycled()
    recycled.empty(SHAPE, np.float32)
    for copy in (deepcopy(recycled), pickle.loads(pickle.dumps(recycled))):
        assert isinstance(copy, Recycled)
        assert pieces_of(copy) == 0


def test_the_count_that_means_nobody_is_no_guess() -> None:
    """Python counts its own temporary references differently from version to version."""
    piece = aligned((5,), np.float32)
    assert references(piece) == UNHELD
    array = piece.view()
    assert references(piece) == UNHELD + 1
    for _ in range(10_000):  # nor does it change where an interpreter makes often-used code quicker
        assert references(piece) == UNHELD + 1
    del array
    assert references(piece) == UNHELD
