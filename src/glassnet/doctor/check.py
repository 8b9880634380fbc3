"""What a diagnosis is: a measure, what is normal, and what to do where it is not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from glassnet.doctor.context import Evidence

SURENESS = ("high", "medium", "low")


@dataclass(frozen=True)
class Reading:
    """One measurement: the number, in words too, and how sure it makes us; ``sure`` None means that all is well."""

    value: float
    measured: str
    sure: str | None = None  # one of SURENESS
    says: str = ""  # what is wrong, where something is


class Diagnosis(ABC):
    """One thing that can be wrong, and how to see it. A subclass is one line of ``examination.DIAGNOSES``.

    Limits are attributes of the class; ``source`` says where they come from. benchmarks/doctor.md measures them: one
    half of its runs chose them, the other half is reported.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]]  # of evidence.PARTS
    normal: ClassVar[str]  # what the measure is where all is well
    source: ClassVar[str]
    advice: ClassVar[tuple[str, ...]]  # in order of use

    @abstractmethod
    def read(self, evidence: Evidence) -> Reading | str:
        """The measurement; or, in words, why it cannot be made."""


def rounded(value: float, digits: int = 2) -> str:
    """A number of so many significant digits, written out: 0.65, 9.2, 1,100."""
    return f"{float(f'{value:.{digits}g}'):,.10g}"


def graded(value: float, medium: float, high: float) -> str | None:
    """How sure a value makes us that lies above ``medium``, or above ``high``."""
    return "high" if value >= high else "medium" if value >= medium else None
