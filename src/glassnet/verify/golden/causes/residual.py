"""Causes in residual blocks: the shortcut, the sum, and tensors that an operation does not read."""

from __future__ import annotations

from collections.abc import Callable
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
    solved,
    with_backward,
    with_output,
)
from glassnet.verify.golden.judging import Judgement
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.reference import Computed, Gradients, Site, compute

Array = NDArray[Any]

USUAL_SCALES = (0.5, 0.5**0.5, 2.0)  # of a sum: the mean, the one that keeps the variance, twice


# The sum of both paths.


def _changed_sum(site: Site, change: Callable[[Array, Array], Array]) -> Computed:
    return with_output(site, change(*site.inputs))


def _rectified(array: Array) -> Array:
    return np.maximum(array, 0)


def _lost_path(site: Site, lost: int) -> Computed:
    """Let one of the sum's inputs get no gradient."""

    def change(right: Gradients, dy: Array) -> Gradients:
        inputs = tuple(np.zeros_like(dx) if index == lost else dx for index, dx in enumerate(right.inputs))
        return replace(right, inputs=inputs)

    return with_backward(site, change)


def _scaled_sum(site: Site, scale: float) -> Computed:
    return Computed(scale * (site.inputs[0] + site.inputs[1]), lambda dy: Gradients((scale * dy, scale * dy)))


# The first operation of each path, which hands its gradient back to the block's input.


def _is_on_shortcut(site: Site) -> bool:
    return any(part in ("shortcut", "downsample") for part in site.operation.name.split("."))


def _is_first_of_body(site: Site) -> bool:
    """Whether it is the first operation of a body: ``conv1``, or ``bn1`` with pre-activation."""
    block, _, name = site.operation.name.rpartition(".")
    return block.startswith("layer") and name in ("conv1", "bn1")


def _no_input_gradient(site: Site, is_applicable: Callable[[Site], bool]) -> Computed:
    if not is_applicable(site):
        raise InapplicableError
    return with_backward(site, lambda right, dy: replace(right, inputs=(np.zeros_like(site.x),)))


# The shortcut without parameters, He et al.'s option A.


def _moved_channels(site: Site, at_end: bool) -> Computed:
    """Put all of the new channels after x's, or before them, in place of half on each side."""
    right, new = compute(site), int(site.operation.attributes["out_channels"]) - site.x.shape[1]
    by = -(new // 2) if at_end else new - new // 2
    return Computed(np.roll(right.output, by, axis=1), lambda dy: right.backward(np.roll(dy, -by, axis=1)))


def _other_phase(site: Site, phase: tuple[int, int]) -> Computed:
    """Take every stride-th pixel from another one than the first."""
    later = (slice(None), slice(None), slice(phase[0], None), slice(phase[1], None))
    other = compute(site.with_inputs(site.x[later]))
    if other.output.shape != compute(site).output.shape:
        raise InapplicableError

    def backward(dy: Array) -> Gradients:
        dx = np.zeros_like(site.x)
        dx[later] = other.backward(dy).inputs[0]
        return Gradients((dx,))

    return Computed(other.output, backward)


def _pooled(site: Site, kind: str) -> Computed:
    """Pool instead of taking every stride-th pixel."""
    stride = site.operation.attributes["stride"]
    arguments = {"kernel_size": stride, "stride": stride, "padding": 0}
    pool = compute(Site(replace(site.operation, kind=kind, attributes=arguments), site.inputs))
    padding = compute(site.with_inputs(pool.output).with_attributes(stride=1))
    return Computed(padding.output, lambda dy: pool.backward(padding.backward(dy).inputs[0]))


# Tensors that an operation does not read.


def _reading(site: Site, index: int, name: str) -> Computed:
    tensor = site.earlier()[name]
    return compute(site.with_inputs(*(tensor if i == index else x for i, x in enumerate(site.inputs))))


def _find_tensor(site: Site, index: int) -> Callable[[Site], Computed]:
    """Return the operation on the earlier tensor of the port, as one of its inputs, that explains its output best."""
    if site.port is None or index >= len(site.inputs) or site.kind == "CrossEntropyLoss":
        raise InapplicableError
    own = site.inputs[index]
    distances = {
        name: float(np.linalg.norm((_reading(site, index, name).output - site.port).ravel()))
        for name, tensor in site.earlier().items()
        if tensor.shape == own.shape and not np.array_equal(tensor, own)
    }
    if not distances:
        raise InapplicableError
    return partial(_reading, index=index, name=min(distances, key=distances.__getitem__))


# A ReLU before the sum in place of the one after it.


def _is_rectified_too_early(judgement: Judgement, operation: Operation) -> bool:
    after = [reader.name for reader in judgement.evaluation.readers[operation.name] if reader.kind == "ReLU"]
    return any(
        judgement.agrees_with({operation.name: partial(_changed_sum, change=change), **dict.fromkeys(after, _pass_on)})
        for change in RECTIFIED
        if after
    )


def _pass_on(site: Site) -> Computed:
    return Computed(site.x, lambda dy: Gradients((dy,)))


RECTIFIED: tuple[Callable[[Array, Array], Array], ...] = (
    lambda shortcut, body: shortcut + _rectified(body),
    lambda shortcut, body: _rectified(shortcut) + body,
    lambda shortcut, body: _rectified(shortcut) + _rectified(body),
)
SUM, OPTION_A = ("Sum",), ("ZeroPadShortcut",)
_option_a = (
    *(("zero-pad side", partial(_moved_channels, at_end=at_end)) for at_end in (True, False)),
    *(("subsampling phase", partial(_other_phase, phase=phase)) for phase in ((1, 1), (0, 1), (1, 0))),
    ("average instead of subsampling", partial(_pooled, kind="AvgPool2d")),
    ("maximum instead of subsampling", partial(_pooled, kind="MaxPool2d")),
)
_scaled = tuple(partial(_scaled_sum, scale=scale) for scale in USUAL_SCALES)

ALTERNATIVES: tuple[AnyAlternative, ...] = (
    Alternative("missing shortcut", SUM, "forward", partial(_changed_sum, change=lambda shortcut, body: body)),
    Alternative("missing body", SUM, "forward", partial(_changed_sum, change=lambda shortcut, body: shortcut)),
    *(
        Alternative("ReLU before addition", SUM, "forward", partial(_changed_sum, change=change))
        for change in RECTIFIED
    ),
    TensorAlternative("ReLU before addition", SUM, "forward", _is_rectified_too_early),
    *(Alternative("scaled sum", SUM, "forward", function) for function in _scaled),
    Alternative("missing shortcut gradient", SUM, "backward", partial(_lost_path, lost=0)),
    Alternative("missing body gradient", SUM, "backward", partial(_lost_path, lost=1)),
    Alternative(
        "missing shortcut gradient", (), "backward", partial(_no_input_gradient, is_applicable=_is_on_shortcut)
    ),
    Alternative("missing body gradient", (), "backward", partial(_no_input_gradient, is_applicable=_is_first_of_body)),
    *(Alternative("scaled sum", SUM, "backward", only_backward(function)) for function in _scaled),
    *(Alternative(key, OPTION_A, "forward", function) for key, function in _option_a),
    *(Alternative(key, OPTION_A, "backward", only_backward(function)) for key, function in _option_a),
    *(TensorAlternative("wrong tensor", (), "forward", solved(partial(_find_tensor, index=index))) for index in (0, 1)),
)
