import pickle
from copy import deepcopy

import numpy as np
import pytest

from glassnet.nn.kernels.array_pool import ALIGNMENT
from glassnet.nn.kernels.workspace import Workspace
from tests.nn.oracle import Array


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (2, 0), ()])
def test_workspace_empty_has_the_requested_shape_and_dtype(shape: tuple[int, ...], dtype: type) -> None:
    array = Workspace().empty("columns", shape, dtype)
    assert (array.shape, array.dtype, array.flags.c_contiguous, array.flags.writeable) == (shape, dtype, True, True)


def test_the_same_purpose_gets_the_same_memory_and_another_purpose_its_own() -> None:
    workspace = Workspace()
    first = workspace.empty("columns", (4, 5), np.float64)
    assert np.shares_memory(first, workspace.empty("columns", (3, 3), np.float64))
    assert np.shares_memory(first, workspace.empty("columns", (40,), np.float32))
    assert not np.shares_memory(first, workspace.empty("rows", (4, 5), np.float64))


def test_workspace_empty_is_aligned() -> None:
    workspace = Workspace()
    for shape in [(4, 5), (1,), (400,), (7, 3)]:
        assert workspace.empty("columns", shape, np.float32).ctypes.data % ALIGNMENT == 0


def test_workspace_empty_grows() -> None:
    workspace = Workspace()
    workspace.empty("columns", (2,), np.float32)
    large = workspace.empty("columns", (100,), np.float64)
    large[...] = np.arange(100)
    assert np.shares_memory(large, workspace.empty("columns", (2,), np.float32))
    assert large[-1] == 99


def test_padded_buffer_keeps_its_border() -> None:
    workspace = Workspace()
    border = ((1, 2), (0, 3))
    for value in (0.0, -np.inf):
        for N in (2, 4, 1):
            padded = workspace.padded_buffer((N, 3, 4, 2), border, value, np.float32)
            assert (padded.shape, padded.dtype) == ((N, 6, 7, 2), np.float32)
            padded[:, 1:4, 0:4] = 5
            outside = np.ones(padded.shape, bool)
            outside[:, 1:4, 0:4] = False
            assert (padded[outside] == value).all()


def test_padded_buffer_is_separate_for_each_border_value_and_dtype() -> None:
    workspace = Workspace()
    shape, border = (2, 3, 4, 2), ((1, 1), (1, 1))
    arrays = [
        workspace.padded_buffer(shape, border, 0.0, np.float64),
        workspace.padded_buffer(shape, border, -np.inf, np.float64),
        workspace.padded_buffer(shape, border, 0.0, np.float32),
        workspace.padded_buffer(shape, ((0, 2), (1, 1)), 0.0, np.float64),
        workspace.padded_buffer((2, 4, 3, 2), border, 0.0, np.float64),
    ]
    for position, array in enumerate(arrays):
        assert not any(np.shares_memory(array, other) for other in arrays[position + 1 :])
    assert np.shares_memory(arrays[0], workspace.padded_buffer((1, 3, 4, 2), border, 0.0, np.float64))


def test_workspace_copy_is_empty() -> None:
    workspace = Workspace()
    workspace.padded_buffer((1, 3, 4, 2), ((1, 1), (1, 1)), 0.0, np.float64)
    workspace.cached_views("key", lambda: workspace.empty("columns", (1000,), np.float64))
    for copy in (deepcopy(workspace), pickle.loads(pickle.dumps(workspace))):
        assert copy.cached_views("key", lambda: "made anew") == "made anew"
        assert len(pickle.dumps(copy)) < 200


def test_views_are_made_once_and_let_go_of_memory_that_was_replaced() -> None:
    workspace = Workspace()
    made: list[int] = []

    def views() -> tuple[Array, Array]:
        made.append(1)
        padded = workspace.padded_buffer((1, 3, 4, 2), ((1, 1), (1, 1)), 0.0, np.float64)
        return padded, workspace.empty("columns", (4,), np.float64)

    first = workspace.cached_views("key", views)
    assert workspace.cached_views("key", views) is first
    workspace.empty("columns", (9,), np.float64)
    workspace.cached_views("key", views)
    workspace.padded_buffer((2, 3, 4, 2), ((1, 1), (1, 1)), 0.0, np.float64)
    workspace.cached_views("key", views)
    assert len(made) == 3
