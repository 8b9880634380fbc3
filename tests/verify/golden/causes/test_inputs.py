"""Faults before the first operation, planted in what torch's convolution and NumPy's loss read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional as F  # noqa: N812

from glassnet.data import Normalization
from glassnet.verify.golden.evaluation import PassInputs
from glassnet.verify.golden.judging import PassTensors
from glassnet.verify.golden.operations import IMAGES, LOSS, Operation
from tests.verify.golden.causes.planting import HEALTHY, diagnose, diagnose_layer

Array = NDArray[Any]
NORMALIZATION = Normalization(255.0, (0.49, 0.47, 0.42), (0.25, 0.24, 0.27))
RNG = np.random.default_rng(0)
SIZE = (9, 9)
PIXELS = RNG.integers(0, 256, (3, *SIZE, 3), dtype=np.uint8)
MEAN, STD = np.array(NORMALIZATION.mean), np.array(NORMALIZATION.std)
STATE = {"weight": RNG.standard_normal((8, 3, 3, 3)), "bias": RNG.standard_normal(8)}


def images(pixels: Array, mean: Any = MEAN, std: Any = STD, scale: float = 255.0) -> Array:
    return ((pixels / scale - mean) / std).transpose(0, 3, 1, 2)


X = images(PIXELS)


def verdict(x: Array, dtype: str, state: dict[str, Array] | None = None, stride: int = 1) -> str:
    """What the checker says of a port's first layer that has read other images, or has other weights."""
    w, b = (torch.tensor(a.astype(dtype)) for a in (state or STATE).values())
    y = F.conv2d(torch.tensor(np.ascontiguousarray(x).astype(dtype)), w, b, stride, 1).numpy()
    attributes = {"in_channels": 3, "out_channels": 8, "kernel_size": 3, "stride": stride, "padding": 1, "bias": True}
    return diagnose_layer("Conv2d", attributes, X, STATE, np.zeros_like(y), {"y": y}, normalization=NORMALIZATION)


FAULTS: dict[str, tuple[Callable[[], Array], str]] = {
    "pixels": (lambda: PIXELS.transpose(0, 3, 1, 2).astype(float), "not normalized"),
    "pixels / 255": (lambda: PIXELS.transpose(0, 3, 1, 2) / 255, "not normalized"),
    "centered": (lambda: images(PIXELS, std=1), "not normalized"),
    "not divided by 255": (lambda: images(PIXELS, scale=1.0), "not normalized"),
    "divided by 255 twice": (lambda: images(PIXELS, scale=255.0**2), "scaled twice"),
    "normalized twice": (lambda: (X - MEAN[:, None, None]) / STD[:, None, None], "scaled twice"),
    "mean and std exchanged": (lambda: images(PIXELS, STD, MEAN), "mean and std"),
    "each image by its own": (
        lambda: (X - X.mean((2, 3), keepdims=True)) / X.std((2, 3), keepdims=True),
        "mean and std",
    ),
    "ImageNet's": (lambda: images(PIXELS, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "mean and std"),
    "BGR": (lambda: X[:, ::-1], "BGR"),
    "BGR pixels": (lambda: images(PIXELS[..., ::-1]), "BGR"),
    "bytes as planes": (lambda: X.transpose(0, 2, 3, 1).reshape(X.shape), "NHWC"),
    "upside down": (lambda: X[:, :, ::-1], "turned images"),
    "mirrored": (lambda: X[..., ::-1], "turned images"),
    "height and width": (lambda: X.swapaxes(2, 3), "turned images"),
    "another order": (lambda: X[::-1], "other inputs"),
    "other images": (lambda: np.random.default_rng(1).standard_normal(X.shape), "other inputs"),
    "brighter images": (lambda: 1.1 * X, "other inputs"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_other_images_have_their_cause(name: str) -> None:
    make, cause = FAULTS[name]
    for dtype in ("float64", "float32"):
        assert verdict(make(), dtype) == f"{cause} at layer"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_other_weights_are_told_from_other_images(dtype: str) -> None:
    rng = np.random.default_rng(1)
    assert verdict(X, dtype) == HEALTHY
    other = {"weight": rng.standard_normal((8, 3, 3, 3)), "bias": STATE["bias"]}
    assert verdict(X, dtype, other) == "other weights at layer"
    assert verdict(X, dtype, {**STATE, "weight": STATE["weight"] - 0.1 * other["weight"]}) == "other weights at layer"
    assert verdict(X, dtype, other, stride=2) == "other weights at layer"


def test_weights_of_two_layers_may_be_swapped() -> None:
    rng = np.random.default_rng(2)
    kernels = {name: rng.standard_normal((2, 2, 3, 3)) for name in ("first", "second")}
    x = rng.standard_normal((1, 2, 3, 3))  # too few windows to solve for a kernel
    attributes = {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "stride": 1, "padding": 1, "bias": False}
    listed = tuple(
        Operation(name, "Conv2d", (source,), (2, 3, 3), attributes, {f"{name}.weight": (2, 2, 3, 3)})
        for name, source in (("first", IMAGES), ("second", "first"))
    )
    given = PassInputs(x, np.zeros(1, np.int64), {f"{name}.weight": w for name, w in kernels.items()})
    y = F.conv2d(torch.tensor(x), torch.tensor(kernels["second"]), padding=1)
    z = F.conv2d(y, torch.tensor(kernels["first"]), padding=1)
    outputs = {"first": y.numpy(), "second": z.numpy()}
    assert diagnose(listed, given, PassTensors("eval", outputs, {}, {}, {}), "float64") == "other weights at first"


def loss(labels: Array, dtype: str) -> PassTensors:
    z = torch.tensor(np.random.default_rng(3).standard_normal((4, 5)).astype(dtype), requires_grad=True)
    value = F.cross_entropy(z, torch.tensor(labels))
    value.backward()
    logits = z.detach().numpy()
    return PassTensors("train", {"fc": logits, LOSS: value.detach().numpy()}, {"fc": z.grad.numpy()}, {}, {})


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_other_labels_are_told_by_the_gradient_of_the_logits(dtype: str) -> None:
    labels = np.array([0, 3, 1, 1])
    listed = (Operation("fc", "Identity", (IMAGES,), (5,)), Operation(LOSS, "CrossEntropyLoss", ("fc",), ()))

    def verdict_on(other: Array) -> str:
        port = loss(other, dtype)
        return diagnose(listed, PassInputs(port.outputs["fc"], labels, {}), port, dtype)

    assert verdict_on(labels) == HEALTHY
    assert verdict_on(np.array([2, 3, 0, 4])) == "other labels at loss"
    assert verdict_on(labels[::-1].copy()) == "other labels at loss"


@pytest.mark.parametrize("wrong", [np.tanh, np.abs, lambda y: y + 0.1 * y**2])
def test_an_output_that_no_images_make_has_an_unknown_cause(wrong: Callable[[Array], Array]) -> None:
    y = F.conv2d(torch.tensor(X), *map(torch.tensor, STATE.values()), padding=1).numpy()
    attributes = {"in_channels": 3, "out_channels": 8, "kernel_size": 3, "stride": 1, "padding": 1, "bias": True}
    results = {"y": wrong(y)}
    given = {"normalization": NORMALIZATION}
    assert diagnose_layer("Conv2d", attributes, X, STATE, np.zeros_like(y), results, **given) == "unknown at layer"
