"""Shapes and receptive fields, against what the networks really compute."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet import nn
from glassnet.architecture import PRESETS
from glassnet.initialization import build_uninitialized
from glassnet.measures.receptive_field import ReceptiveField, layer_geometries, shortcuts

VARIANTS: list[dict[str, Any]] = [
    {},
    {"shortcut": "projection", "pool": "avg"},
    {"skip": False, "pool": "max"},
    {"preactivation": True, "pool": "stride"},
    {"block": "bottleneck", "image_size": (9, 14)},
    {"stem": "7x7", "pool": "max", "image_size": 33},
]


def small(**changes: Any) -> gn.ResNetSpec:
    return gn.spec("resnet20", **{"width": 2, "blocks": (1, 2), "norm": "none", "image_size": 12, **changes})


@pytest.mark.parametrize("changes", [*VARIANTS, {"head": "flatten", "norm": "batch"}, {"dropout": 0.5}], ids=str)
def test_names_and_shapes_are_those_of_the_network(changes: dict[str, Any]) -> None:
    spec = small(**changes)
    network = gn.build(spec)
    outputs = network.activations(np.zeros((1, 3, *spec.size), np.float32))
    found = layer_geometries(spec)
    assert {place.name: place.output_shape for place in found} == {k: v.shape[1:] for k, v in outputs.items()}
    assert [place.name for place in found] == list(outputs)


def support(layers: nn.Module, name: str, place: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """The smallest rectangle of pixels that have any part in output ``place`` of a layer: where its gradient is not 0.

    Weights and pixels are above 0, so that no ReLU closes and nothing cancels; a max-pool's winner depends on the
    image, so many images are looked at.
    """
    rng = np.random.default_rng(0)
    for parameter in layers.parameters():
        parameter.data[...] = rng.uniform(0.5, 1, parameter.data.shape) / parameter.data.size
    images = rng.uniform(0.1, 1, (60, 3, *size))
    seen: list[np.ndarray] = []
    with nn.module_hooks(layers, [name], forward=lambda _name, _x, y: seen.append(y)):
        layers(images)
    # The gradient of one number of a layer in the middle: what runs behind it is left out.
    dy = np.zeros_like(seen[0])
    dy[:, :, place[0], place[1]] = 1
    touched = backward_from(layers, name, dy).any(axis=(0, 1))
    rows, columns = np.flatnonzero(touched.any(axis=1)), np.flatnonzero(touched.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def backward_from(layers: nn.Module, name: str, dy: np.ndarray) -> np.ndarray:
    """Backward from a top-level layer, or from a whole block of a stage, to the image."""
    chain: list[tuple[str, nn.Module]] = []
    for child_name, child in layers.named_children():
        inner = child.named_children() if child_name.startswith("layer") else [("", child)]
        chain += [(f"{child_name}.{block}" if block else child_name, layer) for block, layer in inner]
    names = [link for link, _ in chain]
    for _, layer in reversed(chain[: names.index(name) + 1]):
        dy = layer.backward(dy)
    return dy


@pytest.mark.parametrize("changes", VARIANTS, ids=str)
def test_receptive_fields_are_where_the_gradient_is_not_zero(changes: dict[str, Any]) -> None:
    spec = small(**changes)
    tops = [
        p
        for p in layer_geometries(spec)
        if len(p.output_shape) == 3 and p.name.count(".") == p.name.startswith("layer")
    ]
    compared = 0
    for found in tops:
        if found.name in ("pool", "avgpool"):
            continue
        _, height, width = found.output_shape
        for row, column in {(0, 0), (height // 2, width // 2), (height - 1, width - 1)}:
            rows, columns = support(build_uninitialized(spec, np.float64), found.name, (row, column), spec.size)
            assert (rows, columns) == found.receptive_field.pixels((row, column), spec.size), (
                f"{found.name} at {row}, {column}"
            )
            compared += 1
    assert compared > 10


def test_known_receptive_fields() -> None:
    views = {place.name: place.receptive_field for place in layer_geometries(gn.spec("resnet50"))}
    assert views["conv1"] == ReceptiveField((-3, -3), (7, 7), (2, 2))
    # Araujo et al. 2019, table 1, has 483 for a ResNet-50 that strides in each stage's first 1×1. Ours strides in the
    # 3×3, which then reads a finer map: 2·4 less in stage 2, 2·8 in stage 3 and 2·16 in stage 4.
    assert views["layer4.2"].size == (483 - 8 - 16 - 32,) * 2
    assert views["layer4.2"].stride == (32, 32)
    tiny = {place.name: place.receptive_field for place in layer_geometries(gn.spec("tiny"))}
    assert [tiny[name].size[0] for name in ("conv1", "relu", "layer1.0.conv1", "layer1.0")] == [3, 3, 5, 7]
    assert tiny["fc"].size == (8, 8)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_its_places(name: str) -> None:
    assert layer_geometries(PRESETS[name])[-1].output_shape == (PRESETS[name].classes,)


def test_shortcuts() -> None:
    assert shortcuts(small()) == {"layer1.0": "identity", "layer2.0": "zero-pad", "layer2.1": "identity"}
    assert shortcuts(small(shortcut="projection"))["layer2.0"] == "projection"
    assert shortcuts(small(block="bottleneck"))["layer1.0"] == "zero-pad"  # four times the channels
    assert shortcuts(small(skip=False)) == {}


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2)), max_size=4))
def test_any_chain_of_windows(kernels: list[tuple[int, int, int, int]]) -> None:
    """A delta in the output reaches exactly the first and the last pixel that the view names."""
    view = ReceptiveField((0, 0), (1, 1), (1, 1))
    reached = {0}
    for kernel, stride, dilation, padding in reversed(kernels):
        reached = {place * stride - padding + dilation * tap for place in reached for tap in range(kernel)}
    for kernel, stride, dilation, padding in kernels:
        conv = nn.Conv2d(1, 1, kernel, stride, padding, dilation)
        view = view.after_window(conv.window)
    assert (view.start[0], view.start[0] + view.size[0]) == (min(reached), max(reached) + 1)
