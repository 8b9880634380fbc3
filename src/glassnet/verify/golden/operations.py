"""The operations of a network, one after another, as the golden format lists them and the checker judges them.

``gn.graph`` is a tree of layers. Here every sum and every block's output are operations too, and each operation names
the tensors that it reads: its ``inputs`` name other operations, whose outputs they are, or are ``input``, the images.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from glassnet.architecture import ResNetSpec
from glassnet.layer_graph import Node, graph

IMAGES = "input"
ADDED = "added"  # the second input of a sum that is no part of a network
LOSS = "loss"


@dataclass(frozen=True)
class Operation:
    """One operation: ``output = kind(inputs)``. Its name is that of its output.

    ``kind`` is a class of ``glassnet.nn``, or ``Sum``, which adds its two inputs, the shortcut's and the body's output;
    ``Block``, whose output is its input, under the name of the residual block; or ``CrossEntropyLoss``, which reads the
    logits, and the labels.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    output_shape: tuple[int, ...]  # of one image
    attributes: Mapping[str, Any] = field(default_factory=dict)  # the arguments that the layer is made with
    parameters: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # shapes, by key of the state dict
    buffers: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def operations(spec: ResNetSpec) -> tuple[Operation, ...]:
    """Return the operations of the network of ``spec`` in forward order, the loss last."""
    root = graph(spec)
    layers = tuple(_chain(root["children"], IMAGES))
    logits = layers[-1].name
    return (*layers, Operation(LOSS, "CrossEntropyLoss", (logits,), ()))


def consumers(listed: tuple[Operation, ...]) -> dict[str, list[Operation]]:
    """Return the operations that read each tensor; none read the last one's output."""
    readers: dict[str, list[Operation]] = {operation.name: [] for operation in listed}
    for operation in listed:
        for name in operation.inputs:
            readers.setdefault(name, []).append(operation)
    return readers


def _chain(nodes: list[Node], source: str) -> Iterator[Operation]:
    """Yield the operations of layers one after the other, the first of which reads ``source``."""
    for node in nodes:
        for operation in _operations_of(node, source):
            yield operation
            last = operation.name
        source = last


def _operations_of(node: Node, source: str) -> Iterator[Operation]:
    """Yield the operations of a node that reads ``source``; the last one's output is the node's."""
    if node["kind"] == "Sequential":
        yield from _chain(node["children"], source)
    elif node["kind"] == "Residual":
        yield from _residual(node, source)
    else:
        parameters, buffers = (
            {key: tuple(shape) for key, shape in node[of].items()} for of in ("parameters", "buffers")
        )
        shape = tuple(node["output_shape"])
        yield Operation(node["name"], node["kind"], (source,), shape, node["attributes"], parameters, buffers)


def _residual(node: Node, source: str) -> Iterator[Operation]:
    name, shape = node["name"], tuple(node["output_shape"])
    body = list(_chain(node["body"], source))
    yield from body
    last = body[-1].name
    if node["shortcut"]:
        shortcut = list(_operations_of(node["shortcut"], source))
        yield from shortcut
        total = f"{name}.sum" if node["activation"] else name  # without an activation the sum is the block's output
        yield Operation(total, "Sum", (shortcut[-1].name, last), shape)
        last = total
    if node["activation"]:
        yield from _operations_of(node["activation"], last)
        last = node["activation"]["name"]
    if last != name:
        yield Operation(name, "Block", (last,), shape)
