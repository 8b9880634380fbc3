"""Every kind of layer, and every field's variants, as ONNX Runtime computes them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest

import glassnet as gn
from glassnet.architecture import PRESETS

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import numpy as np
from onnx.reference import ReferenceEvaluator

from glassnet.layer_graph import walk
from tests.exporting.networks import images, network, normalization, onnx_model, verified

BASE = gn.ResNetSpec(width=4, image_size=16, blocks=(2, 1), classes=7)
LARGE = BASE.replace(stem="7x7", pool="max", shortcut="projection", image_size=37)
VARIANTS: dict[str, list[Any]] = {
    "in_channels": [1, 2],
    "image_size": [(15, 22), 9],
    "classes": [2],
    "width": [5],
    "blocks": [(1,), (1, 2, 1)],
    "block": ["bottleneck"],
    "stem": ["7x7"],
    "norm": ["none"],
    "bn_eps": [0.05],
    "bn_momentum": [None],
    "preactivation": [True],
    "skip": [False],
    "shortcut": ["projection"],
    "pool": ["max", "avg", "stride"],
    "head": ["flatten"],
    "dropout": [0.5],
    "zero_init": [True],
}


def test_variants_have_every_field_and_choice() -> None:
    types = {field.name: gn.ResNetSpec.types()[field.name] for field in fields(gn.ResNetSpec)}
    assert VARIANTS.keys() == types.keys() - {"preset"}
    for name, kind in types.items():
        if all(isinstance(choice, str) for choice in get_args(kind)) and name != "blocks":
            assert {*VARIANTS.get(name, []), getattr(BASE, name)} >= set(get_args(kind)), name


@pytest.mark.parametrize("base", [BASE, LARGE], ids=["3x3", "7x7"])
@pytest.mark.parametrize(("name", "value"), [(name, value) for name in VARIANTS for value in VARIANTS[name]])
def test_onnx_graph_computes_the_logits_of_every_variant(base: gn.ResNetSpec, name: str, value: Any) -> None:
    built = network(base.replace(**{name: value}))
    assert verified(built, onnx_model(built)).difference < 3e-6


@pytest.mark.parametrize("name", PRESETS)
def test_onnx_graph_computes_the_logits_of_every_preset(name: str) -> None:
    small = {"width": 4, "image_size": 40} if PRESETS[name].stem == "7x7" else {}
    built = network(gn.spec(name, **small))
    assert verified(built, onnx_model(built)).difference < 3e-6


@pytest.mark.parametrize("spec", [BASE, LARGE.replace(pool="avg"), BASE.replace(preactivation=True, pool="max")])
def test_onnx_graph_computes_the_same_in_another_runtime(spec: gn.ResNetSpec) -> None:
    """ONNX's reference evaluator, which follows the text of the standard."""
    built, pixels = network(spec), images(spec)
    (logits,) = ReferenceEvaluator(onnx_model(built)).run(["logits"], {"images": pixels})
    expected = built.logits(normalization(spec.in_channels).apply(pixels))
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5 * abs(expected).max())


def test_onnx_graph_takes_floats_from_0_to_1() -> None:
    built = network(BASE)
    model = onnx_model(built, "float32")
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in shape] == ["N", 3, 16, 16]
    assert verified(built, model).difference < 3e-6


def test_onnx_graph_takes_images_as_pillow_has_them() -> None:
    shape = onnx_model(network(BASE)).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_param or dim.dim_value for dim in shape] == ["N", 16, 16, 3]


def test_onnx_graph_rounds_float64_weights() -> None:
    built = network(BASE, "float64")
    result = verified(built, onnx_model(built))
    assert 0 < result.difference < 3e-6


def test_onnx_graph_names_tensors_by_layer_and_weights_by_key() -> None:
    built = network(LARGE.replace(dropout=0.5))
    model = onnx_model(built)
    outputs = {output for node in model.graph.node for output in node.output}
    layers = {
        node["name"] for node in walk(gn.graph(built.spec)) if node["kind"] not in ("Identity", "Dropout", "Residual")
    }
    assert layers - {"fc"} <= outputs
    assert {"logits", "probabilities", "layer1.0.sum"} <= outputs
    weights = {tensor.name for tensor in model.graph.initializer if not tensor.name.startswith("input.")}
    assert weights == {key for key in built.state_dict() if not key.endswith("num_batches_tracked")}
