"""Causes in the order of axes: images as NHWC, kernels as HWIO, flattened features, the matrix of the last layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.causes.alternative import (
    Alternative,
    AnyAlternative,
    InapplicableError,
    TensorAlternative,
    only_backward,
)
from glassnet.verify.golden.judging import Judgement
from glassnet.verify.golden.operations import IMAGES, Operation
from glassnet.verify.golden.reference import Computed, Gradients, Site, compute

Array = NDArray[Any]
Order = tuple[int, ...]
Reorder = Callable[[Array], Array]

IMAGE_ORDERS: tuple[Order, ...] = ((0, 2, 3, 1),)  # of N, C, H, W: NHWC
# Orders of a kernel's axes O, I, H, W: HWIO of TensorFlow and JAX, OHWI, IOHW, HWOI, OIWH, IHWO, and all turned around.
KERNEL_ORDERS: tuple[Order, ...] = (
    (2, 3, 1, 0),
    (0, 2, 3, 1),
    (1, 0, 2, 3),
    (2, 3, 0, 1),
    (0, 1, 3, 2),
    (1, 2, 3, 0),
    (3, 2, 1, 0),
)
MATRIX_ORDERS: tuple[Order, ...] = ((1, 0),)
FEATURE_ORDERS: tuple[Order, ...] = ((1, 2, 0), (2, 1, 0), (0, 2, 1), (2, 0, 1), (1, 0, 2))  # of C, H, W: HWC first


def read_as(array: Array, order: Order) -> Array:
    """Return what is read where the memory of ``array`` is taken for memory with its axes in ``order``."""
    return array.reshape([array.shape[axis] for axis in order]).transpose(np.argsort(order))


def written_as(array: Array, order: Order) -> Array:
    """Return what is read where an array is written with its axes in ``order``, and read as if in the usual order."""
    return array.transpose(order).reshape(array.shape)


def with_reordered_weight(site: Site, reorder: Reorder) -> Computed:
    """Return an operation that finds the numbers of its weight at other places, and hands back its gradient so, too."""
    w = site.parameter("weight")
    assert w is not None
    places = reorder(np.arange(w.size).reshape(w.shape)).reshape(-1)
    if (places == np.arange(w.size)).all():
        raise InapplicableError
    wrong = compute(site.with_state(weight=w.reshape(-1)[places].reshape(w.shape)))
    key = f"{site.operation.name}.weight"

    def backward(dy: Array) -> Gradients:
        gradients = wrong.backward(dy)
        dw = np.empty(w.size, w.dtype)
        dw[places] = gradients.parameters[key].reshape(-1)
        return Gradients(gradients.inputs, {**gradients.parameters, key: dw.reshape(w.shape)})

    return Computed(wrong.output, backward, wrong.buffers)


def of_weight(key: str, kind: str, reorder: Reorder) -> Iterator[Alternative]:
    """Yield the alternatives that find the numbers of a weight at other places, in both passes or in the second."""
    wrong = partial(with_reordered_weight, reorder=reorder)
    yield Alternative(key, (kind,), "forward", wrong)
    yield Alternative(key, (kind,), "backward", only_backward(wrong))


def of_weight_orders(key: str, kind: str, orders: tuple[Order, ...]) -> Iterator[Alternative]:
    """Yield the alternatives that take a weight's memory for that of another order of its axes, or the reverse."""
    for order in orders:
        yield from of_weight(key, kind, partial(read_as, order=order))
        yield from of_weight(key, kind, partial(written_as, order=order))


def _is_stored_as(judgement: Judgement, operation: Operation, orders: tuple[Order, ...], is_weight: bool) -> bool:
    """Whether the port's tensor is right, but has its axes, or its memory, in another order."""
    shape = judgement.expect(judgement.evaluation).shape
    has_weight = judgement.tensor.endswith(f"/{operation.name}.weight")
    if has_weight != is_weight or len(shape) != len(orders[0]) or judgement.port.size != np.prod(shape):
        raise InapplicableError
    if operation.kind == "Flatten" and judgement.port.shape == shape:  # another order of flattening may look the same
        raise InapplicableError
    port = judgement.port.reshape(shape)
    reads = (read_as, written_as) if is_weight else (read_as,)
    readings = (read(port, order) for order in orders for read in reads)
    return any(replace(judgement, port=reading).row.passed for reading in readings)


def _is_stored(key: str, kinds: tuple[str, ...], orders: tuple[Order, ...]) -> Iterator[TensorAlternative]:
    explains = partial(_is_stored_as, orders=orders, is_weight=bool(kinds))
    yield TensorAlternative(key, kinds, "forward", explains)
    yield TensorAlternative(key, kinds, "backward", explains)


def _reads_images(site: Site, read: Callable[[Array, Order], Array]) -> Computed:
    if site.x.ndim != 4:
        raise InapplicableError
    return compute(site.with_inputs(read(site.x, IMAGE_ORDERS[0])))


def _flattens(site: Site, order: Order) -> Computed:
    x = site.x
    if x.ndim != 4:
        raise InapplicableError
    axes = (0, *(axis + 1 for axis in order))

    def backward(dy: Array) -> Gradients:
        return Gradients((read_as(dy.reshape(x.shape), axes),))

    return Computed(written_as(x, axes).reshape(len(x), -1), backward)


def _flattened(judgement: Judgement, operation: Operation) -> Iterator[Array]:
    """Yield the features that other orders of flattening put in the places of 0, 1, 2, ..., before a linear layer."""
    by_name = {other.name: other for other in judgement.evaluation.operations}
    flatten = by_name.get(operation.inputs[0])
    if flatten is None or flatten.kind != "Flatten" or flatten.name not in judgement.evaluation.port.outputs:
        raise InapplicableError
    source = flatten.inputs[0]
    shape = judgement.evaluation.given.images.shape[1:] if source == IMAGES else by_name[source].output_shape
    for order in FEATURE_ORDERS:
        features = np.arange(np.prod(shape)).reshape(shape).transpose(order).reshape(-1)
        yield features
        yield np.argsort(features)


def _reads_features(judgement: Judgement, operation: Operation) -> bool:
    """Whether a linear layer multiplies the features with weights that belong to another order of flattening."""
    for features in _flattened(judgement, operation):

        def reorder(w: Array, features: Array = features) -> Array:
            return w[:, features]

        wrong = partial(with_reordered_weight, reorder=reorder)
        is_backward = judgement.direction == "backward"
        if judgement.agrees_with({operation.name: only_backward(wrong) if is_backward else wrong}):
            return True
    return False


def _flatten_orders() -> Iterator[Alternative]:
    for order in FEATURE_ORDERS:
        wrong = partial(_flattens, order=order)
        yield Alternative("flatten order", ("Flatten",), "forward", wrong)
        yield Alternative("flatten order", ("Flatten",), "backward", only_backward(wrong))


ALTERNATIVES: tuple[AnyAlternative, ...] = (
    *_is_stored("NHWC", (), IMAGE_ORDERS),
    *_is_stored("HWIO", ("Conv2d",), KERNEL_ORDERS),
    *_is_stored("transposed linear", ("Linear",), MATRIX_ORDERS),
    *(Alternative("NHWC", ("Conv2d",), "forward", partial(_reads_images, read=read)) for read in (read_as, written_as)),
    *of_weight_orders("HWIO", "Conv2d", KERNEL_ORDERS),
    *of_weight_orders("transposed linear", "Linear", MATRIX_ORDERS),
    *_flatten_orders(),
    TensorAlternative("flatten order", ("Linear",), "forward", _reads_features),
    TensorAlternative("flatten order", ("Linear",), "backward", _reads_features),
)
