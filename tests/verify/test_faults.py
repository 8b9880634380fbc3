"""The operation that is wrong: none in healthy engines, and the one in which a bug is planted."""

from typing import Any

import pytest
import torch

import glassnet as gn
from glassnet import nn
from glassnet.recipe import Recipe
from glassnet.verify.faults import find_fault
from glassnet.verify.golden.cases import GoldenCase

torch.set_num_threads(1)

SMALL: dict[str, Any] = {"image_size": 8, "blocks": 1, "width": 4}
SPECS = {
    "dropout": gn.spec("tiny-bn", width=4, dropout=0.5, pool="stride", bn_momentum=None),
    "pre-activation": gn.spec("resnet20", **SMALL, preactivation=True, shortcut="projection"),
    "bottleneck": gn.spec("resnet50", image_size=32, blocks=(1, 1), width=2, classes=5),
    "plain": gn.spec("resnet20", **SMALL, skip=False),
}
RECIPE = Recipe(label_smoothing=0.1, class_weights="balanced")


def find(spec: gn.ResNetSpec, dtype: str = "float64") -> str:
    engines = {name: gn.build(spec, engine, 0, dtype) for name, engine in (("NumPy", "numpy"), ("PyTorch", "torch"))}
    return str(find_fault(GoldenCase(spec, dtype, 4, 0, RECIPE), engines))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_find_fault_finds_none_in_healthy_engines(spec: gn.ResNetSpec, dtype: str) -> None:
    assert find(spec, dtype) == "None"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_find_fault_names_the_first_of_the_wrong_layers_backward(monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    plain = nn.BatchNorm2d.backward
    monkeypatch.setattr(nn.BatchNorm2d, "backward", lambda layer, dy: 1.001 * plain(layer, dy))
    assert find(SPECS["plain"], dtype) == "layer3.0.bn2 (BatchNorm2d) in NumPy: backward returns a wrong dx"
    monkeypatch.setattr(nn.BatchNorm2d, "backward", lambda layer, dy: plain(layer, dy))
    backward = nn.CrossEntropyLoss.backward
    monkeypatch.setattr(nn.CrossEntropyLoss, "backward", lambda loss: 1.001 * backward(loss))
    assert find(SPECS["plain"], dtype) == "loss (CrossEntropyLoss) in NumPy: backward returns a wrong dlogits"
