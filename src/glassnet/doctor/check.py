"""The interface of a check: what it requires, what it measures, what is expected, and what to do about a fault."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from glassnet.doctor.context import CheckContext
from glassnet.doctor.remedy import Remedy
from glassnet.errors import GlassnetError

CONFIDENCE_LEVELS = ("high", "medium", "low")


class CheckSkippedError(GlassnetError):
    """The reason why a check cannot measure anything, raised by the check."""


@dataclass(frozen=True)
class CheckResult:
    """A measurement of a check, as a number and in words. Without a confidence the check passed."""

    value: float
    measured: str
    confidence: str | None = None  # confidence that there is a fault: one of CONFIDENCE_LEVELS
    message: str = ""  # a sentence about the fault
    settings: Mapping[str, Any] = field(default_factory=dict)  # settings of the training that measured better


class Check(ABC):
    """A possible fault and how to detect it. Each subclass is one line of ``checkup.CHECKS``.

    ``benchmarks/doctor.md`` measures the limits: one half of its runs chose them, the other half is reported.
    """

    name: ClassVar[str]  # name of the fault
    requires: ClassVar[tuple[str, ...]]  # keys of ``context.PARTS``
    expected: ClassVar[str]  # values without a fault
    source: ClassVar[str]  # origin of the limits
    advice: ClassVar[tuple[str, ...]] = ()  # remedies that are the same for every run
    medium: ClassVar[float]  # values from here on are a fault with medium confidence
    high: ClassVar[float]  # and from here on with high confidence

    @abstractmethod
    def run(self, context: CheckContext) -> CheckResult:
        """Return the measurement.

        :raises CheckSkippedError: if the check cannot measure anything.
        """

    def finds(self, context: CheckContext) -> bool:
        """Return whether the check finds its fault, for checks that depend on it; False if it cannot measure."""
        try:
            return context.has(*self.requires) and self.run(context).confidence is not None
        except GlassnetError:
            return False

    def remedies(self, context: CheckContext, result: CheckResult) -> list[Remedy]:
        """Return what to do about the fault that was found in this run, in the order to try it."""
        return [Remedy(step) for step in self.advice]

    def grade(self, value: float, measured: str, message: str, **settings: Any) -> CheckResult:
        """Return a result with the confidence that the value has by the limits ``medium`` and ``high``.

        :param settings: settings of the training that measured better.
        """
        return CheckResult(value, measured, confidence_level(value, self.medium, self.high), message, settings)


def confidence_level(value: float, medium: float, high: float) -> str | None:
    """Return ``"high"`` or ``"medium"`` for a value of at least that limit, and None for a smaller one."""
    return "high" if value >= high else "medium" if value >= medium else None


def format_significant(value: float, digits: int = 2) -> str:
    """Return a number rounded to significant digits, without an exponent: 0.65, 9.2, 1,100."""
    return f"{float(f'{value:.{digits}g}'):,.10g}"
