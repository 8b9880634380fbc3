"""Small cases of single operations: the layer table of the gradient check, and inputs that such a check cannot have.

A port computes each of them alone, before they are a network.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from glassnet import nn
from glassnet.data import make_rng
from glassnet.verify import layers
from glassnet.verify.golden.operations import ADDED, IMAGES, LOSS, Operation
from glassnet.verify.golden.reference import Site, compute

Array = NDArray[Any]
NAME = "layer"  # of the operation in its bundle, but for the loss
_NOT_ARGUMENTS = ("dtype", "rng", "generator")


@dataclass(frozen=True)
class OperationCase:
    """One operation and all that it reads, in float64."""

    operation: Operation
    inputs: Mapping[str, Array]  # by the names of the operation's inputs
    output_gradient: Array
    state: Mapping[str, Array] = field(default_factory=dict)
    mask: Array | None = None
    labels: Array | None = None
    label_smoothing: float = 0.0
    class_weights: Array | None = None

    def site(self, training: bool = True) -> Site:
        """Return the operation as the reference computes it."""
        inputs = tuple(self.inputs[name] for name in self.operation.inputs)
        loss = self.labels, self.label_smoothing, self.class_weights
        return Site(self.operation, inputs, self.state, training, self.mask, *loss)

    def cast(self, dtype: np.dtype[Any]) -> Self:
        """Return the case in another float dtype, its inputs rounded to it."""

        def convert(array: Any) -> Any:
            return array.astype(dtype) if isinstance(array, np.ndarray) and array.dtype.kind == "f" else array

        return replace(
            self,
            inputs={name: convert(array) for name, array in self.inputs.items()},
            state={key: convert(array) for key, array in self.state.items()},
            output_gradient=convert(self.output_gradient),
            mask=convert(self.mask),
            class_weights=convert(self.class_weights),
        )


def operation_cases(seed: int = 0) -> dict[str, OperationCase]:
    """Return all cases by name; their inputs, weights and gradients are random but for those that a name describes."""
    cases = {name: _layer_case(name, seed) for name in layers.CASES if _is_single(name)}
    cases |= {name: _loss_case(name, seed) for name in layers.CASES if name.startswith("CrossEntropyLoss")}
    rng = make_rng(seed, "golden operations")
    special = {
        name: _case(nn_class, _all_arguments(nn_class, (), given), make(rng), rng)
        for name, (nn_class, given, make) in _SPECIAL.items()
    }
    shortcut, body = rng.standard_normal((2, 2, 3, 4, 5))
    total = Operation(NAME, "Sum", (IMAGES, ADDED), shortcut.shape[1:])
    special["Sum"] = OperationCase(total, {IMAGES: shortcut, ADDED: body}, rng.standard_normal(shortcut.shape))
    large = cases["CrossEntropyLoss"]
    logits = {name: 400 * x for name, x in large.inputs.items()}
    special["CrossEntropyLoss, large logits"] = OperationCase(
        large.operation, logits, large.output_gradient, labels=large.labels
    )
    return cases | special


def _border_is_largest(rng: np.random.Generator) -> Array:
    """Return negative pixels: a window that pads with zeros would find its maximum in the padding."""
    return -1 - rng.random((2, 3, 5, 6))


def _ties(rng: np.random.Generator) -> Array:
    return rng.integers(0, 3, (2, 3, 6, 6)).astype(np.float64)


def _not_finite(rng: np.random.Generator) -> Array:
    """Return random numbers among which are zeros of both signs, infinities and NaN.

    Windows of 2 by 2 pixels have NaN first and last: a comparison by > keeps the first and never takes the last. The
    NaN in the last row, which has no partner, is in no window.
    """
    x = rng.standard_normal((2, 3, 5, 4))
    x.flat[[3, 17, 30, 44, 58]] = 0.0, -0.0, np.inf, -np.inf, np.nan
    x[1, 0, 1, 3] = x[1, 1, 2, 0] = np.nan
    return x


def _one_channel_is_constant(rng: np.random.Generator) -> Array:
    """Return images of which one channel has no variance, so that eps alone keeps its quotient finite."""
    x = rng.standard_normal((4, 3, 3, 2))
    x[:, 1] = 0.75
    return x


def _odd_size(rng: np.random.Generator) -> Array:
    return rng.standard_normal((2, 2, 7, 9))


# What a check by differences cannot have, and strides at odd and even sizes: class, arguments, images.
_SPECIAL: dict[str, tuple[type[nn.Module], dict[str, Any], Callable[[np.random.Generator], Array]]] = {
    "Conv2d, stride 2, odd sizes": (
        nn.Conv2d,
        {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "stride": 2, "padding": 1},
        _odd_size,
    ),
    "ReLU, zeros, infinities and NaN": (nn.ReLU, {}, _not_finite),
    "MaxPool2d, ties": (nn.MaxPool2d, {"kernel_size": 3, "stride": 2, "padding": 1}, _ties),
    "MaxPool2d, negative images": (nn.MaxPool2d, {"kernel_size": 3, "stride": 2, "padding": 1}, _border_is_largest),
    "MaxPool2d, infinities and NaN": (nn.MaxPool2d, {"kernel_size": 2}, _not_finite),
    "BatchNorm2d, a constant channel": (nn.BatchNorm2d, {"num_features": 3}, _one_channel_is_constant),
}


def _is_single(name: str) -> bool:
    kind = name.partition(",")[0]
    return kind not in ("Sequential", "Residual", "CrossEntropyLoss")


def _layer_case(name: str, seed: int) -> OperationCase:
    make, shape = layers.CASES[name]
    rng = make_rng(seed, f"golden operation {name}")
    nn_class: Any = make.func if isinstance(make, partial) else make
    given = (make.args, make.keywords) if isinstance(make, partial) else ((), {})
    arguments = _all_arguments(nn_class, *given)
    return _case(nn_class, arguments, rng.standard_normal(shape), rng)


def _all_arguments(nn_class: type[nn.Module], given: tuple[Any, ...], named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a layer by name, with the defaults of those that are not given."""
    bound = inspect.signature(nn_class).bind(*given, **named)
    bound.apply_defaults()
    arguments = {key: value for key, value in bound.arguments.items() if key not in _NOT_ARGUMENTS}
    if "stride" in arguments and arguments["stride"] is None:
        arguments["stride"] = arguments["kernel_size"]
    return arguments


def _case(nn_class: type[nn.Module], arguments: dict[str, Any], x: Array, rng: np.random.Generator) -> OperationCase:
    """Return the case of a layer with random weights: fresh ones (β = 0, γ = 1) would hide mistakes."""
    layer = nn_class(**arguments).to(np.float64)
    state = {f"{NAME}.{key}": rng.standard_normal(array.shape) for key, array in layer.state_dict().items()}
    if f"{NAME}.running_var" in state:
        state |= {f"{NAME}.running_var": rng.uniform(0.5, 1.5, arguments["num_features"])}
        state |= {f"{NAME}.num_batches_tracked": np.array(3)}
    parameters = {f"{NAME}.{key}": parameter.data.shape for key, parameter in layer.named_parameters()}
    buffers = {key: array.shape for key, array in state.items() if key not in parameters}
    mask = None
    if isinstance(layer, nn.Dropout):
        mask = nn.functional.dropout_mask(rng.random(x.shape), layer.p, np.float64)
    made = Operation(NAME, nn_class.__name__, (IMAGES,), (), arguments, parameters, buffers)
    shape = compute(Site(made, (x,), state, mask=mask)).output.shape
    operation = Operation(NAME, made.kind, made.inputs, shape[1:], arguments, parameters, buffers)
    return OperationCase(operation, {IMAGES: x}, rng.standard_normal(shape), state, mask)


def _loss_case(name: str, seed: int) -> OperationCase:
    make, shape = layers.CASES[name]
    layer = make()
    assert isinstance(layer, layers.LossOfLogits)
    logits = make_rng(seed, f"golden operation {name}").standard_normal(shape)
    loss = layer.loss
    operation = Operation(LOSS, "CrossEntropyLoss", (IMAGES,), (), {"label_smoothing": loss.label_smoothing})
    return OperationCase(
        operation,
        {IMAGES: logits},
        np.ones(()),
        labels=layer.labels,
        label_smoothing=loss.label_smoothing,
        class_weights=loss.weight,
    )
