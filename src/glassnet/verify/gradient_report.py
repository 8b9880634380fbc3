"""The report of a gradient check."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from glassnet.errors import GlassnetError
from glassnet.verify.faults import Fault
from glassnet.verify.finite_differences import TOLERANCE, GradientComparison


@dataclass(frozen=True, repr=False)
class GradientReport:
    """Comparisons of one check, with the number of redraws: comparisons that crossed a kink and were drawn again.

    :raises GlassnetError: if nothing, or nothing but zeros, was compared: a check of nothing must not pass.
    """

    name: str
    rows: tuple[GradientComparison, ...]
    redraws: int
    fault: Fault | None = None  # the operation whose backward pass is wrong, if one is

    def __post_init__(self) -> None:
        if not any(row.numerical or row.analytical for row in self.rows):
            raise GlassnetError(
                f"The gradient check of {self.name} must compare numbers that are not 0. "
                f"Got 0 alone in {len(self.rows)} comparisons."
            )

    @property
    def passed(self) -> bool:
        """Whether all comparisons passed."""
        return all(row.passed for row in self.rows)

    @property
    def worst(self) -> GradientComparison:
        """The comparison of the largest error."""
        return max(self.rows, key=lambda row: row.error)

    def table(self) -> list[dict[str, Any]]:
        """Return the rows as plain data: tensor, position, numerical, analytical, error, passed."""
        return [{**asdict(row), "error": row.error, "passed": row.passed} for row in self.rows]

    def raise_if_failed(self) -> None:
        """Raise if a comparison failed.

        :raises GlassnetError: if one did; names the worst, and the wrong operation.
        """
        if not self.passed:
            row = self.worst
            raise GlassnetError(
                f"Wrong gradient in {self.name} at {row.tensor}, {row.position}: backward gives {row.analytical:.9g} "
                f"and differences give {row.numerical:.9g}, an error of {row.error:.1e}. "
                f"It must be below {TOLERANCE:.0e}." + (f" Fault: {self.fault}." if self.fault else "")
            )

    def __repr__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        return (
            f"GradientReport({self.name}: {verdict}, {len(self.rows)} comparisons, "
            f"worst error {self.worst.error:.1e} at {self.worst.tensor})"
        )
