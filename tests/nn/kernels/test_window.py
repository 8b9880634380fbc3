import re
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassnet.errors import ShapeError
from glassnet.nn.kernels.window import SlidingWindow
from glassnet.nn.kernels.workspace import Workspace
from tests.nn.oracle import examples

numbers = st.integers(1, 3)
pairs = st.tuples(numbers, numbers)
borders = st.tuples(st.integers(0, 2), st.integers(0, 2))


@st.composite
def windows(draw: st.DrawFn) -> tuple[SlidingWindow, tuple[int, int, int, int]]:
    window = SlidingWindow(draw(pairs), draw(pairs), (draw(borders), draw(borders)), draw(pairs))
    size = (d * (k - 1) + draw(numbers) for d, k in zip(window.dilation, window.kernel_size, strict=True))
    return window, (draw(st.integers(1, 2)), *size, draw(numbers))


@examples
@given(windows())
def test_views_and_sizes_are_those_of_counting(case: tuple[SlidingWindow, tuple[int, int, int, int]]) -> None:
    window, shape = case
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    expected = np.pad(x, ((0, 0), *window.padding, (0, 0)), constant_values=7)
    padded = window.pad(x, 7, Workspace())
    np.testing.assert_array_equal(padded, expected)
    np.testing.assert_array_equal(window.unpad(padded, shape[1:3]), x)
    zeros = window.padded_zeros(shape, np.float32)
    assert (zeros.shape, zeros.dtype, zeros.any()) == (expected.shape, np.float32, False)

    starts = [
        [start for start in range(0, length, stride) if start + dilation * (kernel - 1) < length]
        for length, stride, dilation, kernel in zip(
            expected.shape[1:3], window.stride, window.dilation, window.kernel_size, strict=True
        )
    ]
    output_size = window.output_size(shape[1:3])
    assert output_size == tuple(map(len, starts))

    under_window = window.unfold(np.ascontiguousarray(padded), output_size)
    assert under_window.shape == (*window.kernel_size, shape[0], *output_size, shape[3])
    for (i, top), (j, left) in [(row, column) for row in enumerate(starts[0]) for column in enumerate(starts[1])]:
        for u, v in np.ndindex(*window.kernel_size):
            under = expected[:, top + window.dilation[0] * u, left + window.dilation[1] * v]
            np.testing.assert_array_equal(under_window[u, v, :, i, j], under)

    reach = window.dilation[1] * (window.kernel_size[1] - 1) + 1
    for windows in (count for count in (1, 2, 3) if output_size[1] % count == 0):
        pixels = reach + window.stride[1] * (windows - 1)
        segments = window.row_segments(padded, output_size, windows, pixels)
        view = np.ascontiguousarray(segments).reshape(-1).view(padded.dtype).reshape(*segments.shape, pixels, shape[3])
        for j, left in enumerate(starts[1][::windows]):
            for (i, top), u in product(enumerate(starts[0]), range(window.kernel_size[0])):
                segment = expected[:, top + window.dilation[0] * u, left : left + pixels]
                np.testing.assert_array_equal(view[:, i, j, u], segment)


def test_pad_returns_x_itself_without_padding() -> None:
    x = np.zeros((1, 3, 3, 2))
    assert SlidingWindow((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)).pad(x, 0, Workspace()) is x


def test_row_segments_are_read_only() -> None:
    segments = SlidingWindow((2, 2), (1, 1), ((0, 0), (0, 0)), (1, 1)).row_segments(
        np.zeros((1, 3, 3, 2)), (2, 2), 1, 2
    )
    with pytest.raises(ValueError, match="read-only"):
        segments[...] = segments[0, 0, 0, 0]


@pytest.mark.parametrize("size", [(3, 9), (9, 1), (1, 1)])
def test_output_size_refuses_an_image_smaller_than_one_window(size: tuple[int, int]) -> None:
    window = SlidingWindow((3, 2), (1, 2), ((0, 1), (0, 0)), (2, 1))
    message = (
        "image must be at least 4x2 for kernel_size (3, 2), dilation (2, 1) and padding ((0, 1), (0, 0)). "
        f"Got {size[0]}x{size[1]}."
    )
    with pytest.raises(ShapeError, match=re.escape(message)):
        window.output_size(size)
