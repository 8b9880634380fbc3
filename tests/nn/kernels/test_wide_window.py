from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassnet.nn.kernels.wide_window import WideWindow
from glassnet.nn.kernels.window import sliding_window
from glassnet.nn.kernels.workspace import Workspace
from tests.nn.oracle import examples


@examples
@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 9),
    st.integers(1, 5),
    st.sampled_from([1, 3, 8, 20, 40]),
)
def test_kernel_is_the_transpose_of_matrix(
    kernel_size: tuple[int, int], stride: int, dilation: int, more: int, channels: int, outputs: int
) -> None:
    window = sliding_window(kernel_size, stride, 0, dilation)
    size = (dilation * (kernel_size[0] - 1) + 1 + more, dilation * (kernel_size[1] - 1) + 1 + more)
    wide = WideWindow(window, size, channels, outputs)
    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((outputs, *kernel_size, channels))
    matrix = wide.matrix(kernel, None, Workspace())
    assert matrix.shape == (wide.row_length, wide.windows * outputs)
    assert np.count_nonzero(matrix) == wide.windows * kernel.size
    sums = rng.standard_normal(matrix.shape)
    assert np.vdot(matrix, sums) == pytest.approx(np.vdot(kernel, wide.kernel(sums)), rel=1e-9, abs=1e-9)

    bias = rng.standard_normal(outputs)
    with_bias = WideWindow(window, size, channels, outputs, has_bias=True).matrix(kernel, bias, Workspace())
    np.testing.assert_array_equal(with_bias, np.vstack([matrix, np.tile(bias, wide.windows)]))


@pytest.mark.parametrize(
    ("outputs", "width", "windows"),
    [(1, 8, 4), (8, 8, 4), (9, 8, 2), (16, 6, 2), (16, 7, 1), (17, 8, 1), (8, 6, 2), (64, 64, 1)],
)
def test_windows_are_as_many_as_fit(outputs: int, width: int, windows: int) -> None:
    wide = WideWindow(sliding_window((3, 3), padding=1), (4, width), 5, outputs)
    assert wide.windows == windows
    assert wide.row_span == 2 + windows
    assert wide.row_length == 3 * (2 + windows) * 5
    assert wide.elements_per_image == prod((4, width)) // windows * wide.row_length
