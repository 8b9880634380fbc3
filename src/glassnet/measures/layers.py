"""Sizes, costs and gradient norms of the layers of a network."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from glassnet.engines import Network

_BUFFERS = frozenset({"running_mean", "running_var", "num_batches_tracked"})


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
    """Return every layer and residual block of a network in forward order.

    The shapes are measured on one image of zeros; parameters and multiply-adds follow from the weights. The network
    stays as it is.
    """
    image = np.zeros((1, network.spec.in_channels, *network.spec.size), network.dtype)
    state = network.state_dict()
    outputs = network.activations(image)
    blocks = residual_blocks(list(outputs))
    rows = []
    for name, output in outputs.items():
        own = {key[len(name) + 1 :]: value for key, value in state.items() if key.rpartition(".")[0] == name}
        parameters = [value for key, value in own.items() if key not in _BUFFERS]
        positions = math.prod(output.shape[2:])  # each weight is used once at each position of the output
        multiply_adds = sum(value.size * positions for value in parameters if value.ndim >= 2)
        # A block's output is its last layer's output, unless the sum with the shortcut comes last.
        counted = name not in blocks or (network.spec.skip and f"{name}.relu" not in outputs)
        memory = output.nbytes if counted else 0
        rows.append(
            LayerSummary(name, output.shape[1:], sum(value.size for value in parameters), multiply_adds, memory)
        )
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
