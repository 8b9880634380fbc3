"""Faults of convolutions, planted in torch's functions and in plain loops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812

from tests.verify.golden.causes.planting import HEALTHY, diagnose_layer, port_of

Array = NDArray[Any]
Port = dict[str, Array]
conv = F.conv2d


class Convolution:
    """A convolution of 3 images on random numbers."""

    def __init__(
        self,
        channels: int = 4,
        kernels: int = 6,
        k: int = 3,
        stride: int = 1,
        padding: int = 1,
        dilation: int = 1,
        bias: bool = True,
        size: tuple[int, int] = (8, 6),
        seed: int = 0,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.x = rng.standard_normal((3, channels, *size))
        self.state = {"weight": rng.standard_normal((kernels, channels, k, k))}
        if bias:
            self.state["bias"] = rng.standard_normal(kernels)
        self.attributes = {"in_channels": channels, "out_channels": kernels, "kernel_size": k, "stride": stride}
        self.attributes |= {"padding": padding, "dilation": dilation, "bias": bias}
        self.window = {"stride": stride, "padding": padding, "dilation": dilation}
        self.k, self.s, self.p, self.d = k, stride, padding, dilation
        self.dy = rng.standard_normal(self.right(*map(torch.tensor, (self.x, *self.state.values()))).shape)

    def right(self, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        return conv(x, w, b, **self.window)

    def port(self, forward: Callable[..., torch.Tensor], dtype: str = "float64") -> Port:
        return port_of(forward, self.x, self.dy, dtype, **self.state)

    def diagnose(self, port: Port) -> str:
        return diagnose_layer("Conv2d", self.attributes, self.x, self.state, self.dy, port)


def shifted(layer: Convolution, by: int) -> Callable[..., torch.Tensor]:
    """The windows start ``by`` pixels later in both axes."""
    p = layer.p

    def forward(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        border = (p - by, p + by, p - by, p + by)
        return conv(F.pad(x, border), w, b, layer.s, 0, layer.d)

    return forward


def padded(layer: Convolution, mode: str) -> Callable[..., torch.Tensor]:
    return lambda x, w, *b: conv(F.pad(x, (layer.p,) * 4, mode=mode), w, *b, stride=layer.s, dilation=layer.d)


def memory_of(shape: Callable[[tuple[int, ...]], tuple[int, ...]], axes: tuple[int, ...]) -> Any:
    """The kernel that is read where its memory is taken for another shape, whose axes are then exchanged."""
    return lambda w: w.reshape(shape(tuple(w.shape))).permute(axes)


def with_weight(layer: Convolution, change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., torch.Tensor]:
    return lambda x, w, *b: conv(x, change(w), *b, **layer.window)


HWIO_READ = memory_of(lambda s: (s[2], s[3], s[1], s[0]), (3, 2, 0, 1))
HWIO_WRITTEN = lambda w: w.permute(2, 3, 1, 0).reshape(w.shape)  # noqa: E731
OHWI_READ = memory_of(lambda s: (s[0], s[2], s[3], s[1]), (0, 3, 1, 2))
SIDE = {"k": 3, "stride": 2, "padding": 1}

# Name: the layer's arguments, the port's forward pass, the cause.
FORWARD: dict[str, tuple[dict[str, Any], Callable[[Convolution], Callable[..., torch.Tensor]], str]] = {
    "rotated": ({}, lambda a: with_weight(a, lambda w: w.flip(2, 3)), "flipped kernel"),
    "rotated, no bias": ({"bias": False}, lambda a: with_weight(a, lambda w: w.flip(2, 3)), "flipped kernel"),
    "mirrored": ({}, lambda a: with_weight(a, lambda w: w.flip(3)), "flipped kernel"),
    "HWIO memory": ({}, lambda a: with_weight(a, HWIO_READ), "HWIO"),
    "written as HWIO": ({}, lambda a: with_weight(a, HWIO_WRITTEN), "HWIO"),
    "OHWI memory": ({}, lambda a: with_weight(a, OHWI_READ), "HWIO"),
    "IOHW": ({"channels": 5, "kernels": 5}, lambda a: with_weight(a, lambda w: w.transpose(0, 1)), "HWIO"),
    "1x1 with transposed matrix": (
        {"k": 1, "padding": 0, "channels": 3, "kernels": 7},
        lambda a: with_weight(a, lambda w: w.reshape(w.shape[1], w.shape[0]).T[:, :, None, None]),
        "HWIO",
    ),
    "NHWC memory": (
        {},
        lambda a: lambda x, w, b: conv(x.reshape(3, 8, 6, 4).permute(0, 3, 1, 2), w, b, padding=1),
        "NHWC",
    ),
    "TensorFlow's same": (SIDE, lambda a: lambda x, w, b: conv(F.pad(x, (0, 1, 0, 1)), w, b, 2), "padding side"),
    "TensorFlow's same, 7×7": (
        {"k": 7, "stride": 2, "padding": 3, "size": (12, 14)},
        lambda a: lambda x, w, b: conv(F.pad(x, (2, 3, 2, 3)), w, b, 2),
        "padding side",
    ),
    "below and right": ({}, lambda a: shifted(a, 1), "padding side"),
    "above and left": ({}, lambda a: shifted(a, -1), "padding side"),
    "odd pixels": (
        {"k": 1, "stride": 2, "padding": 0},
        lambda a: lambda x, w, b: conv(x[:, :, 1::2, 1::2], w, b),
        "stride phase",
    ),
    "odd pixels of an odd size": (
        {"k": 1, "stride": 2, "padding": 0, "size": (7, 9)},
        lambda a: lambda x, w, b: conv(x[:, :, 1::2, 1::2], w, b),
        "stride phase",
    ),
    "no padding": ({}, lambda a: lambda x, w, b: conv(x, w, b), "no padding"),
    "no padding, zeros around": ({}, lambda a: lambda x, w, b: F.pad(conv(x, w, b), (1,) * 4), "no padding"),
    "reflected": ({}, lambda a: padded(a, "reflect"), "padding mode"),
    "repeated": (SIDE, lambda a: padded(a, "replicate"), "padding mode"),
    "around the edge": ({}, lambda a: padded(a, "circular"), "padding mode"),
    "stride 1": (SIDE, lambda a: lambda x, w, b: conv(x, w, b, 1, 1), "stride ignored"),
    "stride 1, cropped": (SIDE, lambda a: lambda x, w, b: conv(x, w, b, 1, 1)[:, :, :4, :3], "stride ignored"),
    "dilation 1": (
        {"dilation": 2, "padding": 2},
        lambda a: lambda x, w, b: conv(x, w, b, padding=1),
        "dilation",
    ),
    "dilation 2": ({}, lambda a: lambda x, w, b: conv(x, w, b, padding=2, dilation=2), "dilation"),
    "dilation 2, smaller": ({}, lambda a: lambda x, w, b: conv(x, w, b, padding=1, dilation=2), "dilation"),
    "input channels reversed": ({}, lambda a: lambda x, w, b: conv(x.flip(1), w, b, padding=1), "channel order"),
    "input channels shuffled": (
        {"channels": 6},
        lambda a: lambda x, w, b: conv(x.reshape(3, 2, 3, 8, 6).transpose(1, 2).reshape(x.shape), w, b, padding=1),
        "channel order",
    ),
    "output channels": (
        {},
        lambda a: lambda x, w, b: conv(x, w, b, padding=1)[:, [3, 0, 1, 5, 4, 2]],
        "channel order",
    ),
    "two groups": ({}, lambda a: lambda x, w, b: conv(x, w[:, :2], b, padding=1, groups=2), "groups"),
    "no bias": ({}, lambda a: lambda x, w, b: conv(x, w, padding=1), "missing bias"),
    "bias twice": (SIDE, lambda a: lambda x, w, b: conv(x, w, 2 * b, 2, 1), "bias twice"),
}


@pytest.mark.parametrize("name", FORWARD)
def test_a_fault_of_the_forward_pass_has_its_cause(name: str) -> None:
    arguments, fault, cause = FORWARD[name]
    layer = Convolution(**arguments)
    assert layer.diagnose(layer.port(fault(layer), "float32")) == f"{cause} at layer"
    assert layer.diagnose({"y": layer.port(fault(layer))["y"]}) == f"{cause} at layer"


def gradients(layer: Convolution, forward: Callable[..., torch.Tensor], dtype: str) -> Port:
    """The right output, with the gradients of another forward pass."""
    return {**layer.port(forward, dtype), "y": layer.port(layer.right, dtype)["y"]}


def with_dw(layer: Convolution, change: Callable[[Array], Array], dtype: str) -> Port:
    right = layer.port(layer.right, dtype)
    return {**right, "weight": np.ascontiguousarray(change(right["weight"]))}


def with_dx(layer: Convolution, change: Callable[[Array], Array], dtype: str) -> Port:
    right = layer.port(layer.right, dtype)
    return {**right, "dx": np.ascontiguousarray(change(right["dx"]))}


def correlated(layer: Convolution, dtype: str) -> Port:
    """The gradient of the input as a correlation of dy with the kernel as it is, its channels exchanged."""
    x, w, dy = (torch.tensor(array.astype(dtype)) for array in (layer.x, layer.state["weight"], layer.dy))
    dx = conv(dy, w.transpose(0, 1), padding=layer.k - 1 - layer.p)
    assert dx.shape == x.shape
    return {**layer.port(layer.right, dtype), "dx": dx.numpy()}


def without_border(dx: Array) -> Array:
    kept = np.zeros_like(dx)
    kept[:, :, :-1, :-1] = dx[:, :, :-1, :-1]
    return kept


def moved(dx: Array) -> Array:
    """Cropped one pixel too late of the padded gradient; the rest of it is what one pixel earlier was cropped."""
    return np.roll(dx, -1, axis=(2, 3))


BACKWARD: dict[str, tuple[dict[str, Any], Callable[[Convolution, str], Port], str]] = {
    "dx not rotated": ({}, correlated, "flipped kernel"),
    "dx and dw of a rotated kernel": (
        {},
        lambda a, dtype: gradients(a, with_weight(a, lambda w: w.flip(2, 3)), dtype),
        "flipped kernel",
    ),
    "dw rotated": ({}, lambda a, dtype: with_dw(a, lambda dw: dw[:, :, ::-1, ::-1], dtype), "flipped kernel"),
    "dw as HWIO": ({}, lambda a, dtype: with_dw(a, lambda dw: dw.transpose(2, 3, 1, 0), dtype), "HWIO"),
    "dw as OHWI": ({}, lambda a, dtype: with_dw(a, lambda dw: dw.transpose(0, 2, 3, 1), dtype), "HWIO"),
    "dw flat, in HWIO": (
        {},
        lambda a, dtype: with_dw(a, lambda dw: dw.transpose(2, 3, 1, 0).reshape(-1), dtype),
        "HWIO",
    ),
    "dw read as HWIO": (
        {},
        lambda a, dtype: with_dw(a, lambda dw: dw.reshape(3, 3, 4, 6).transpose(3, 2, 0, 1), dtype),
        "HWIO",
    ),
    "dx as NHWC": ({}, lambda a, dtype: with_dx(a, lambda dx: dx.transpose(0, 2, 3, 1), dtype), "NHWC"),
    "gradients of TensorFlow's same": (SIDE, lambda a, dtype: gradients(a, shifted(a, 1), dtype), "padding side"),
    "dx of other windows": (
        {},
        lambda a, dtype: {**gradients(a, a.right, dtype), "dx": gradients(a, shifted(a, -1), dtype)["dx"]},
        "padding side",
    ),
    "dx without its last row and column": (
        SIDE,
        lambda a, dtype: with_dx(a, without_border, dtype),
        "cropped gradient",
    ),
    "dw of reflected images": ({}, lambda a, dtype: gradients(a, padded(a, "reflect"), dtype), "padding mode"),
    "dw of reversed channels": ({}, lambda a, dtype: with_dw(a, lambda dw: dw[:, ::-1], dtype), "channel order"),
}


@pytest.mark.parametrize("name", BACKWARD)
def test_a_fault_of_the_backward_pass_has_its_cause(name: str) -> None:
    arguments, fault, cause = BACKWARD[name]
    layer = Convolution(**arguments)
    for dtype in ("float64", "float32"):
        assert layer.diagnose(fault(layer, dtype)) == f"{cause} at layer"


def loops(layer: Convolution, dtype: str) -> Port:
    """The layer in plain loops over kernel and windows, each sum in another order than the reference's."""
    x, w, b, dy = (a.astype(dtype) for a in (layer.x, layer.state["weight"], layer.state["bias"], layer.dy))
    p, s, d = layer.p, layer.s, layer.d
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)))
    y, dx, dw = np.zeros_like(dy), np.zeros_like(padded), np.zeros_like(w)
    height, width = dy.shape[2:]
    for u in reversed(range(layer.k)):
        for v in reversed(range(layer.k)):
            at = (..., slice(d * u, d * u + s * (height - 1) + 1, s), slice(d * v, d * v + s * (width - 1) + 1, s))
            for c in reversed(range(x.shape[1])):
                pixels = padded[at][:, c]
                y += pixels[:, None] * w[:, c, u, v][:, None, None]
                dw[:, c, u, v] = (dy * pixels[:, None]).sum(axis=(0, 2, 3))
                dx[at][:, c] += (dy * w[:, c, u, v][:, None, None]).sum(axis=1)
    y += b[:, None, None]
    return {"y": y, "dx": dx[:, :, p:-p, p:-p], "weight": dw, "bias": dy.sum(axis=(3, 2, 0))}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_sums_in_another_order_are_no_fault(dtype: str) -> None:
    for arguments in ({}, SIDE, {"dilation": 2, "padding": 2}):
        layer = Convolution(**arguments)
        assert layer.diagnose(loops(layer, dtype)) == HEALTHY
        assert layer.diagnose(layer.port(layer.right, dtype)) == HEALTHY


FAULTS: dict[str, Callable[[Convolution], Callable[..., torch.Tensor]]] = {
    "flipped kernel": lambda a: with_weight(a, lambda w: w.flip(2, 3)),
    "HWIO": lambda a: with_weight(a, HWIO_READ),
    "padding side": lambda a: shifted(a, 1),
    "no padding": lambda a: lambda x, w, *b: conv(x, w, *b, stride=a.s, dilation=a.d),
    "padding mode": lambda a: padded(a, "replicate"),
    "stride ignored": lambda a: lambda x, w, *b: conv(x, w, *b, padding=a.p, dilation=a.d),
    "dilation": lambda a: lambda x, w, *b: conv(x, w, *b, padding=a.p, stride=a.s, dilation=3 - a.d),
    "channel order": lambda a: lambda x, w, *b: a.right(x.flip(1), w, *b),
    "missing bias": lambda a: lambda x, w, b: a.right(x, w),
}


@settings(max_examples=20, deadline=None, derandomize=True, phases=(Phase.explicit, Phase.generate))
@given(
    st.sampled_from(list(FAULTS)),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 4),
    st.integers(1, 2),
    st.integers(0, 2),
    st.integers(1, 2),
    st.sampled_from(["float64", "float32"]),
    st.integers(0, 99),
)
def test_a_random_fault_has_its_cause_or_changes_nothing(
    cause: str, channels: int, kernels: int, k: int, stride: int, padding: int, dilation: int, dtype: str, seed: int
) -> None:
    layer = Convolution(channels, kernels, k, stride, padding, dilation, size=(9, 8), seed=seed)
    y = layer.port(FAULTS[cause](layer), dtype)["y"]
    right = layer.port(layer.right, dtype)["y"]
    is_same = y.shape == right.shape and np.allclose(y, right, rtol=1e-5, atol=1e-5)
    if cause == "channel order" and channels == 3:
        cause = "BGR"
    if cause == "padding side" and stride > 1 and not padding:
        cause = "stride phase"
    assert layer.diagnose({"y": y}) == (HEALTHY if is_same else f"{cause} at layer")
