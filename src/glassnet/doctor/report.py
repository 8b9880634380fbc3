"""The results of all checks: the findings, the most likely root cause first, and what passed and was skipped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glassnet.doctor.check import CONFIDENCE_LEVELS, Check, CheckResult
from glassnet.doctor.context import CheckContext
from glassnet.doctor.remedy import PYTHON_NOTE, Remedy
from glassnet.formats import pluralize


@dataclass(frozen=True)
class CheckOutcome:
    """A check and its result, with what to do about a fault, or the reason why it was skipped."""

    check: Check
    result: CheckResult | None
    skip_reason: str = ""
    remedies: Sequence[Remedy] = ()  # against a fault that was found
    command: str = ""  # trains again with the settings of the first remedy that has any

    @property
    def confidence(self) -> str | None:
        """The confidence that there is a fault: one of CONFIDENCE_LEVELS, or None."""
        return self.result.confidence if self.result else None

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Pairs of a step against the fault and the command that takes it ("" if none does), in the order to try."""
        first = next((step for step, remedy in enumerate(self.remedies) if remedy.settings), None)
        return [(str(remedy), self.command if step == first else "") for step, remedy in enumerate(self.remedies)]

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as JSON holds it: of a finding, of a passed or of a skipped check."""
        check, result = self.check, self.result
        if result is None:
            return {"name": check.name, "reason": self.skip_reason}
        passed = {
            "name": check.name,
            "measured": result.measured,
            "value": result.value if math.isfinite(result.value) else None,
            "expected": check.expected,
        }
        if not result.confidence:
            return passed
        return {
            **passed,
            "confidence": result.confidence,
            "message": result.message,
            "advice": [str(remedy) for remedy in self.remedies],
            "command": self.command or None,
        }


@dataclass(frozen=True, repr=False)
class DoctorReport:
    """The outcomes of all checks of a run, of images or of both."""

    subject: str
    context: CheckContext
    outcomes: Sequence[CheckOutcome]

    @property
    def findings(self) -> list[CheckOutcome]:
        """The faults: the highest confidence first; with equal confidence, causes before their effects."""
        found = [outcome for outcome in self.outcomes if outcome.confidence]
        return sorted(found, key=lambda outcome: CONFIDENCE_LEVELS.index(outcome.confidence or ""))

    @property
    def passed(self) -> list[CheckOutcome]:
        """The checks that found no fault."""
        return [outcome for outcome in self.outcomes if outcome.result is not None and not outcome.confidence]

    @property
    def skipped(self) -> list[CheckOutcome]:
        """The checks that could not measure anything."""
        return [outcome for outcome in self.outcomes if outcome.result is None]

    @property
    def skip_reasons(self) -> dict[str, list[str]]:
        """The names of the skipped checks by their reason, as data that cannot be read is one for many."""
        names: dict[str, list[str]] = {}
        for outcome in self.skipped:
            names.setdefault(outcome.skip_reason, []).append(outcome.check.name)
        return names

    @property
    def summary(self) -> list[str]:
        """The first finding, or that there is none, and how many checks passed and were skipped."""
        findings, passed, skipped = self.findings, self.passed, self.skipped
        counts = f"{len(passed)} of {pluralize(len(self.outcomes), 'check')} passed, {len(skipped)} skipped."
        if findings:
            first = f"{self.subject}: {findings[0].check.name} (confidence: {findings[0].confidence})."
            more = len(findings) - 1
            return [first, *([f"{pluralize(more, 'more finding')} may follow from it."] if more else []), counts]
        return [f"{self.subject} {'looks healthy' if passed else 'cannot be judged'}.", counts]

    @property
    def notes(self) -> list[str]:
        """Notes on the whole report: how losses were measured, and the names of the options in Python."""
        notes, context = [], self.context
        if context.has("history") and (smoothing := context.label_smoothing):
            minimum = context.loss_range[0]
            notes.append(
                f"Training losses have label smoothing {smoothing:g} and cannot fall below {minimum:.3f}; test losses "
                "have none. Percentages of the chance level count from that minimum."
            )
        if context.has("history") and context.has_class_weights:
            notes.append("In training losses every class has the same weight; in test losses every image has.")
        if any(remedy.settings for outcome in self.findings for remedy in outcome.remedies):
            notes.append(PYTHON_NOTE)
        return notes

    def __repr__(self) -> str:
        return f"DoctorReport({' '.join(self.summary)!r})"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON holds it."""
        return {
            "subject": self.subject,
            "healthy": not self.findings,
            "summary": self.summary,
            "findings": [outcome.to_dict() for outcome in self.findings],
            "passed": [outcome.to_dict() for outcome in self.passed],
            "skipped": [outcome.to_dict() for outcome in self.skipped],
        }
