"""The inputs of a port beside those of the bundle: pixels, images, labels, initial weights and dropout masks.

The passes are judged on the port's own inputs, so a port with other images is told that, and not that every layer is
wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.verify.golden.bundle import Bundle
from glassnet.verify.golden.causes.inputs import other_images, other_normalizations
from glassnet.verify.golden.causes.layout import KERNEL_ORDERS
from glassnet.verify.golden.causes.search import Cause
from glassnet.verify.golden.dump import Dump
from glassnet.verify.golden.evaluation import PassInputs
from glassnet.verify.golden.judging import GoldenRow
from glassnet.verify.golden.listing import mask_name
from glassnet.verify.golden.operations import IMAGES, Operation
from glassnet.verify.golden.rounding import EPS, differences, largest, pattern_of, tolerance_of

Array = NDArray[Any]
STATE, MASKS = "inputs/state/", "inputs/dropout/"
LAYOUTS = ("NHWC", "HWIO", "transposed linear", "flipped kernel")  # causes that say in which order numbers are stored


@dataclass(frozen=True)
class InputJudgement:
    """An input of the port and that of the bundle."""

    operation: Operation
    tensor: str
    port: Array
    expected: Array
    dtype: str
    alternatives: Callable[[], Iterator[tuple[str, Array]]]  # what others make of the bundle's tensor, by cause

    @cached_property
    def row(self) -> GoldenRow:
        """The verdict."""
        expected = self.expected.astype(np.float64)
        row = GoldenRow(self.operation.name, self.operation.kind, "input", self.tensor, inf, 0.0, largest(expected))
        if self.port.size != expected.size:
            return replace(row, sentence=f"its shape must be {expected.shape}, and is {self.port.shape}")
        difference = differences(self.port.reshape(expected.shape), expected)
        tolerance = _tolerance(self.expected, self.dtype)
        return replace(row, error=largest(difference), tolerance=tolerance, pattern=pattern_of(difference, tolerance))

    @property
    def sentence(self) -> str:
        """The fault in words."""
        if self.tensor.startswith(STATE):
            return f"{self.operation.name} does not start from the bundle's {self.tensor.rpartition('.')[2]}"
        if self.tensor.startswith(MASKS):
            return f"{self.operation.name} does not have the bundle's dropout mask"
        return f"The port's {self.tensor.rpartition('/')[2].replace('_', ' ')} are not those of the bundle"

    def find_cause(self) -> Cause:
        """Return why the input is another."""
        for key, array in self.alternatives():
            if array.size == self.port.size:
                difference = differences(self.port.reshape(array.shape), array)
                if largest(difference) <= _tolerance(array, self.dtype):
                    return Cause(key, self.operation)
        return Cause(self._other, self.operation)

    @property
    def _other(self) -> str:
        """The cause that no transformation of the bundle's tensor explains."""
        if self.tensor.startswith(STATE):
            return "other weights"
        if self.tensor.startswith(MASKS):
            return "dropout mask"
        return "other labels" if self.tensor == "inputs/labels" else "other inputs"

    @property
    def is_usable(self) -> bool:
        """Whether the port can have computed with these numbers, in this order."""
        return self.port.size == self.expected.size and (self.row.passed or self.find_cause().key not in LAYOUTS)


def _tolerance(expected: Array, dtype: str) -> float:
    """Return what rounding explains; nothing for integers."""
    if expected.dtype.kind in "iu":
        return 0.0
    return tolerance_of(expected.astype(np.float64), expected.astype(np.float32), dtype)


def judge_inputs(bundle: Bundle, port: Dump, dtype_of: Callable[[str], str]) -> Iterator[InputJudgement]:
    """Yield the judgements of the inputs that a dump has."""
    named = {operation.name: operation for operation in bundle.operations}
    start = Operation(IMAGES, "Input", (), ())
    for name in port.names:
        array = port.get(name) if name.startswith("inputs/") else None
        if array is not None:
            operation = named.get(bundle.entries[name]["operation"], start)
            expected = bundle.tensor(name)
            alternatives = partial(_alternatives, bundle, name, operation, expected)
            # A port in float64 may read the pixels itself where the bundle has images in float32.
            coarser = max(dtype_of(name), expected.dtype.name, key=lambda dtype: EPS.get(dtype, 0.0))
            yield InputJudgement(operation, name, array, expected, coarser, alternatives)


def _alternatives(bundle: Bundle, name: str, operation: Operation, expected: Array) -> Iterator[tuple[str, Array]]:
    if name == "inputs/images":
        images = expected.astype(np.float64)
        yield "NHWC", np.moveaxis(images, 1, -1)
        yield from other_images(images)
        yield from other_normalizations(images, bundle.normalization)
    elif name == "inputs/pixels":
        yield "BGR", expected[..., ::-1]
    elif name.startswith(STATE) and expected.ndim == 4:
        yield from (("HWIO", expected.transpose(order)) for order in KERNEL_ORDERS)
        yield "flipped kernel", expected[:, :, ::-1, ::-1]
    elif name.startswith(STATE) and operation.kind == "Linear" and expected.ndim == 2:
        yield "transposed linear", expected.T
    elif name.startswith(MASKS):
        yield "dropout not scaled", (expected != 0).astype(np.float64)


def with_inputs_of(given: PassInputs, judged: Mapping[str, InputJudgement], classes: int) -> PassInputs:
    """Return what a pass starts from, with the port's own numbers where it can have computed with them.

    :param judged: by the name of the tensor.
    :param classes: number of the logits; other labels than 0 to classes - 1 cannot be computed with.
    """

    own = partial(_own, judged)
    labels = own("inputs/labels", given.labels)
    is_valid = labels.dtype.kind in "iu" and labels.min(initial=0) >= 0 and labels.max(initial=0) < classes
    return replace(
        given,
        images=own("inputs/images", given.images),
        labels=labels if is_valid else given.labels,
        state={key: own(STATE + key, array) for key, array in given.state.items()},
        class_weights=None if given.class_weights is None else own("inputs/class_weights", given.class_weights),
        masks=masks_of(given.masks, judged, 1),
    )


def masks_of(masks: Mapping[str, Array], judged: Mapping[str, InputJudgement], step: int) -> dict[str, Array]:
    """Return the dropout masks of a step, by layer: the port's own where it can have computed with them."""
    return {layer: _own(judged, mask_name(layer, step), mask) for layer, mask in masks.items()}


def _own(judged: Mapping[str, InputJudgement], name: str, array: Array) -> Array:
    judgement = judged.get(name)
    return judgement.port.reshape(array.shape) if judgement and judgement.is_usable else array
