"""The search for the cause of a fault: which alternative gives the port's own numbers?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from functools import partial

from glassnet.verify.golden.causes import ALTERNATIVES, UNKNOWN
from glassnet.verify.golden.causes.alternative import Alternative, AnyAlternative
from glassnet.verify.golden.judging import GoldenRow, Judgement
from glassnet.verify.golden.operations import IMAGES, Operation

OTHERS = 6  # other failing tensors that a cause is tried on
NEAREST = 12  # operations of a kind that are tried, where the port has few tensors
MAX_SOURCES = 20  # operations between the port's tensors; of more, which every try computes, few are tried


@dataclass(frozen=True)
class Cause:
    """A cause by its key, and the operation that it is in."""

    key: str
    operation: Operation
    error: float | None = None  # that is left of the tensor if it is computed so; None if nothing was computed


@dataclass(frozen=True, eq=False)
class _Trial(Judgement):
    """A fault that keeps the errors which alternatives leave of it."""

    errors: list[float] = field(default_factory=list)

    def _is_as_close(self, row: GoldenRow) -> bool:
        self.errors.append(row.error)
        return super()._is_as_close(row)


def find_cause(fault: Judgement, judgements: Sequence[Judgement]) -> Cause:
    """Return the cause that explains a fault, and of several the one that explains most other faults of its operation.

    Of equals, the first alternative is named, at the nearest operation. Where all operations of a kind between the
    port's tensors have a fault, the first of them in the order of the pass is named.

    :param judgements: all of the pass.
    """
    candidates = [alternative for alternative in ALTERNATIVES if alternative.direction == fault.direction]
    failing = [judgement for judgement in judgements if judgement is not fault and not judgement.row.passed]
    if repeated := _repeated(candidates, fault):
        return repeated
    best, most = Cause(UNKNOWN, fault.sources[0]), 0
    trial = _Trial(*(getattr(fault, field.name) for field in fields(Judgement)))
    vars(trial)["row"] = fault.row  # judged already
    for alternative in candidates:
        for operation in _nearest(alternative, fault):
            trial.errors.clear()
            if _explains(alternative, operation, trial):
                error = trial.errors[-1] if trial.errors else None
                others = [other for other in failing if operation in other.sources][:OTHERS]
                count = 1 + sum(_explains(alternative, operation, other) for other in others)
                if count > most:
                    best, most = Cause(alternative.key, operation, error), count
                if count > len(others):  # it explains all
                    return best
    return best


def _repeated(candidates: Sequence[AnyAlternative], fault: Judgement) -> Cause | None:
    """Return the cause that explains a fault if several operations have it, and not without any of them."""
    for alternative in candidates:
        operations = _fitting(alternative, fault)
        if not isinstance(alternative, Alternative) or not alternative.kinds or len(operations) < 2:
            continue
        functions = {operation.name: alternative.compute for operation in operations}
        if not _agrees(partial(fault.agrees_with, functions)):
            continue
        for operation in operations[::-1]:
            fewer = {name: function for name, function in functions.items() if name != operation.name}
            functions = fewer if _agrees(partial(fault.agrees_with, fewer)) else functions
        if len(functions) > 1:
            first = next(operation for operation in operations[::-1] if operation.name in functions)
            return Cause(alternative.key, first, fault.judge(fault.evaluation.with_alternatives(functions)).error)
    return None


def _fitting(alternative: AnyAlternative, fault: Judgement) -> list[Operation]:
    return [operation for operation in fault.sources if not alternative.kinds or operation.kind in alternative.kinds]


def _nearest(alternative: AnyAlternative, fault: Judgement) -> list[Operation]:
    """Return the operations in which an alternative is tried, those that read the images among them."""
    fitting = _fitting(alternative, fault)
    count = NEAREST if len(fault.sources) <= MAX_SOURCES else 1
    is_of_images = not alternative.kinds
    return fitting[:count] + [operation for operation in fitting[count:] if is_of_images and IMAGES in operation.inputs]


def _explains(alternative: AnyAlternative, operation: Operation, judgement: Judgement) -> bool:
    return _agrees(partial(alternative.explains, judgement, operation))


def _agrees(test: Callable[[], bool]) -> bool:
    try:
        return test()
    except Exception:  # inapplicable, of another shape than the next operation reads, or not finite
        return False
