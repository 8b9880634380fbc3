import numpy as np
import pytest
from hypothesis import given

from glassnet.nn.kernels import layout
from tests.nn.oracle import Array, compare, examples, images


@examples
@given(images())
def test_nhwc_and_nchw_are_inverse_views(x: Array) -> None:
    N, C, H, W = x.shape
    assert layout.nhwc(x).shape == (N, H, W, C)
    assert layout.nchw(layout.nhwc(x)).shape == x.shape
    assert layout.nhwc(x)[-1, H - 1, 0, C - 1] == x[-1, C - 1, H - 1, 0]
    assert np.shares_memory(layout.nhwc(x), x)
    assert np.shares_memory(layout.nchw(layout.nhwc(x)), x)
    np.testing.assert_array_equal(layout.nchw(layout.nhwc(x)), x)


@examples
@given(images())
def test_channels_last_is_the_same_numbers_over_another_memory(x: Array) -> None:
    y = layout.channels_last(x)
    compare("channels-last", y, x)
    assert layout.is_channels_last(y)
    assert layout.channels_last(y) is y or np.shares_memory(layout.channels_last(y), y)


def test_is_channels_last() -> None:
    x = np.zeros((2, 3, 4, 5))
    assert not layout.is_channels_last(x)
    assert layout.is_channels_last(layout.channels_last(x))
    assert not layout.is_channels_last(layout.channels_last(x)[:, :, ::2])
    assert layout.is_channels_last(np.zeros((2, 1, 4, 5)))  # one channel lies in both orders
    assert not layout.is_channels_last(np.zeros((2, 3)))


def test_channels_last_returns_features_themselves() -> None:
    x = np.zeros((2, 3))
    assert layout.channels_last(x) is x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_zeros_are_channels_last(dtype: type) -> None:
    y = layout.zeros((2, 3, 4, 5), dtype)
    assert (y.shape, y.dtype, layout.is_channels_last(y)) == ((2, 3, 4, 5), dtype, True)
    assert not y.any()


def image(lines: Array, shape: tuple[int, ...]) -> Array:
    """The inverse of ``layout.as_rows``."""
    N, C, H, W = shape
    return layout.nchw(lines.reshape(N, H, W, C))


@examples
@given(images())
def test_as_rows_is_a_matrix_of_the_image(x: Array) -> None:
    N, C, H, W = x.shape
    lines = layout.as_rows(x)
    assert lines.shape == (N * H, W * C)
    for n, h, w in np.ndindex(N, H, W):
        np.testing.assert_array_equal(lines[n * H + h, w * C : (w + 1) * C], x[n, :, h, w])
    np.testing.assert_array_equal(image(lines, x.shape), x)
    last = layout.channels_last(x)
    assert np.shares_memory(layout.as_rows(last), last)


@examples
@given(images())
def test_repeat_per_pixel_matches_rows(x: Array) -> None:
    _, C, _, W = x.shape
    weight = np.arange(1, C + 1).astype(x.dtype)
    y = image(layout.as_rows(x) * layout.repeat_per_pixel(weight, W), x.shape)
    compare("product", y, x * weight[:, None, None])


@examples
@given(images())
def test_channel_sum_adds_the_pixels_of_each_channel(x: Array) -> None:
    total = layout.channel_sum(layout.as_rows(x), x.shape[1])
    expected = x.astype(np.float64).sum(axis=(0, 2, 3)).astype(x.dtype)
    compare("sum", total, expected, 1e-4 if x.dtype == np.float32 else None)
