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
from glassnet.verify.naive_convolution import convolution as by_definition
from tests.nn.oracle import Array, compare, examples, images, parity

# torch says that it pads a copy; it is the oracle all the same.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths:UserWarning")


def int_or_pair(low: int, high: int) -> st.SearchStrategy[Any]:
    return st.integers(low, high) | st.tuples(st.integers(low, high), st.integers(low, high))


def both(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[dict[str, Any], Array]:
    """Arguments of a Conv2d, and images on which at least one window fits."""
    arguments: dict[str, Any] = {
        "out_channels": draw(st.integers(1, 4)),
        "kernel_size": draw(int_or_pair(1, 4)),
        "padding": draw(st.sampled_from(["same", "valid"]) | int_or_pair(0, 3)),
        "dilation": draw(int_or_pair(1, 3)),
        "bias": draw(st.booleans()),
    }
    arguments["stride"] = 1 if arguments["padding"] == "same" else draw(int_or_pair(1, 3))
    padding = (0, 0) if isinstance(arguments["padding"], str) else both(arguments["padding"])
    extents = zip(both(arguments["kernel_size"]), both(arguments["dilation"]), padding, strict=True)
    height, width = (max(1, dilation * (kernel - 1) + 1 - 2 * border) for kernel, dilation, border in extents)
    x = draw(images(smallest=(height, width), integers=False))
    return {"in_channels": x.shape[1], **arguments}, x


@examples
@given(convolutions())
def test_conv2d_is_torchs(case: tuple[dict[str, Any], Array]) -> None:
    arguments, x = case
    parity(nn.Conv2d(**arguments), torch.nn.Conv2d(**arguments), x)


@pytest.mark.parametrize("kernel_size", [2, (2, 3), (1, 4), 4])
@pytest.mark.parametrize("dilation", [1, (1, 3)])
def test_same_with_an_even_kernel_is_torchs(kernel_size: Any, dilation: Any) -> None:
    arguments = {"kernel_size": kernel_size, "padding": "same", "dilation": dilation}
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 5))
    parity(nn.Conv2d(3, 2, **arguments), torch.nn.Conv2d(3, 2, **arguments), x)


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 1, 1), (2, 1, 1), (1, 0, 1), (2, 2, 2), (1, 2, 2)])
def test_conv2d_is_its_definition(stride: int, padding: int, dilation: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 2, 6, 5))
    conv = nn.Conv2d(2, 3, (3, 2), stride, padding, dilation, dtype=np.float64)
    assert conv.bias is not None
    conv.weight.data[...] = rng.standard_normal((3, 2, 3, 2))
    conv.bias.data[...] = rng.standard_normal(3)
    y = conv(x)
    compare("output", y, by_definition(x, conv.weight.data, conv.bias.data, stride, padding, dilation))

    # y is linear in x and in w, so their gradients are exact differences: <dy, conv(x + e) − conv(x)> = <dx, e>.
    dy = rng.standard_normal(y.shape)
    dx = conv.backward(dy)
    e, f = rng.standard_normal(x.shape), rng.standard_normal(conv.weight.data.shape)
    along_x = by_definition(e, conv.weight.data, None, stride, padding, dilation)
    along_w = by_definition(x, f, None, stride, padding, dilation)
    assert np.vdot(dx, e) == pytest.approx(np.vdot(dy, along_x), rel=1e-12)
    assert np.vdot(conv.weight.grad, f) == pytest.approx(np.vdot(dy, along_w), rel=1e-12)
    compare("gradient of the bias", conv.bias.grad, dy.sum(axis=(0, 2, 3)))


def test_the_kernel_is_not_flipped() -> None:
    conv = nn.Conv2d(1, 1, (1, 2), bias=False)
    conv.weight.data[0, 0, 0] = [10, 1]
    np.testing.assert_array_equal(conv(np.array([[[[1.0, 2.0, 3.0]]]])), [[[[12, 23]]]])


def test_same_puts_the_odd_pixel_to_the_bottom_and_right() -> None:
    conv = nn.Conv2d(1, 1, 2, padding="same", bias=False)
    conv.weight.data[...] = 1
    np.testing.assert_array_equal(conv(np.array([[[[1.0, 2.0], [3.0, 4.0]]]])), [[[[10, 6], [7, 4]]]])


def test_conv2d_initial_weights_are_he_normal_and_reproducible() -> None:
    conv = nn.Conv2d(8, 100, 3, dtype=np.float64, rng=np.random.default_rng(1))
    assert conv.weight.data.std() == pytest.approx(np.sqrt(2 / 72), rel=0.03)
    assert abs(conv.weight.data.mean()) < 0.01
    assert conv.bias is not None
    assert not conv.bias.data.any()
    conv.bias.data[...] = 1
    weight = conv.weight.data.copy()
    conv.reset_parameters(np.random.default_rng(1))
    np.testing.assert_array_equal(conv.weight.data, weight)
    assert not conv.bias.data.any()
    drawn = np.random.default_rng(1).standard_normal((100, 8, 3, 3)) * np.sqrt(2 / 72)
    np.testing.assert_array_equal(weight, drawn)  # drawn in the order of torch's shape, not of the memory


def test_weights_are_channels_last_and_their_gradient_is_fresh_at_each_step() -> None:
    conv = nn.Conv2d(3, 2, 3)
    assert layout.is_channels_last(conv.weight.data)
    assert layout.is_channels_last(conv.weight.grad)
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 5)).astype(np.float32)
    for _ in range(2):  # overwritten, not added up
        conv.backward(np.ones_like(conv(x)))
        gradient = conv.weight.grad.copy()
    conv.backward(np.ones_like(conv(x)))
    np.testing.assert_array_equal(conv.weight.grad, gradient)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groups": 2}, "groups of Conv2d must be 1. Got 2."),
        ({"in_channels": 0}, "in_channels of Conv2d must be an integer of at least 1. Got 0."),
        ({"out_channels": "4"}, "out_channels of Conv2d must be an integer of at least 1. Got '4'."),
        ({"kernel_size": 0}, "kernel_size of Conv2d must be an integer or a pair of integers of at least 1. Got 0."),
        ({"stride": (1, 0)}, "stride of Conv2d must be an integer or a pair of integers of at least 1. Got (1, 0)."),
        ({"dilation": 0}, "dilation of Conv2d must be an integer or a pair of integers of at least 1. Got 0."),
        ({"padding": -1}, "padding of Conv2d must be an integer or a pair of integers of at least 0. Got -1."),
        ({"padding": "full"}, "padding of Conv2d must be integers, 'same' or 'valid'. Got 'full'."),
        ({"padding": "same", "stride": 2}, "stride of Conv2d must be 1 for padding='same'. Got (2, 2)."),
    ],
)
def test_conv2d_refuses_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        nn.Conv2d(**{"in_channels": 2, "out_channels": 3, "kernel_size": 3, **arguments})


def test_conv2d_refuses_images_of_another_shape() -> None:
    conv = nn.Conv2d(2, 3, 3)
    with pytest.raises(ShapeError, match=re.escape("input of Conv2d must have shape (N, 2, H, W). Got (1, 3, 8, 8).")):
        conv(np.zeros((1, 3, 8, 8)))
    with pytest.raises(ShapeError, match="image must be at least 3x3 for kernel_size .* Got 2x8."):
        conv(np.zeros((1, 2, 2, 8)))
