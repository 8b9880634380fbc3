"""The report of a parity check."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any

from glassnet.errors import GlassnetError
from glassnet.formats import agree, pluralize
from glassnet.verify.faults import Fault


@dataclass(frozen=True)
class TensorDifference:
    """The difference of one tensor from what is expected; infinite if a number is not finite."""

    tensor: str
    absolute: float
    relative: float
    required_tolerance: float  # the smallest tolerance with which the tensor would pass
    tolerance: float
    wrong_in: str | None = None  # "NumPy", "PyTorch", or "both engines", if the other two agree

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance."""
        return isfinite(self.required_tolerance) and self.required_tolerance <= self.tolerance

    @property
    def has_tolerance(self) -> bool:
        """Whether the tensor counts; what is not finite is wrong without a tolerance, too."""
        return isfinite(self.tolerance) or not self.passed


@dataclass(frozen=True, repr=False)
class ParityReport:
    """All differences, in the order of the dataflow.

    :raises GlassnetError: if nothing was compared, or nothing has a tolerance: a check of nothing must not pass.
    """

    name: str
    other: str  # name of the other implementation
    rows: tuple[TensorDifference, ...]
    fault: Fault | None = None  # the operation that is wrong, if one is

    def __post_init__(self) -> None:
        if not self.rows_with_tolerance:
            raise GlassnetError(
                f"The parity check of {self.name} must compare a tensor that has a tolerance. Got none among "
                f"{len(self.rows)}. Use float64, in which gradients have one, or compare activations too."
            )

    @property
    def rows_with_tolerance(self) -> tuple[TensorDifference, ...]:
        """The rows that count."""
        return tuple(row for row in self.rows if row.has_tolerance)

    @property
    def first(self) -> TensorDifference | None:
        """The first tensor that exceeds its tolerance."""
        return next((row for row in self.rows if not row.passed), None)

    @property
    def passed(self) -> bool:
        """Whether no tensor exceeds its tolerance."""
        return self.first is None

    @property
    def worst(self) -> TensorDifference:
        """The tensor that requires most of its tolerance."""

        def exhaustion(row: TensorDifference) -> float:
            return row.required_tolerance / row.tolerance if isfinite(row.required_tolerance) else inf

        return max(self.rows_with_tolerance, key=exhaustion)

    def table(self) -> list[dict[str, Any]]:
        """Return the rows as plain data; None stands for infinite.

        The keys are tensor, absolute, relative, required_tolerance, tolerance, wrong_in, passed and has_tolerance.
        """
        rows = ({**asdict(row), "passed": row.passed, "has_tolerance": row.has_tolerance} for row in self.rows)
        return [{name: None if value == inf else value for name, value in row.items()} for row in rows]

    def raise_if_failed(self) -> None:
        """Raise if a tensor exceeds its tolerance.

        :raises GlassnetError: if one does; names the first in the order of the dataflow, and the wrong operation.
        """
        if (row := self.first) is not None:
            sides = f"NumPy and in {self.other}" if row.wrong_in != "both engines" else "both engines and by definition"
            failed = sum(not row.passed for row in self.rows)
            tensors = pluralize(len(self.rows_with_tolerance), "tensor")
            raise GlassnetError(
                f"Different numbers of {self.name} in {sides}: {failed} of {tensors} "
                f"{agree(failed, 'differs', 'differ')}, first {row.tensor}, by {row.absolute:.3g}. "
                f"It requires a tolerance of {row.required_tolerance:.1e} and has {row.tolerance:.0e}."
                + (f" Fault: {self.fault}." if self.fault else "")
            )

    def __repr__(self) -> str:
        return (
            f"ParityReport({self.name} in NumPy and {self.other}: {'passed' if self.passed else 'FAILED'}, "
            f"{pluralize(len(self.rows_with_tolerance), 'tensor')}, worst {self.worst.tensor}, "
            f"which requires a tolerance of {self.worst.required_tolerance:.1e})"
        )
