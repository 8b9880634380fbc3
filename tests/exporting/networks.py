"""Small networks with random weights, and what ONNX Runtime computes of them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

import glassnet as gn
from glassnet.data import Normalization
from glassnet.exporting.onnx_graph import OPSET, onnx_graph
from glassnet.exporting.verification import Verification, verify
from glassnet.verify.golden.cases import GoldenCase


def network(spec: gn.ResNetSpec, dtype: str = "float32") -> gn.Network:
    """A network without zeros and ones among its numbers, which would hide errors."""
    built = gn.build(spec, dtype=dtype)
    built.load_state_dict(GoldenCase(spec, dtype).state())
    return built


def normalization(channels: int) -> Normalization:
    return Normalization(255.0, tuple(np.linspace(0.3, 0.6, channels)), tuple(np.linspace(0.2, 0.4, channels)))


def images(spec: gn.ResNetSpec, count: int = 5) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (count, *spec.size, spec.in_channels)).astype(np.uint8)


def onnx_model(built: gn.Network, input: str = "uint8") -> Any:
    """The onnx.ModelProto of a network."""
    graph = onnx_graph(built.spec, built.state_dict(), normalization(built.spec.in_channels), input)
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets))


def verified(built: gn.Network, model: Any) -> Verification:
    onnx.checker.check_model(model, full_check=True)
    spec = built.spec
    return verify(model.SerializeToString(), built, normalization(spec.in_channels), images(spec), "images")


def read(content: bytes) -> tuple[Any, dict[str, Any]]:
    """Return the onnx.ModelProto of a file, and its metadata."""
    file = onnx.load_from_string(content)
    return file, {entry.key: json.loads(entry.value) for entry in file.metadata_props}
