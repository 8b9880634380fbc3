"""Faults in the order of axes, planted in a small network of plain NumPy."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from glassnet.verify.golden.evaluation import PassInputs
from glassnet.verify.golden.judging import PassTensors
from glassnet.verify.golden.operations import IMAGES, Operation
from tests.verify.golden.causes.planting import HEALTHY, diagnose, diagnose_layer

Array = NDArray[Any]
N, C, H, W, CLASSES = 2, 3, 4, 5, 4
RNG = np.random.default_rng(0)
X, KERNEL = RNG.standard_normal((N, C, H, W)), RNG.standard_normal((CLASSES, C * H * W))
BIAS, DZ = RNG.standard_normal(CLASSES), RNG.standard_normal((N, CLASSES))
LISTED = (
    Operation("relu", "ReLU", (IMAGES,), (C, H, W)),
    Operation("flatten", "Flatten", ("relu",), (C * H * W,)),
    Operation(
        "fc",
        "Linear",
        ("flatten",),
        (CLASSES,),
        {"in_features": C * H * W, "out_features": CLASSES},
        {"fc.weight": KERNEL.shape, "fc.bias": BIAS.shape},
    ),
)
GIVEN = PassInputs(X, np.zeros(N, np.int64), {"fc.weight": KERNEL, "fc.bias": BIAS}, output_gradients={"fc": DZ})
Orders = dict[str, tuple[int, ...]]


def network(dtype: str, flatten: Any = None, unflatten: Any = None, w: Array | None = None) -> PassTensors:
    """The network with another order of flattening forward, backward, or other weights."""
    flatten = flatten or (lambda a: a.reshape(N, -1))
    unflatten = unflatten or (lambda a: a.reshape(N, C, H, W))
    w = (KERNEL if w is None else w).astype(dtype)
    relu = np.maximum(X.astype(dtype), 0)
    row = flatten(relu)
    d_row = DZ.astype(dtype) @ w
    d_relu = unflatten(d_row)
    return PassTensors(
        "train",
        {"relu": relu, "flatten": row, "fc": row @ w.T + BIAS.astype(dtype)},
        {"flatten": d_row, "relu": d_relu, IMAGES: d_relu * (X > 0)},
        {"fc.weight": DZ.T.astype(dtype) @ row, "fc.bias": DZ.astype(dtype).sum(0)},
        {},
    )


def verdict(port: PassTensors, *missing: str) -> str:
    for name in missing:
        for tensors in (port.outputs, port.gradients):
            tensors.pop(name, None)  # type: ignore[attr-defined]
    return diagnose(LISTED, GIVEN, port, port.outputs["fc"].dtype.name)


def hwc(a: Array) -> Array:
    return a.transpose(0, 2, 3, 1).reshape(N, -1)


def columns(w: Array) -> Array:
    """The weights of HWC features, in the places of CHW features."""
    return w.reshape(-1, C, H, W).transpose(0, 2, 3, 1).reshape(len(w), -1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_flatten_order_is_named_forward(dtype: str) -> None:
    assert verdict(network(dtype)) == HEALTHY
    assert verdict(network(dtype, hwc)) == "flatten order at flatten"
    assert verdict(network(dtype, hwc), "flatten") == "flatten order at flatten"
    assert verdict(network(dtype, lambda a: a.transpose(0, 3, 2, 1).reshape(N, -1))) == "flatten order at flatten"
    assert verdict(network(dtype, w=columns(KERNEL))) == "flatten order at fc"
    assert verdict(network(dtype, w=columns(KERNEL)), "relu") == "flatten order at fc"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_flatten_order_is_named_backward(dtype: str) -> None:
    def unflatten(a: Array) -> Array:
        return a.reshape(N, H, W, C).transpose(0, 3, 1, 2)

    assert verdict(network(dtype, unflatten=unflatten)) == "flatten order at flatten"
    port = network(dtype)
    port.parameter_gradients["fc.weight"] = columns(port.parameter_gradients["fc.weight"])  # type: ignore[index]
    assert verdict(port) == "flatten order at fc"


def test_images_written_by_flatten_in_another_order_are_told_from_nhwc_by_their_shape() -> None:
    """With as many channels as pixels, both have the same memory."""
    x, dy = RNG.standard_normal((N, 6, 2, 3)), RNG.standard_normal((N, 36))
    dx = dy.reshape(N, 2, 3, 6).transpose(0, 3, 1, 2)
    assert diagnose_layer("Flatten", {}, x, {}, dy, {"dx": dx}) == "flatten order at layer"
    stored = dy.reshape(N, 6, 2, 3).transpose(0, 2, 3, 1)
    assert np.array_equal(stored.reshape(-1), np.ascontiguousarray(dx).reshape(-1))
    assert diagnose_layer("Flatten", {}, x, {}, dy, {"dx": stored}) == "NHWC at layer"


@pytest.mark.parametrize("flat", [False, True])
def test_tensors_in_nhwc_are_told_from_wrong_ones(flat: bool) -> None:
    for dtype in ("float64", "float32"):
        for tensors in ("outputs", "gradients"):
            port = network(dtype)
            stored = getattr(port, tensors)["relu"].transpose(0, 2, 3, 1)
            getattr(port, tensors)["relu"] = np.ascontiguousarray(stored).reshape(-1) if flat else stored
            assert verdict(port).startswith("NHWC at")


def test_another_permutation_of_pixels_has_an_unknown_cause() -> None:
    port = network("float64")
    port.outputs["relu"] = port.outputs["relu"][:, :, [1, 0, 3, 2]]  # type: ignore[index]
    assert verdict(port) == "unknown at relu"
