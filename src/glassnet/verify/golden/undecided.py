"""Gradients with several right answers: at ReLU's kink, and where several pixels of a pooling window are the maximum.

Any number from 0 to dy is right as the gradient of ReLU's input 0; any shares of dy that add up to dy are right for
pixels that are all the maximum. What lies outside of that is wrong. Where the dump lacks the inputs, choices that
rounding decides are open too. What follows from an open choice may be as far off as the choice moves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.nn.functional import add_windows, windows_of
from glassnet.verify.golden.evaluation import KINKED, PassEvaluation
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.reference import Computed, Site, compute
from glassnet.verify.golden.rounding import largest, tolerance_of

Array = NDArray[Any]
AXES = (2, 3)  # of a window in windows_of, and of an image

MOST = 4.0  # times the effect of all open choices together: as far as an error is ascribed to some of them


@dataclass(frozen=True)
class Leeway:
    """The distance from the reference's at which a gradient with several right answers is right, number by number."""

    low: Array  # at most 0
    high: Array  # at least 0
    is_shared: bool  # whether the sum over an image's channel is decided
    readers: tuple[str, ...]  # the operations that choose

    def beyond(self, port: Array, expected: Array, difference: Array) -> Array:
        """Return differences, |port − expected|, with those that are open replaced by what exceeds the leeway."""
        is_open = ((self.low < 0) | (self.high > 0)) & np.isfinite(port)
        deviation = np.where(is_open, port - expected, 0.0)
        excess = np.maximum(np.maximum(self.low - deviation, deviation - self.high), 0.0)
        if self.is_shared:
            count = np.maximum(is_open.sum(axis=AXES, keepdims=True), 1)
            excess = np.maximum(excess, np.abs(deviation.sum(axis=AXES, keepdims=True)) / count)
        return np.where(is_open, excess, difference)


def leeway(evaluation: PassEvaluation, name: str, dtype: str) -> Leeway | None:
    """Return the leeway of the gradient wrt a tensor in a port's dtype; None if every number is decided."""
    low = high = np.zeros(1)
    is_shared, readers = True, []
    for reader in evaluation.readers[name]:
        choice = _choice(evaluation, reader, dtype)
        if choice is None:
            continue
        bounds = _bounds_of_relu if reader.kind == "ReLU" else _bounds_of_pool
        lowest, highest = bounds(choice, evaluation.gradient(reader.name))
        low, high = low + lowest, high + highest
        is_shared = is_shared and reader.kind != "ReLU"
        readers.append(reader.name)
    return Leeway(low, high, is_shared, tuple(readers)) if readers else None


def open_choices(
    evaluation: PassEvaluation,
    sources: Iterable[Operation],
    expect: Callable[[PassEvaluation], Array],
    error: float,
    dtype: str,
) -> str:
    """Return why a tensor has no verdict: choices that are open explain an error of this size. Empty: they do not.

    :param sources: operations through which the gradient comes that the tensor follows from.
    :param expect: returns the tensor in an evaluation.
    """
    otherwise = _with_other_choices(evaluation, dtype)
    choosing = [operation for operation in sources if operation.name in otherwise.alternatives]
    if not choosing or error > MOST * largest(expect(otherwise) - expect(evaluation)):
        return ""
    missing = dict.fromkeys(name for operation in choosing for name in _missing(evaluation, operation))
    return (
        f"it follows from what {choosing[0].name} chooses at a kink or a tie; the dump must have {', '.join(missing)}"
    )


def _with_other_choices(evaluation: PassEvaluation, dtype: str) -> PassEvaluation:
    """Return the pass with all choices turned that are open and change a gradient before them."""
    if dtype not in evaluation.otherwise:
        choices = {operation.name: _choice(evaluation, operation, dtype) for operation in evaluation.operations}
        turned = {name: choice.compute_otherwise for name, choice in choices.items() if choice and choice.matters}
        evaluation.otherwise[dtype] = evaluation.with_alternatives(turned)
    return evaluation.otherwise[dtype]


def _missing(evaluation: PassEvaluation, operation: Operation) -> Iterator[str]:
    source = operation.inputs[0]
    if source not in evaluation.port.outputs:
        yield f"activations/{source}"
    if source not in evaluation.port.gradients:
        yield f"activation_gradients/{source}"


@dataclass(frozen=True)
class _Choice:
    """An operation with inputs at which its gradient jumps: those above 0, and the maxima, are chosen."""

    site: Site
    margin: float  # inputs that are nearer to the kink, or to each other, may be on the other side in the port
    is_open: Array  # of a ReLU's inputs; of the pixels of windows, (N, C, kh, kw, Ho, Wo)

    @property
    def matters(self) -> bool:
        """Whether it is more than a choice between zeros of a ReLU, which hands no gradient on from them."""
        if self.site.kind == "ReLU" or self.site.x.min() < 0:
            return True
        return bool((_pixels(self.site)[self.is_open] > self.margin).any())

    def compute_otherwise(self, site: Site) -> Computed:
        """Compute the operation, but choose otherwise in the backward pass."""
        if site.kind == "ReLU":
            x = np.where(self.is_open, np.where(self.site.x > 0, -1, 1), site.x)
        else:
            is_lowered = add_windows(
                (_is_first(self) & self.is_open).astype(np.float64), site.x.shape, *_window(site)[1:]
            )
            x = np.where(is_lowered > 0, np.nextafter(site.x - 2 * self.margin, -np.inf), site.x)
        x = x.astype(site.x.dtype)
        return Computed(compute(site).output, compute(site.with_inputs(x)).backward)


def _choice(evaluation: PassEvaluation, operation: Operation, dtype: str) -> _Choice | None:
    """Return the choice of an operation; None if it has none, or all of it is decided."""
    if operation.kind not in KINKED:
        return None
    site, outputs = evaluation.site(operation.name), evaluation.port.outputs
    is_known = operation.inputs[0] in outputs or (operation.kind == "ReLU" and operation.name in outputs)
    margin = 0.0 if is_known else tolerance_of(site.x, evaluation.in_float32.site(operation.name).x, dtype)
    is_open = np.abs(site.x) <= margin if operation.kind == "ReLU" else _is_tied(site, margin)
    return _Choice(site, margin, is_open) if is_open.any() else None


# ReLU.


def _bounds_of_relu(choice: _Choice, dy: Array) -> tuple[Array, Array]:
    chosen = np.where(choice.site.x > 0, dy, 0.0)
    return tuple(np.where(choice.is_open, bound - chosen, 0.0) for bound in _span(dy))  # type: ignore[return-value]


def _span(dy: Array) -> tuple[Array, Array]:
    return np.minimum(dy, 0.0), np.maximum(dy, 0.0)


# Pooling.


def _window(site: Site) -> tuple[Any, Any, Any, Any]:
    attributes = site.operation.attributes
    return (*(attributes[key] for key in ("kernel_size", "stride", "padding")), attributes.get("dilation", 1))


def _pixels(site: Site) -> Array:
    """Return the pixels of every window, (N, C, kh, kw, Ho, Wo)."""
    return windows_of(site.x, *_window(site), border=-np.inf)


def _is_tied(site: Site, margin: float) -> Array:
    """Return the pixels that are one of several maxima of their window."""
    windows = _pixels(site)
    with np.errstate(invalid="ignore"):
        maximum = windows.max(axis=AXES, keepdims=True)
        is_winner = (windows >= maximum - margin) | (np.isnan(windows) & np.isnan(maximum))
    tied: Array = is_winner & (is_winner.sum(axis=AXES, keepdims=True) > 1)
    return tied


def _is_first(choice: _Choice) -> Array:
    """Return the pixel of each window that the reference takes for the maximum."""
    windows = _pixels(choice.site)
    N, C, kh, kw, *size = windows.shape
    winner = windows.reshape(N, C, kh * kw, *size).argmax(axis=2)[:, :, np.newaxis]
    is_first: Array = np.arange(kh * kw).reshape(1, 1, -1, 1, 1) == winner
    return is_first.reshape(windows.shape)


def _bounds_of_pool(choice: _Choice, dy: Array) -> tuple[Array, Array]:
    site = choice.site
    dwindows = dy[:, :, np.newaxis, np.newaxis]
    chosen = np.where(_is_first(choice), dwindows, 0.0)
    low, high = (
        add_windows(np.where(choice.is_open, bound - chosen, 0.0), site.x.shape, *_window(site)[1:])
        for bound in _span(dwindows)
    )
    return low, high
