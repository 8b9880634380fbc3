"""The numbers behind the figures. Nothing here draws, and nothing here changes the network it looks at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glassnet.nn.loss import softmax

if TYPE_CHECKING:
    from glassnet.data import Normalization
    from glassnet.engines import Network

_BUFFERS = frozenset({"running_mean", "running_var", "num_batches_tracked"})


@dataclass(frozen=True)
class Mistake:
    """One image that the network names wrongly: its place in the split, and what the network believes."""

    index: int
    true: int
    predicted: int
    true_probability: float
    predicted_probability: float


@dataclass(frozen=True)
class ClassScore:
    """One class: precision and recall (NaN where there is nothing to divide by) and its number of images."""

    precision: float
    recall: float
    count: int


@dataclass(frozen=True)
class Layer:
    """One row of the layer table. Multiply-adds count convolutions and linear layers, without the bias additions;
    memory is that of the layer's own output for one image, in bytes, so that a table's sum counts nothing twice."""

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    memory: int


def probabilities(
    network: "Network", normalization: "Normalization", images: npt.NDArray[np.uint8], chunk: int = 512
) -> npt.NDArray[np.float64]:
    """Softmax of the network's logits.

    :param images: uint8 (N, H, W, C), as a split holds them; they are normalized ``chunk`` at a time.
    :returns: (N, classes); a row whose logits are not finite is NaN.
    """
    chunks = (images[start : start + chunk] for start in range(0, len(images), chunk))
    logits = [network.logits(normalization.apply(part, network.dtype)) for part in chunks]
    with np.errstate(invalid="ignore"):  # a network that diverged
        result: npt.NDArray[np.float64] = softmax(np.concatenate(logits).astype(np.float64))
    return result


def confusion_matrix(
    labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int
) -> npt.NDArray[np.int64]:
    """How often each true class (row) was given each name (column): (classes, classes), scikit-learn's."""
    from sklearn import metrics  # slow to load, and the layer table does without

    matrix: npt.NDArray[np.int64] = metrics.confusion_matrix(labels, predicted, labels=np.arange(classes))
    return matrix


def class_scores(labels: npt.NDArray[np.int64], predicted: npt.NDArray[np.int64], classes: int) -> list[ClassScore]:
    """Precision (how many that got the name deserve it) and recall (how many of the class got its name), by class."""
    from sklearn import metrics

    precision, recall, _, count = metrics.precision_recall_fscore_support(
        labels, predicted, labels=np.arange(classes), average=None, zero_division=np.nan
    )
    return [ClassScore(*row) for row in zip(precision.tolist(), recall.tolist(), count.tolist(), strict=True)]


def confident_mistakes(
    labels: npt.NDArray[np.int64], probabilities: npt.NDArray[np.float64], most: int = 36
) -> list[Mistake]:
    """The wrongly named images, those the network is surest of first; ties in the order of the split."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    surest = wrong[np.argsort(-probabilities[wrong, predicted[wrong]], kind="stable")][:most]
    return [
        Mistake(
            index=int(index),
            true=int(labels[index]),
            predicted=int(predicted[index]),
            true_probability=float(probabilities[index, labels[index]]),
            predicted_probability=float(probabilities[index, predicted[index]]),
        )
        for index in surest
    ]


def sample_indices(labels: npt.NDArray[np.int64], count: int = 36) -> list[int]:
    """Places of up to ``count`` images, one of each class in turn, so that no class is left out by its order."""
    seen: dict[int, int] = {}
    turn = np.empty(len(labels), np.int64)
    for index, label in enumerate(labels.tolist()):
        turn[index] = seen[label] = seen.get(label, -1) + 1
    order: list[int] = np.lexsort((labels, turn))[:count].tolist()
    return order


def residual_blocks(names: Sequence[str]) -> list[str]:
    """Of the names of all activations those that have parts: the residual blocks."""
    return [name for name in names if any(other.startswith(f"{name}.") for other in names)]


def stages(names: Sequence[str]) -> list[str]:
    """From the names of all activations in forward order, the stem's last layer and each residual block."""
    blocks = residual_blocks(names)
    stem = names[: next(place for place, name in enumerate(names) if name.startswith(f"{blocks[0]}."))]
    return [*stem[-1:], *blocks]


def telling_channels(activation: npt.NDArray[np.floating[Any]], most: int = 8) -> list[int]:
    """The channels of one image's feature maps (C, H, W) that vary most over the image, in channel order."""
    spread = activation.reshape(len(activation), -1).astype(np.float64).std(axis=1)
    return sorted(np.argsort(-np.nan_to_num(spread), kind="stable")[:most].tolist())


def layer_table(network: "Network") -> list[Layer]:
    """Every layer and residual block of a network in forward order, measured on one image of zeros.

    The shapes are those that really come out; parameters and multiply-adds follow from the weights. The
    network stays as it is.
    """
    image = np.zeros((1, network.spec.in_channels, *network.spec.size), network.dtype)
    state = network.state_dict()
    outputs = network.activations(image)
    blocks = residual_blocks(list(outputs))
    rows = []
    for name, output in outputs.items():
        own = {key[len(name) + 1 :]: value for key, value in state.items() if key.rpartition(".")[0] == name}
        parameters = [value for key, value in own.items() if key not in _BUFFERS]
        places = math.prod(output.shape[2:])  # each weight is used once at each place of the output
        multiply_adds = sum(value.size * places for value in parameters if value.ndim >= 2)
        # What a block gives is what its last layer gave, but where the sum with the shortcut comes last.
        counted = name not in blocks or (network.spec.skip and f"{name}.relu" not in outputs)
        memory = output.nbytes if counted else 0
        rows.append(Layer(name, output.shape[1:], sum(value.size for value in parameters), multiply_adds, memory))
    return rows


def layer_gradient_norms(history: Sequence[Mapping[str, Any]]) -> tuple[list[int], dict[str, list[float]]]:
    """The epochs, and for each layer the L2 norm of its gradient (weight and bias together) at each; NaN where
    a record has none."""
    epochs = [record["epoch"] for record in history]
    layers: dict[str, list[float]] = {}
    for position, record in enumerate(history):
        squares: dict[str, float] = {}
        for key, norm in record.get("gradient_norms", {}).items():
            layer = key.rpartition(".")[0]
            squares[layer] = squares.get(layer, 0.0) + (math.nan if norm is None else norm * norm)
        for layer, square in squares.items():
            layers.setdefault(layer, [math.nan] * len(epochs))[position] = math.sqrt(square)
    return epochs, layers


def accuracy_interval(right: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval for an accuracy of ``right`` out of ``count`` images (E. B. Wilson, 1927)."""
    z = 1.959964
    share, spread = right / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
