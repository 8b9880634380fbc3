"""Sizes, costs and gradient norms of the layers of a network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glassnet.layer_graph import graph, walk

if TYPE_CHECKING:
    from glassnet.engines import Network


@dataclass(frozen=True)
class LayerSummary:
    """One row of the layer table.

    Multiply-adds count convolutions and linear layers, without the bias additions. Memory is that of the layer's own
    output for one image, in bytes, so that a table's sum counts nothing twice.
    """

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    memory: int


def residual_blocks(names: Sequence[str]) -> list[str]:
    """Return the names of the residual blocks among the names of all activations."""
    return [name for name in names if any(other.startswith(f"{name}.") for other in names)]


def stages(names: Sequence[str]) -> list[str]:
    """Return the names of the stem's last layer and of each residual block.

    :param names: of all activations, in forward order.
    """
    blocks = residual_blocks(names)
    stem = names[: next(index for index, name in enumerate(names) if name.startswith(f"{blocks[0]}."))]
    return [*stem[-1:], *blocks]


def most_variable_channels(activation: npt.NDArray[np.floating[Any]], max_count: int = 8) -> list[int]:
    """Return the channels of one image's feature maps (C, H, W) that vary most over the image, in channel order."""
    spread = activation.reshape(len(activation), -1).astype(np.float64).std(axis=1)
    return sorted(np.argsort(-np.nan_to_num(spread), kind="stable")[:max_count].tolist())


def layer_table(network: "Network") -> list[LayerSummary]:
    """Return a row for every layer and residual block of a network, in forward order, from the network's graph."""
    rows = []
    for node in walk(graph(network.spec)):
        shapes = node["parameters"].values()
        positions = math.prod(node["output_shape"][1:])  # each weight is used once at each position of the output
        multiply_adds = sum(math.prod(shape) * positions for shape in shapes if len(shape) >= 2)
        # The output of a block is that of its last layer, unless the sum with the shortcut comes last.
        is_counted = node["kind"] != "Residual" or (node["shortcut"] and not node["activation"])
        memory = math.prod(node["output_shape"]) * network.dtype.itemsize if is_counted else 0
        parameters = sum(map(math.prod, shapes))
        rows.append(LayerSummary(node["name"], tuple(node["output_shape"]), parameters, multiply_adds, memory))
    return rows


def layer_gradient_norms(history: Sequence[Mapping[str, Any]]) -> tuple[list[int], dict[str, list[float]]]:
    """Return the epochs, and by layer the L2 norm of its gradient (weight and bias together) in each epoch.

    :param history: epoch records with ``gradient_norms`` ({parameter key: norm}); NaN stands for what is missing.
    """
    epochs = [record["epoch"] for record in history]
    layers: dict[str, list[float]] = {}
    for row, record in enumerate(history):
        squares: dict[str, float] = {}
        for key, norm in record.get("gradient_norms", {}).items():
            layer = key.rpartition(".")[0]
            squares[layer] = squares.get(layer, 0.0) + (math.nan if norm is None else norm * norm)
        for layer, square in squares.items():
            layers.setdefault(layer, [math.nan] * len(epochs))[row] = math.sqrt(square)
    return epochs, layers
