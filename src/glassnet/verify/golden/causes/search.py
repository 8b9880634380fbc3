"""The search for the cause of a fault: which alternative gives the port's own numbers?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from glassnet.errors import GlassnetError
from glassnet.verify.golden.causes import ALTERNATIVES, UNKNOWN
from glassnet.verify.golden.causes.alternative import AnyAlternative, InapplicableError
from glassnet.verify.golden.judging import Judgement
from glassnet.verify.golden.operations import Operation


@dataclass(frozen=True)
class Cause:
    """A cause by its key, and the operation that it is in."""

    key: str
    operation: Operation


def find_cause(fault: Judgement, judgements: Sequence[Judgement]) -> Cause:
    """Return the cause that explains a fault, and of several the one that explains most other faults of its operation.

    :param judgements: all of the pass.
    """
    best, most = Cause(UNKNOWN, fault.sources[0]), 0
    for operation in fault.sources:
        others = [j for j in judgements if j is not fault and not j.row.passed and operation in j.sources]
        for alternative in ALTERNATIVES:
            if alternative.direction != fault.direction or not _fits(alternative, operation):
                continue
            if _explains(alternative, operation, fault):
                count = 1 + sum(_explains(alternative, operation, other) for other in others)
                if count > most:
                    best, most = Cause(alternative.key, operation), count
                if count > len(others):  # it explains all
                    return best
    return best


def _fits(alternative: AnyAlternative, operation: Operation) -> bool:
    return not alternative.kinds or operation.kind in alternative.kinds


def _explains(alternative: AnyAlternative, operation: Operation, judgement: Judgement) -> bool:
    try:
        return alternative.explains(judgement, operation)
    except (InapplicableError, GlassnetError, ValueError):  # other shapes do not fit the operations after it
        return False
