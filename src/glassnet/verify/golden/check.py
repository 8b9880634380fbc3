"""The checker: what is wrong with a port, where first, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from numpy.typing import NDArray

from glassnet.verify.golden.causes.search import find_cause
from glassnet.verify.golden.evaluation import PassEvaluation, PassInputs, PortTensors
from glassnet.verify.golden.judging import GoldenRow, Judgement, PassTensors
from glassnet.verify.golden.operations import IMAGES, LOSS, Operation

Array = NDArray[Any]


@dataclass(frozen=True)
class GoldenReport:
    """The verdict on a port."""

    rows: tuple[GoldenRow, ...]
    first: GoldenRow | None
    cause: str | None

    @property
    def passed(self) -> bool:
        """Whether no tensor is wrong."""
        return self.first is None


def evaluate_pass(listed: tuple[Operation, ...], given: PassInputs, port: PassTensors) -> PassEvaluation:
    """Return the evaluation of a pass on those of the port's tensors that have their operation's size."""
    shapes = {operation.name: (len(given.images), *operation.output_shape) for operation in listed}
    shapes |= {name: array.shape for name, array in {IMAGES: given.images, **given.added}.items()} | {LOSS: ()}
    shapes |= {key: shape for operation in listed for key, shape in operation.buffers.items()}

    def fitting(tensors: Mapping[str, Array]) -> dict[str, Array]:
        return {key: array.reshape(shapes[key]) for key, array in tensors.items() if array.size == prod(shapes[key])}

    return PassEvaluation(listed, given, PortTensors(*map(fitting, (port.outputs, port.gradients, port.buffers))))


def report_of(judgements: Sequence[Judgement]) -> GoldenReport:
    """Return the verdict: the first fault in the order of the dataflow, and its likely cause."""
    rows = tuple(judgement.row for judgement in judgements)
    for fault in judgements:
        if not fault.row.passed:
            return GoldenReport(rows, fault.row, find_cause(fault, judgements).key)
    return GoldenReport(rows, None, None)
