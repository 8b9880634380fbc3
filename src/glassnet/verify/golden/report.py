"""The verdict on a port: what is wrong first, why, and what was not judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any, Self

from glassnet.errors import GlassnetError
from glassnet.formats import agree, pluralize
from glassnet.verify.golden.causes import KEYS, UNKNOWN
from glassnet.verify.golden.causes.optimizer import find_update_cause
from glassnet.verify.golden.causes.search import Cause, find_cause
from glassnet.verify.golden.error_statistics import ErrorStatistics
from glassnet.verify.golden.fault import AnyJudgement, first_names, sentence_of, statistics_of
from glassnet.verify.golden.judging import GoldenRow, Judgement
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.steps import StepJudgement


@dataclass(frozen=True)
class NotJudged:
    """A tensor that has no verdict, and the reason."""

    tensor: str
    reason: str


@dataclass(frozen=True, repr=False)
class GoldenReport:
    """The verdict on a port.

    ``rows`` are the tensors judged, in the order of the dataflow, ``first`` the first that is wrong, with the operation
    at fault and a sentence; ``cause`` is a key of ``causes.KEYS``, "unknown" among them, None if nothing is wrong.
    """

    rows: tuple[GoldenRow, ...]
    first: GoldenRow | None = None
    cause: str | None = None
    statistics: ErrorStatistics | None = None  # of the first wrong tensor, if it has the right shape
    operations: tuple[Operation, ...] = ()  # of the network, in forward order
    not_judged: tuple[NotJudged, ...] = ()
    notes: tuple[str, ...] = ()  # about tensors of the dump that the bundle does not know
    error_with_cause: float | None = None  # that is left of the first wrong tensor if it is computed as the cause says

    @property
    def passed(self) -> bool:
        """Whether tensors were judged, and none is wrong."""
        return self.first is None and any(not row.not_judged for row in self.rows)

    @property
    def failing(self) -> tuple[GoldenRow, ...]:
        """The rows that are wrong."""
        return tuple(row for row in self.rows if not row.passed)

    @property
    def judged(self) -> int:
        """Number of tensors that were judged."""
        return sum(not row.not_judged for row in self.rows)

    @property
    def explanation(self) -> str:
        """The sentence on the cause; empty if nothing is wrong."""
        return KEYS.get(self.cause, "") if self.cause else ""

    @property
    def sentences(self) -> list[str]:
        """The verdict in sentences: what is wrong first, how it looks, the likely cause, and how much else is wrong."""
        if self.first is None:
            return []
        cause = "Cause unknown" if self.cause == UNKNOWN else f"Likely cause: {self.cause}"
        left = "" if self.error_with_cause is None else f" With it the error is {self.error_with_cause:.1e}."
        lines = (self.first.sentence, self._look(self.first), f"{cause}: {self.explanation}.{left}", self._others())
        return [line for line in lines if line]

    def _look(self, first: GoldenRow) -> str:
        """Return how the error looks; nothing of a small one with a cause, for most of its numbers are tolerated."""
        if first.pattern == "rounding" and self.cause != UNKNOWN:
            return ""
        numbers = self.statistics.sentence if self.statistics and self.statistics.count > 1 else ""
        return f"{_LOOKS.get(first.pattern or '', '')} {numbers}".strip()

    def _others(self) -> str:
        """Return how many other tensors are wrong, and of which operations."""
        others = [row for row in self.failing if self.first and row.tensor != self.first.tensor]
        if not others:
            return ""
        names = list(dict.fromkeys(row.operation for row in others))
        are = agree(len(others), "tensor is", "tensors are")
        return f"By the port's own numbers {len(others)} more {are} wrong, of {first_names(names)}."

    def within(self, name: str) -> Self:
        """Return the report as that of one bundle of several: rows are named after the bundle."""

        def named(row: GoldenRow) -> GoldenRow:
            sentence = f"{name}: {row.sentence}" if row.sentence else ""
            return replace(row, operation=name, tensor=f"{name}/{row.tensor}", sentence=sentence)

        return replace(
            self,
            rows=tuple(map(named, self.rows)),
            first=self.first and named(self.first),
            not_judged=tuple(NotJudged(f"{name}/{tensor.tensor}", tensor.reason) for tensor in self.not_judged),
        )

    def table(self) -> list[dict[str, Any]]:
        """Return the rows as plain data; None stands for infinite."""
        rows = ({**asdict(row), "passed": row.passed} for row in self.rows)
        return [{name: _finite(value) for name, value in row.items()} for row in rows]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data."""
        statistics = self.statistics and {**asdict(self.statistics), "fraction": self.statistics.fraction}
        first = self.first and {name: _finite(value) for name, value in asdict(self.first).items()}
        return {
            "passed": self.passed,
            "judged": self.judged,
            "first": first,
            "cause": self.cause,
            "error_with_cause": self.error_with_cause,
            "explanation": self.explanation,
            "sentences": self.sentences,
            "statistics": statistics,
            "rows": self.table(),
            "not_judged": [asdict(tensor) for tensor in self.not_judged],
            "notes": list(self.notes),
        }

    def raise_if_failed(self) -> None:
        """Raise if a tensor is wrong.

        :raises GlassnetError: if one is; names the operation, the tensor and the cause.
        """
        if self.first is not None:
            cause = f" Likely cause: {self.cause}." if self.cause != UNKNOWN else ""
            raise GlassnetError(f"{self.first.sentence}{cause}")

    def __repr__(self) -> str:
        tensors = pluralize(self.judged, "tensor")
        if self.first is None:
            return f"GoldenReport({'passed' if self.passed else 'nothing judged'}: {tensors})"
        first = f"first {self.first.tensor} of {self.first.operation}, cause {self.cause}"
        return f"GoldenReport(FAILED: {len(self.failing)} of {tensors}, {first})"


_LOOKS = {
    "rounding": "It looks like rounding.",
    "structured": "It looks structured.",
    "sparse": "It looks sparse.",
}


def report_of(
    judgements: Sequence[AnyJudgement],
    operations: tuple[Operation, ...] = (),
    not_judged: tuple[NotJudged, ...] = (),
) -> GoldenReport:
    """Return the verdict: the first fault in the order of the dataflow, and its likely cause."""
    rows = tuple(judgement.row for judgement in judgements)
    found = next((i for i, row in enumerate(rows) if not row.passed), None)
    if found is None:
        return GoldenReport(rows, operations=operations, not_judged=not_judged)
    fault = judgements[found]
    cause = _cause_of(fault, judgements)
    judged_before = sum(not row.not_judged for row in rows[:found])
    sentence = sentence_of(fault, None if cause.key == UNKNOWN else cause.operation, judged_before)
    first = replace(rows[found], operation=cause.operation.name, kind=cause.operation.kind, sentence=sentence)
    statistics = statistics_of(fault)
    return GoldenReport(rows, first, cause.key, statistics, operations, not_judged, error_with_cause=cause.error)


def _cause_of(fault: AnyJudgement, judgements: Sequence[AnyJudgement]) -> Cause:
    if isinstance(fault, Judgement):
        return find_cause(fault, [judgement for judgement in judgements if isinstance(judgement, Judgement)])
    if isinstance(fault, StepJudgement):
        return find_update_cause(fault, [judgement for judgement in judgements if isinstance(judgement, StepJudgement)])
    return fault.find_cause()


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not isfinite(value) else value
