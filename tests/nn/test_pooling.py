import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassnet import nn
from glassnet.errors import ConfigError, ShapeError
from glassnet.nn.kernels import layout
from tests.nn.oracle import Array, examples, images, parity


@st.composite
def pools(draw: st.DrawFn, *, dilated: bool) -> tuple[dict[str, Any], Array]:
    """Arguments of a pool, and images (half of them full of ties) on which at least one window fits."""
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel = draw(pairs)
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    arguments: dict[str, Any] = {"kernel_size": kernel, "padding": padding, "stride": draw(st.none() | pairs)}
    if kernel[0] == kernel[1] and draw(st.booleans()):
        arguments["kernel_size"], arguments["padding"] = kernel[0], padding[0]
        padding = (padding[0], padding[0])
    dilation = draw(pairs) if dilated else (1, 1)
    if dilated:
        arguments["dilation"] = dilation
    # A dilated window must not lie in the padding altogether: there torch reads past its image.
    height, width = (d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True))
    return arguments, draw(images(smallest=(height, width)))


@examples
@given(pools(dilated=True))
def test_max_pool2d_is_torchs(case: tuple[dict[str, Any], Array]) -> None:
    arguments, x = case
    parity(nn.MaxPool2d(**arguments), torch.nn.MaxPool2d(**arguments), x)


@examples
@given(pools(dilated=False), st.booleans())
def test_avg_pool2d_is_torchs(case: tuple[dict[str, Any], Array], count_include_pad: bool) -> None:
    arguments, x = case
    arguments["count_include_pad"] = count_include_pad
    parity(nn.AvgPool2d(**arguments), torch.nn.AvgPool2d(**arguments), x)


@examples
@given(images(), st.sampled_from([1, (1, 1)]))
def test_adaptive_avg_pool2d_is_torchs(x: Array, output_size: Any) -> None:
    parity(nn.AdaptiveAvgPool2d(output_size), torch.nn.AdaptiveAvgPool2d(output_size), x)


@pytest.mark.parametrize(("kernel_size", "stride", "padding"), [(2, 2, 0), (3, 1, 1), (3, 2, 1)])
def test_max_pool2d_counts_nan_as_the_largest(kernel_size: int, stride: int, padding: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 6))
    x[np.random.default_rng(1).random(x.shape) < 0.2] = np.nan
    arguments = (kernel_size, stride, padding)
    parity(nn.MaxPool2d(*arguments).eval(), torch.nn.MaxPool2d(*arguments), x)


def test_the_gradient_goes_to_the_first_of_equal_maxima() -> None:
    pool = nn.MaxPool2d(2)
    np.testing.assert_array_equal(pool(np.array([[[[1.0, 5.0], [5.0, 5.0]]]])), [[[[5]]]])
    np.testing.assert_array_equal(pool.backward(np.array([[[[7.0]]]])), [[[[0, 7], [0, 0]]]])


def test_max_pool2d_activation_pattern_is_the_index_of_each_maximum() -> None:
    pool = nn.MaxPool2d((2, 3), stride=(2, 1), padding=(0, 1))
    assert pool.activation_pattern() == []
    x = np.random.default_rng(0).permutation(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(float)
    pool(x)
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2, 3), axis=(2, 3))[:, :, ::2]
    expected = windows.reshape(*windows.shape[:4], 6).argmax(axis=4)
    np.testing.assert_array_equal(*pool.activation_pattern(), expected)


def test_max_pool2d_backward_adds_gradients_of_overlapping_windows() -> None:
    pool = nn.MaxPool2d(2, stride=1)
    pool(np.array([[[[1.0, 2.0, 1.0], [1.0, 9.0, 1.0], [1.0, 2.0, 1.0]]]]))
    np.testing.assert_array_equal(
        pool.backward(np.array([[[[1.0, 2.0], [3.0, 4.0]]]])), [[[[0, 0, 0], [0, 10, 0], [0, 0, 0]]]]
    )


def test_max_pool2d_padding_is_below_negative_numbers() -> None:
    np.testing.assert_array_equal(nn.MaxPool2d(3, 1, 1)(np.full((1, 1, 2, 2), -3.0)), np.full((1, 1, 2, 2), -3.0))


def test_the_zeros_of_the_padding_count_in_the_mean() -> None:
    np.testing.assert_array_equal(nn.AvgPool2d(2, 2, 1)(np.full((1, 1, 2, 2), 4.0)), np.ones((1, 1, 2, 2)))


@pytest.mark.parametrize("pool", [nn.MaxPool2d, nn.AvgPool2d])
def test_pools_refuse_wrong_arguments(pool: Any) -> None:
    name = pool.__name__
    for padding in ((1, 2), (2, 1)):
        message = f"padding of {name} must be at most half of kernel_size (2, 3). Got {padding}."
        with pytest.raises(ConfigError, match=re.escape(message)):
            pool((2, 3), padding=padding)
    with pytest.raises(ConfigError, match=f"kernel_size of {name} must be an integer or a pair of integers of at"):
        pool(0)
    with pytest.raises(ConfigError, match=f"stride of {name} must be an integer or a pair of integers of at"):
        pool(2, stride=0)
    with pytest.raises(ConfigError, match=f"padding of {name} must be an integer or a pair of integers of at least 0"):
        pool(2, padding=-1)


def test_pools_refuse_a_wrong_dilation_or_output_size() -> None:
    with pytest.raises(ConfigError, match="dilation of MaxPool2d must be an integer or a pair of integers of at"):
        nn.MaxPool2d(2, dilation=0)
    with pytest.raises(ConfigError, match=re.escape("output_size of AdaptiveAvgPool2d must be 1. Got (2, 1).")):
        nn.AdaptiveAvgPool2d((2, 1))


@pytest.mark.parametrize("layer", [nn.MaxPool2d(3), nn.AvgPool2d(3), nn.AdaptiveAvgPool2d()])
def test_pools_refuse_arrays_that_are_no_images(layer: nn.Module) -> None:
    name = type(layer).__name__
    with pytest.raises(ShapeError, match=re.escape(f"input of {name} must have shape (N, C, H, W). Got (4, 9).")):
        layer(np.zeros((4, 9)))
    if not isinstance(layer, nn.AdaptiveAvgPool2d):
        with pytest.raises(ShapeError, match="image must be at least 3x3 for kernel_size .* Got 2x3."):
            layer(np.zeros((1, 1, 2, 3)))


def test_adaptive_avg_pool2d_backward_is_channels_last() -> None:
    pool = nn.AdaptiveAvgPool2d()
    pool(layout.zeros((2, 3, 4, 5), np.float32))
    assert layout.is_channels_last(pool.backward(np.ones((2, 3, 1, 1), np.float32)))
