"""Tests of glassnet.layer_graph: the graph against the networks that both engines build."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.layer_graph import graph, walk

VARIANTS: dict[str, dict[str, Any]] = {
    "tiny": {"name": "tiny"},
    "tiny-bn": {"name": "tiny-bn", "dropout": 0.5},
    "option A": {"name": "resnet20", "image_size": 16},
    "projection": {"name": "resnet20", "image_size": (13, 9), "shortcut": "projection", "blocks": 1},
    "pre-activation": {"name": "resnet20", "image_size": 8, "preactivation": True, "blocks": 1},
    "plain": {"name": "resnet20", "image_size": 8, "skip": False, "blocks": 1, "norm": "none"},
    "stride pool": {"name": "resnet20", "image_size": 9, "pool": "stride", "head": "flatten", "blocks": 1},
    "average pool": {"name": "tiny", "image_size": (7, 9), "pool": "avg"},
    "resnet18": {"name": "resnet18", "image_size": 33, "classes": 5},
    "resnet50": {"name": "resnet50", "image_size": 32, "classes": 3, "width": 4, "bn_eps": 1e-3, "bn_momentum": None},
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS)
def spec(request: pytest.FixtureRequest) -> gn.ResNetSpec:
    return gn.spec(**request.param)


def test_graph_is_json(spec: gn.ResNetSpec) -> None:
    tree = graph(spec)
    assert json.loads(json.dumps(tree, allow_nan=False)) == tree
    assert gn.ResNetSpec.from_dict(tree["spec"]) == spec


def test_graph_has_the_names_and_shapes_of_the_network(spec: gn.ResNetSpec) -> None:
    network = gn.build(spec)
    outputs = network.activations(np.zeros((1, spec.in_channels, *spec.size), np.float32))
    nodes = list(walk(graph(spec)))
    assert [node["name"] for node in nodes] == network.activation_names
    assert {node["name"]: node["output_shape"] for node in nodes} == {
        name: list(output.shape[1:]) for name, output in outputs.items()
    }


def test_graph_has_the_keys_and_shapes_of_the_state_dict(spec: gn.ResNetSpec) -> None:
    network = gn.build(spec)
    nodes = list(walk(graph(spec)))
    parameters = {key: shape for node in nodes for key, shape in node["parameters"].items()}
    buffers = {key: shape for node in nodes for key, shape in node["buffers"].items()}
    assert parameters | buffers == {key: list(array.shape) for key, array in network.state_dict().items()}
    assert sum(int(np.prod(shape)) for shape in parameters.values()) == network.parameter_count


def test_graph_has_the_attributes_of_torchs_layers(spec: gn.ResNetSpec) -> None:
    torch = pytest.importorskip("torch")
    modules = dict(gn.build(spec, "torch").module.named_modules())  # type: ignore[attr-defined]
    for node in walk(graph(spec)):
        module = modules[node["name"]]
        assert type(module).__name__ == node["kind"]
        for name, value in node["attributes"].items():
            if name == "bias":
                assert (module.bias is not None) == value
            elif name != "p" and isinstance(module, torch.nn.Module) and hasattr(module, name):
                own = getattr(module, name)
                assert own == ((value, value) if isinstance(own, tuple) else value), (node["name"], name)


def test_edges_of_a_residual_block() -> None:
    block = next(node for node in walk(graph(gn.spec("tiny"))) if node["kind"] == "Residual")
    assert block["name"] == "layer1.0"
    assert block["edges"] == [
        ["layer1.0.input", "layer1.0.conv1"],
        ["layer1.0.conv1", "layer1.0.relu1"],
        ["layer1.0.relu1", "layer1.0.conv2"],
        ["layer1.0.input", "layer1.0.shortcut"],
        ["layer1.0.shortcut", "layer1.0.sum"],
        ["layer1.0.conv2", "layer1.0.sum"],
        ["layer1.0.sum", "layer1.0.relu"],
        ["layer1.0.relu", "layer1.0"],
    ]


def test_edges_name_what_the_engine_calls_tensors(spec: gn.ResNetSpec) -> None:
    known = set(gn.build(spec).tensor_names)
    for block in (node for node in walk(graph(spec)) if node["kind"] == "Residual"):
        ends = {end for edge in block["edges"] for end in edge}
        other = ends - {f"{block['name']}.input", f"{block['name']}.downsample"}
        assert other <= known | ({f"{block['name']}.sum"} if spec.preactivation else set())
