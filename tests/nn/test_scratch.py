import pickle
from copy import deepcopy

import numpy as np
import pytest

from glassnet.nn.memory import ALIGNMENT
from glassnet.nn.scratch import Scratch
from tests.nn.oracle import Array


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (2, 0), ()])
def test_an_array_of_the_shape_and_dtype_asked_for(shape: tuple[int, ...], dtype: type) -> None:
    array = Scratch().empty("columns", shape, dtype)
    assert (array.shape, array.dtype, array.flags.c_contiguous, array.flags.writeable) == (shape, dtype, True, True)


def test_the_same_purpose_gets_the_same_memory_and_another_purpose_its_own() -> None:
    scratch = Scratch()
    first = scratch.empty("columns", (4, 5), np.float64)
    assert np.shares_memory(first, scratch.empty("columns", (3, 3), np.float64))
    assert np.shares_memory(first, scratch.empty("columns", (40,), np.float32))
    assert not np.shares_memory(first, scratch.empty("rows", (4, 5), np.float64))


def test_arrays_begin_at_a_line_of_the_cache() -> None:
    scratch = Scratch()
    for shape in [(4, 5), (1,), (400,), (7, 3)]:
        assert scratch.empty("columns", shape, np.float32).ctypes.data % ALIGNMENT == 0


def test_it_grows_and_never_hands_out_less() -> None:
    scratch = Scratch()
    scratch.empty("columns", (2,), np.float32)
    large = scratch.empty("columns", (100,), np.float64)
    large[...] = np.arange(100)
    assert np.shares_memory(large, scratch.empty("columns", (2,), np.float32))
    assert large[-1] == 99


def test_a_border_is_there_and_comes_back() -> None:
    scratch = Scratch()
    border = ((1, 2), (0, 3))
    for value in (0.0, -np.inf):
        for N in (2, 4, 1):
            padded = scratch.bordered((N, 3, 4, 2), border, value, np.float32)
            assert (padded.shape, padded.dtype) == ((N, 6, 7, 2), np.float32)
            padded[:, 1:4, 0:4] = 5
            outside = np.ones(padded.shape, bool)
            outside[:, 1:4, 0:4] = False
            assert (padded[outside] == value).all()


def test_pictures_of_different_borders_values_and_types_do_not_meet() -> None:
    scratch = Scratch()
    shape, border = (2, 3, 4, 2), ((1, 1), (1, 1))
    arrays = [
        scratch.bordered(shape, border, 0.0, np.float64),
        scratch.bordered(shape, border, -np.inf, np.float64),
        scratch.bordered(shape, border, 0.0, np.float32),
        scratch.bordered(shape, ((0, 2), (1, 1)), 0.0, np.float64),
        scratch.bordered((2, 4, 3, 2), border, 0.0, np.float64),
    ]
    for position, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[position + 1 :])
    assert np.shares_memory(arrays[0], scratch.bordered((1, 3, 4, 2), border, 0.0, np.float64))


def test_a_copy_begins_without_memory() -> None:
    scratch = Scratch()
    scratch.bordered((1, 3, 4, 2), ((1, 1), (1, 1)), 0.0, np.float64)
    scratch.views("key", lambda: scratch.empty("columns", (1000,), np.float64))
    for copy in (deepcopy(scratch), pickle.loads(pickle.dumps(scratch))):
        assert copy.views("key", lambda: "made anew") == "made anew"
        assert len(pickle.dumps(copy)) < 200


def test_views_are_made_once_and_let_go_of_memory_that_was_replaced() -> None:
    scratch = Scratch()
    made: list[int] = []

    def views() -> tuple[Array, Array]:
        made.append(1)
        padded = scratch.bordered((1, 3, 4, 2), ((1, 1), (1, 1)), 0.0, np.float64)
        return padded, scratch.empty("columns", (4,), np.float64)

    first = scratch.views("key", views)
    assert scratch.views("key", views) is first
    scratch.empty("columns", (9,), np.float64)
    scratch.views("key", views)
    scratch.bordered((2, 3, 4, 2), ((1, 1), (1, 1)), 0.0, np.float64)
    scratch.views("key", views)
    assert len(made) == 3
