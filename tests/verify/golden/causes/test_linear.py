"""Faults of the last layer, and of sums over the batch, planted in NumPy."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.verify.golden.causes.planting import HEALTHY, diagnose_layer

Array = NDArray[Any]
Port = dict[str, Array]
RNG = np.random.default_rng(0)
IMAGES, FEATURES, CLASSES = 4, 8, 5
X, DY = RNG.standard_normal((IMAGES, FEATURES)), RNG.standard_normal((IMAGES, CLASSES))
STATE = {"weight": RNG.standard_normal((CLASSES, FEATURES)), "bias": RNG.standard_normal(CLASSES)}
OTHER = RNG.standard_normal((CLASSES, FEATURES))
ATTRIBUTES = {"in_features": FEATURES, "out_features": CLASSES, "bias": True}


def port(dtype: str, w: Array | None = None, b: Array | None = None) -> Port:
    """The layer in NumPy's sums, with the bundle's weights or others."""
    w = (STATE["weight"] if w is None else w).astype(dtype)
    b = (STATE["bias"] if b is None else b).astype(dtype)
    x, dy = X.astype(dtype), DY.astype(dtype)
    y = (x[:, None] * w).sum(-1) + b
    return {"y": y, "dx": (dy[:, :, None] * w).sum(1), "weight": np.einsum("no,ni->oi", dy, x), "bias": dy.sum(0)}


def diagnose(results: Port) -> str:
    return diagnose_layer("Linear", ATTRIBUTES, X, STATE, DY, results)


def of_images(results: Port, images: slice) -> Port:
    dtype = results["y"].dtype
    dw = DY[images].T.astype(dtype) @ X[images].astype(dtype)
    return {**results, "weight": dw, "bias": DY[images].astype(dtype).sum(0)}


FAULTS = {
    "memory as (in, out)": (lambda p: port(p, STATE["weight"].reshape(FEATURES, CLASSES).T), "transposed linear"),
    "written as (in, out)": (lambda p: port(p, STATE["weight"].T.reshape(CLASSES, FEATURES)), "transposed linear"),
    "no bias": (lambda p: {**port(p), "y": port(p, b=np.zeros(CLASSES))["y"]}, "missing bias"),
    "bias twice": (lambda p: {**port(p), "y": port(p, b=2 * STATE["bias"])["y"]}, "bias twice"),
    "classes in another order": (lambda p: {**port(p), "y": port(p)["y"][:, [1, 0, 2, 4, 3]]}, "channel order"),
    "another matrix": (lambda p: port(p, OTHER), "other weights"),
    "dw as (in, out)": (lambda p: {**port(p), "weight": port(p)["weight"].T.copy()}, "transposed linear"),
    "dx of memory as (in, out)": (
        lambda p: {**port(p), "dx": port(p, STATE["weight"].reshape(FEATURES, CLASSES).T)["dx"]},
        "transposed linear",
    ),
    "db left at 0": (lambda p: {**port(p), "bias": np.zeros(CLASSES, p)}, "missing bias gradient"),
    "first image": (lambda p: of_images(port(p), slice(0, 1)), "some images only"),
    "all but the last image": (lambda p: of_images(port(p), slice(0, 3)), "some images only"),
    "mean of images": (lambda p: {**port(p), "weight": port(p)["weight"] / IMAGES}, "mean over the batch"),
    "twice": (
        lambda p: {**port(p), "weight": 2 * port(p)["weight"], "bias": 2 * port(p)["bias"]},
        "accumulated gradients",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_a_linear_layer_has_its_cause(name: str) -> None:
    plant, cause = FAULTS[name]
    for dtype in ("float64", "float32"):
        assert diagnose(plant(dtype)) == f"{cause} at layer"


def test_a_linear_layer_in_another_order_of_sums_is_no_fault() -> None:
    for dtype in ("float64", "float32"):
        assert diagnose(port(dtype)) == HEALTHY


def test_a_square_matrix_may_be_transposed() -> None:
    w = RNG.standard_normal((FEATURES, FEATURES))
    dy = RNG.standard_normal((IMAGES, FEATURES))
    attributes = {**ATTRIBUTES, "out_features": FEATURES}
    results = {"y": X @ w + 1.0}
    assert diagnose_layer("Linear", attributes, X, {"weight": w, "bias": np.ones(FEATURES)}, dy, results) == (
        "transposed linear at layer"
    )


@pytest.mark.parametrize("wrong", [lambda y: y * np.abs(y), lambda y: y**2, lambda y: y + np.sin(y)])
def test_an_output_that_no_matrix_makes_has_an_unknown_cause(wrong: Any) -> None:
    for dtype in ("float64", "float32"):
        results = port(dtype)
        assert diagnose({**results, "y": wrong(results["y"])}) == "unknown at layer"
