"""Faults planted into an ONNX file, each of which its verification must find."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.errors import DataError, GlassnetError

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from onnx import numpy_helper

from glassnet.exporting.verification import _compare, drawn_images, verification_images, verify
from tests.exporting.networks import network, normalization, onnx_model, verified

Fault = Callable[[Any], None]


def node(model: Any, operator: str, number: int = 0) -> Any:
    return [node for node in model.graph.node if node.op_type == operator][number]


def attribute(model: Any, operator: str, name: str) -> Any:
    return next(attribute for attribute in node(model, operator).attribute if attribute.name == name)


def constant(model: Any, name: str) -> Any:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def replace(model: Any, name: str, change: Callable[[Any], Any]) -> None:
    tensor = constant(model, name)
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), name))


def bypass(model: Any, operator: str, number: int = 0) -> None:
    """Let the readers of a node's output read its first input."""
    left_out = node(model, operator, number)
    for reader in model.graph.node:
        for position, name in enumerate(reader.input):
            if name == left_out.output[0]:
                reader.input[position] = left_out.input[0]


def wrong_eps(model: Any) -> None:
    attribute(model, "BatchNormalization", "epsilon").f = 1e-3


def all_new_channels_after(model: Any) -> None:
    replace(model, "layer2.0.shortcut.pads", lambda pads: np.array([0, 0, 0, 0, 0, pads[1] + pads[5], 0, 0]))


def last_pixels(model: Any) -> None:
    replace(model, "layer2.0.shortcut.starts", lambda starts: starts + 1)


def no_mean(model: Any) -> None:
    bypass(model, "Sub")


def no_scale(model: Any) -> None:
    bypass(model, "Div", 0)


def no_std(model: Any) -> None:
    bypass(model, "Div", 1)


def other_order_of_channels(model: Any) -> None:
    replace(model, "input.mean", lambda mean: mean[:, ::-1].copy())


def rows_and_columns_swapped(model: Any) -> None:
    attribute(model, "Transpose", "perm").ints[:] = [0, 3, 2, 1]


def padding_that_does_not_count(model: Any) -> None:
    attribute(model, "AveragePool", "count_include_pad").i = 0


def pool_from_another_corner(model: Any) -> None:
    attribute(model, "AveragePool", "pads").ints[:] = [0, 0, 2, 2]


def convolution_from_another_corner(model: Any) -> None:
    attribute(model, "Conv", "pads").ints[:] = [2, 2, 0, 0]


def no_relu_after_the_sum(model: Any) -> None:
    bypass(model, "Relu", 2)


def shortcut_after_the_stem(model: Any) -> None:
    node(model, "Add").input[0] = "conv1"


def stale_statistics(model: Any) -> None:
    replace(model, "bn1.running_mean", np.zeros_like)


def other_weights(model: Any) -> None:
    replace(model, "fc.weight", lambda weight: weight + np.float32(1e-3))


def probabilities_over_images(model: Any) -> None:
    attribute(model, "Softmax", "axis").i = 0


ZERO_PAD = gn.ResNetSpec(width=3, image_size=12, blocks=(1, 1), classes=5)
AVERAGE_POOL = ZERO_PAD.replace(stem="7x7", pool="avg", shortcut="projection")
FAULTS: list[tuple[gn.ResNetSpec, Fault]] = [
    *((ZERO_PAD, fault) for fault in (wrong_eps, all_new_channels_after, last_pixels, no_mean, no_scale, no_std)),
    *((ZERO_PAD, fault) for fault in (other_order_of_channels, rows_and_columns_swapped, stale_statistics)),
    *((ZERO_PAD, fault) for fault in (convolution_from_another_corner, no_relu_after_the_sum, other_weights)),
    *((ZERO_PAD, fault) for fault in (shortcut_after_the_stem, probabilities_over_images)),
    (AVERAGE_POOL, padding_that_does_not_count),
    (AVERAGE_POOL, pool_from_another_corner),
]


@pytest.mark.parametrize(("spec", "plant"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_verify_fails_with_a_fault(spec: gn.ResNetSpec, plant: Fault) -> None:
    built = network(spec)
    model = onnx_model(built)
    assert verified(built, model).difference < 3e-6
    plant(model)
    kind = "probabilities" if plant is probabilities_over_images else "logits"
    with pytest.raises(GlassnetError, match=rf"computes other {kind} than .*\. No file was written\.$"):
        verified(built, model)


def test_verify_fails_without_room_for_several_images() -> None:
    built = network(ZERO_PAD)
    model = onnx_model(built)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(GlassnetError, match=r"cannot run the exported network"):
        verified(built, model)


def test_verify_fails_where_onnx_runtime_cannot_load_the_file(capfd: pytest.CaptureFixture[str]) -> None:
    built = network(ZERO_PAD)
    model = onnx_model(built)
    model.opset_import[0].version = 999
    with pytest.raises(GlassnetError, match=r"^ONNX Runtime [\d.]+ cannot run the exported network: [^\n]+$"):
        verify(model.SerializeToString(), built, normalization(3), np.zeros((1, 12, 12, 3), np.uint8), "images")
    assert capfd.readouterr().err == ""


def test_verify_leaves_out_the_warnings_of_onnx_runtime(capfd: pytest.CaptureFixture[str]) -> None:
    built = network(ZERO_PAD)
    model = onnx_model(built)
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "unused"))
    verified(built, model)
    assert capfd.readouterr().err == ""


def test_compare_measures_in_units_of_the_largest_logit() -> None:
    expected = np.array([[2000.0, -2800.0], [1.0, 2.0]])
    assert _compare(expected, expected + 0.014, "") == (2800.0, pytest.approx(5e-6))
    logits = expected + np.array([[0, 0], [0, 0.03]])
    with pytest.raises(GlassnetError, match=r"for image 1: they differ by 1.1e-05 of the largest \|logit\|, 2800;"):
        _compare(expected, logits, "ONNX Runtime")


def test_compare_allows_another_class_only_between_close_logits() -> None:
    close, apart = (np.array([[10.0, 0.0], [1.0, 1.0 + gap]]) for gap in (5e-5, 15e-5))  # 1e-4 is allowed
    change = np.array([[0, 0], [9e-5, -9e-5]])
    _compare(close, close + change, "")
    with pytest.raises(GlassnetError, match=r"another class than the run for 1 of 2 images, first for image 1\."):
        _compare(apart, apart + change, "")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_compare_fails_without_finite_logits(value: float) -> None:
    expected = np.array([[1.0, 0.0], [0.0, 1.0]])
    logits = expected.copy()
    logits[1, 0] = value
    with pytest.raises(GlassnetError, match="computes other logits than the run for image 1"):
        _compare(expected, logits, "")
    with pytest.raises(GlassnetError, match="must be finite to verify an export"):
        _compare(logits, logits, "")


def test_verification_images_are_spread_and_brought_to_255(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.arange(12, dtype=np.uint8).reshape(12, 1, 1, 1)
    labels = np.arange(12) % 2
    data = gn.Dataset(images, labels, test_images=images, test_labels=labels, scale=10.0)
    monkeypatch.setattr("glassnet.exporting.verification.MAX_IMAGES", 4)
    # Images 0, 3, 7 and 11; 11 is above the scale.
    assert verification_images(data, (1, 1, 1)).ravel().tolist() == [0, 76, 178, 255]
    with pytest.raises(DataError, match=r"must be \(H, W, C\) = \(2, 1, 1\)\. Got \(1, 1, 1\)\."):
        verification_images(data, (2, 1, 1))


def test_drawn_images_have_the_mean_and_std_of_the_normalization() -> None:
    drawn = drawn_images(normalization(3), (20, 10))
    assert drawn.shape == (64, 20, 10, 3)
    assert drawn.dtype == np.uint8
    np.testing.assert_allclose(drawn.mean((0, 1, 2)) / 255, normalization(3).mean, atol=0.03)
    np.testing.assert_array_equal(drawn, drawn_images(normalization(3), (20, 10)))
