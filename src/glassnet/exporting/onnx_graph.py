"""The ONNX graph of a network, from images as they are decoded to logits and probabilities.

Each layer of ``gn.graph`` becomes the ONNX operators that compute the same; nothing is traced. Tensors have the names
of the layers that compute them, and weights the keys of the state dict.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from glassnet.architecture import ResNetSpec
from glassnet.data import Normalization
from glassnet.layer_graph import Node, graph

Array = NDArray[Any]

# Of 2021, run by ONNX Runtime 1.8 and newer: the first in which BatchNormalization says that it does not train. Before,
# its number of outputs did, and ONNX's own reference evaluator uses the statistics of the batch then.
OPSET = 14
INPUT, LOGITS, PROBABILITIES = "images", "logits", "probabilities"


def onnx_graph(spec: ResNetSpec, state: Mapping[str, Array], normalization: Normalization, input: str) -> Any:
    """Return the ``onnx.GraphProto`` of a network in evaluation mode, for batches of any number of images.

    :param state: the state dict; float64 is rounded to float32.
    :param normalization: of pixels; its scale is the uint8 value that stands for 1.
    :param input: ``uint8`` for images (N, H, W, C), ``float32`` for images (N, C, H, W) from 0 to 1.
    """
    writer = _GraphWriter(state)
    (height, width), channels = spec.size, spec.in_channels
    shape: list[str | int] = ["N", height, width, channels] if input == "uint8" else ["N", channels, height, width]
    kind = TensorProto.UINT8 if input == "uint8" else TensorProto.FLOAT
    x = writer.normalize(INPUT, normalization, input)
    writer.layer(graph(spec), x)
    writer.nodes[-1].output[:] = [LOGITS]
    writer.add("Softmax", PROBABILITIES, [LOGITS], axis=1)
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", spec.classes]) for name in (LOGITS, PROBABILITIES)
    ]
    images = helper.make_tensor_value_info(INPUT, kind, shape)
    return helper.make_graph(writer.nodes, spec.preset, [images], outputs, writer.initializers)


class _GraphWriter:
    """The nodes and initializers of a graph. Each method adds a layer's nodes and returns the name of its output."""

    def __init__(self, state: Mapping[str, Array]) -> None:
        self.state = state
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def add(self, operator: str, name: str, inputs: list[str], **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def constant(self, name: str, values: Any, dtype: type[np.generic] = np.float32) -> str:
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name

    def weights(self, layer: Node, *keys: str) -> list[str]:
        """Add some of a layer's arrays, without those that it does not have."""
        names = [f"{layer['name']}.{key}" for key in keys]
        return [self.constant(name, self.state[name]) for name in names if name in self.state]

    def normalize(self, x: str, normalization: Normalization, input: str) -> str:
        """(x / scale − mean) / std, in the order of ``Normalization.apply``; (N, H, W, C) -> (N, C, H, W)."""
        if input == "uint8":
            x = self.add("Cast", "input.float", [x], to=TensorProto.FLOAT)
            x = self.add("Transpose", "input.channels_first", [x], perm=[0, 3, 1, 2])
            x = self.add("Div", "input.pixels", [x, self.constant("input.scale", normalization.scale)])
        mean, std = (np.reshape(values, (1, -1, 1, 1)) for values in (normalization.mean, normalization.std))
        x = self.add("Sub", "input.centred", [x, self.constant("input.mean", mean)])
        return self.add("Div", "input.normalized", [x, self.constant("input.std", std)])

    def layer(self, layer: Node, x: str) -> str:
        """Add any layer of the graph."""
        write: Callable[[Node, str], str] = getattr(self, f"_{layer['kind']}")
        return write(layer, x)

    def _Sequential(self, layer: Node, x: str) -> str:  # noqa: N802
        for child in layer["children"]:
            x = self.layer(child, x)
        return x

    def _Residual(self, block: Node, x: str) -> str:  # noqa: N802
        y = x
        for layer in block["body"]:
            y = self.layer(layer, y)
        if block["shortcut"]:
            y = self.add("Add", f"{block['name']}.sum", [self.layer(block["shortcut"], x), y])
        return self.layer(block["activation"], y) if block["activation"] else y

    def _Conv2d(self, layer: Node, x: str) -> str:  # noqa: N802
        return self.add("Conv", layer["name"], [x, *self.weights(layer, "weight", "bias")], **_window(layer))

    def _BatchNorm2d(self, layer: Node, x: str) -> str:  # noqa: N802
        inputs = self.weights(layer, "weight", "bias", "running_mean", "running_var")
        return self.add("BatchNormalization", layer["name"], [x, *inputs], epsilon=layer["attributes"]["eps"])

    def _ReLU(self, layer: Node, x: str) -> str:  # noqa: N802
        return self.add("Relu", layer["name"], [x])

    def _MaxPool2d(self, layer: Node, x: str) -> str:  # noqa: N802
        return self.add("MaxPool", layer["name"], [x], **_window(layer))

    def _AvgPool2d(self, layer: Node, x: str) -> str:  # noqa: N802
        return self.add("AveragePool", layer["name"], [x], **_window(layer), count_include_pad=1)

    def _AdaptiveAvgPool2d(self, layer: Node, x: str) -> str:  # noqa: N802
        return self.add("GlobalAveragePool", layer["name"], [x])

    def _Flatten(self, layer: Node, x: str) -> str:  # noqa: N802
        return self.add("Flatten", layer["name"], [x], axis=1)

    def _Linear(self, layer: Node, x: str) -> str:  # noqa: N802
        return self.add("Gemm", layer["name"], [x, *self.weights(layer, "weight", "bias")], transB=1)

    def _ZeroPadShortcut(self, layer: Node, x: str) -> str:  # noqa: N802
        name, attributes = layer["name"], layer["attributes"]
        new = attributes["out_channels"] - attributes["in_channels"]
        # From the first to the last of rows and columns (axes 2 and 3), every stride-th.
        slices = {
            "starts": [0, 0],
            "ends": layer["input_shape"][1:],
            "axes": [2, 3],
            "steps": 2 * [attributes["stride"]],
        }
        inputs = [self.constant(f"{name}.{key}", values, np.int64) for key, values in slices.items()]
        x = self.add("Slice", f"{name}.pixels", [x, *inputs])
        pads = [0, new // 2, 0, 0, 0, new - new // 2, 0, 0]  # before each axis, then after each
        return self.add("Pad", name, [x, self.constant(f"{name}.pads", pads, np.int64)])

    def _Identity(self, layer: Node, x: str) -> str:  # noqa: N802
        return x

    def _Dropout(self, layer: Node, x: str) -> str:  # noqa: N802
        return x  # in evaluation mode


def _window(layer: Node) -> dict[str, list[int]]:
    """Return the attributes of a square window. Sizes are rounded down, as ONNX does by default."""
    attributes = layer["attributes"]
    return {
        "kernel_shape": 2 * [attributes["kernel_size"]],
        "strides": 2 * [attributes["stride"]],
        "pads": 4 * [attributes["padding"]],
    }
