"""The graph of a network as plain data: all that the layer table, an exporter or a page needs.

``assemble`` composes a network from a namespace of layers. Here the layers of the namespace are records: they compute
nothing, but know their attributes, the shapes of their parameters and the shape of their output.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from types import SimpleNamespace
from typing import Any

from glassnet.architecture import ResNetSpec, assemble

Shape = list[int]
Node = dict[str, Any]


def graph(spec: ResNetSpec) -> Node:
    """Return the network of ``spec`` as a tree of dicts, lists, texts and numbers, as JSON holds it.

    The root is the node of the whole network, with the fields of ``spec`` under ``"spec"``. Every node has

    - ``kind``: the layer's class in ``glassnet.nn``, and ``name``: its dotted name, the prefix of its keys;
    - ``attributes``: the arguments that it was made with;
    - ``input_shape`` and ``output_shape``: of one image, without the batch axis, (C, H, W) or (features,);
    - ``parameters`` and ``buffers``: the shapes under the keys of the state dict.

    A ``Sequential`` has its ``children`` in forward order. A ``Residual`` has the children of its ``body``, a
    ``shortcut`` and an ``activation`` (each a node or None), and ``edges``: pairs of names from which to which a
    tensor flows; ``NAME.input`` is what the block reads and ``NAME.sum`` the sum of both paths.
    """
    root = assemble(spec, _NAMESPACE)
    return {**root.node("", [spec.in_channels, *spec.size]), "spec": _as_lists(spec.to_dict())}


def walk(node: Node) -> Iterator[Node]:
    """Yield all layers and residual blocks of a graph in forward order, a block after the layers it is made of."""
    if node["kind"] == "Residual":
        parts = [*node["body"], node["shortcut"], node["activation"]]
    else:
        parts = node.get("children", [])
    for part in parts:
        if part is not None:
            yield from walk(part)
    if node["kind"] != "Sequential":
        yield node


def parameter_count(spec: ResNetSpec) -> int:
    """Return how many numbers the network of ``spec`` trains."""
    return sum(prod(shape) for node in walk(graph(spec)) for shape in node["parameters"].values())


@dataclass
class _Record:
    """A layer without numbers: its kind, its attributes and the shapes of its parameters and buffers."""

    kind: str
    attributes: dict[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Sequence[int]] = field(default_factory=dict)
    buffers: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def node(self, name: str, shape: Shape) -> Node:
        return {
            "kind": self.kind,
            "name": name,
            "attributes": _as_lists(self.attributes),
            "input_shape": shape,
            "output_shape": self.output_shape(shape),
            "parameters": {f"{name}.{key}": list(size) for key, size in self.parameters.items()},
            "buffers": {f"{name}.{key}": list(size) for key, size in self.buffers.items()},
        }

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for one image; layers that keep the shape need nothing more."""
        return shape


class _Window(_Record):
    """A convolution or a pooling layer."""

    def output_shape(self, shape: Shape) -> Shape:
        kernel, stride, padding = (self.attributes[name] for name in ("kernel_size", "stride", "padding"))
        size = [(length + 2 * padding - kernel) // stride + 1 for length in shape[1:]]
        return [self.attributes.get("out_channels", shape[0]), *size]


class _ZeroPadShortcut(_Record):
    def output_shape(self, shape: Shape) -> Shape:
        stride = self.attributes["stride"]
        return [self.attributes["out_channels"], *(-(-length // stride) for length in shape[1:])]


class _AdaptiveAvgPool2d(_Record):
    def output_shape(self, shape: Shape) -> Shape:
        return [shape[0], 1, 1]


class _Flatten(_Record):
    def output_shape(self, shape: Shape) -> Shape:
        return [prod(shape)]


class _Linear(_Record):
    def output_shape(self, shape: Shape) -> Shape:
        return [self.attributes["out_features"]]


class _Sequential(_Record):
    def __init__(self, children: dict[str, _Record]) -> None:
        super().__init__("Sequential")
        self.children = children

    def nodes(self, prefix: str, shape: Shape) -> list[Node]:
        """Return the children's nodes; each reads the output of the one before it."""
        nodes: list[Node] = []
        for name, child in self.children.items():
            nodes.append(
                child.node(f"{prefix}.{name}".removeprefix("."), nodes[-1]["output_shape"] if nodes else shape)
            )
        return nodes

    def node(self, name: str, shape: Shape) -> Node:
        children = self.nodes(name, shape)
        return {**super().node(name, shape), "output_shape": children[-1]["output_shape"], "children": children}


class _Residual(_Record):
    def __init__(self, body: _Sequential, shortcut: _Record | None, activation: _Record | None) -> None:
        super().__init__("Residual")
        self.body, self.shortcut, self.activation = body, shortcut, activation

    def node(self, name: str, shape: Shape) -> Node:
        body = self.body.nodes(name, shape)
        output = body[-1]["output_shape"]
        has_weights = isinstance(self.shortcut, _Sequential)
        shortcut = self.shortcut and self.shortcut.node(f"{name}.{'downsample' if has_weights else 'shortcut'}", shape)
        activation = self.activation and self.activation.node(f"{name}.relu", output)
        path = [f"{name}.input", *(layer["name"] for layer in body)]
        edges = list(map(list, pairwise(path)))
        last = path[-1]
        if shortcut:
            edges += [[path[0], shortcut["name"]], [shortcut["name"], f"{name}.sum"], [last, f"{name}.sum"]]
            last = f"{name}.sum"
        if activation:
            edges.append([last, activation["name"]])
            last = activation["name"]
        edges.append([last, name])
        parts = {"body": body, "shortcut": shortcut, "activation": activation, "edges": edges}
        return {**super().node(name, shape), "output_shape": output, **parts}


def _conv2d(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0, bias: bool = True
) -> _Record:
    parameters: dict[str, Shape] = {"weight": [out_channels, in_channels, kernel_size, kernel_size]}
    if bias:
        parameters["bias"] = [out_channels]
    attributes = {"in_channels": in_channels, "out_channels": out_channels, "kernel_size": kernel_size}
    attributes |= {"stride": stride, "padding": padding, "bias": bias}
    return _Window("Conv2d", attributes, parameters)


def _batch_norm2d(num_features: int, eps: float, momentum: float | None) -> _Record:
    attributes = {"num_features": num_features, "eps": eps, "momentum": momentum}
    vector = [num_features]
    buffers: dict[str, Shape] = {"running_mean": vector, "running_var": vector, "num_batches_tracked": []}
    return _Record("BatchNorm2d", attributes, {"weight": vector, "bias": vector}, buffers)


def _linear(in_features: int, out_features: int) -> _Record:
    attributes = {"in_features": in_features, "out_features": out_features}
    return _Linear("Linear", attributes, {"weight": (out_features, in_features), "bias": (out_features,)})


def _zero_pad_shortcut(in_channels: int, out_channels: int, stride: int) -> _Record:
    attributes = {"in_channels": in_channels, "out_channels": out_channels, "stride": stride}
    return _ZeroPadShortcut("ZeroPadShortcut", attributes)


_NAMESPACE = SimpleNamespace(
    Conv2d=_conv2d,
    BatchNorm2d=_batch_norm2d,
    ReLU=lambda: _Record("ReLU"),
    MaxPool2d=lambda kernel_size, **window: _Window("MaxPool2d", {"kernel_size": kernel_size, **window}),
    AvgPool2d=lambda kernel_size, **window: _Window("AvgPool2d", {"kernel_size": kernel_size, **window}),
    AdaptiveAvgPool2d=lambda size: _AdaptiveAvgPool2d("AdaptiveAvgPool2d", {"output_size": size}),
    Flatten=lambda: _Flatten("Flatten"),
    Linear=_linear,
    Dropout=lambda p: _Record("Dropout", {"p": p}),
    Identity=lambda: _Record("Identity"),
    Sequential=_Sequential,
    ZeroPadShortcut=_zero_pad_shortcut,
    Residual=_Residual,
)


def _as_lists(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_lists(member) for key, member in value.items()}
    return list(value) if isinstance(value, tuple) else value
