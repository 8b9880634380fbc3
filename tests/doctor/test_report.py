"""Reports of made-up outcomes."""

import json
import math
from typing import Any

import pytest

import glassnet as gn
from glassnet.doctor.check import Check, CheckResult
from glassnet.doctor.context import CheckContext
from glassnet.doctor.remedy import PYTHON_NOTE, Remedy
from glassnet.doctor.report import CheckOutcome, DoctorReport

REMEDIES = [Remedy("look"), Remedy("change it", {"lr": 0.1})]


class NamedCheck(Check):
    requires, expected, source = (), "less", "made up"

    def __init__(self, name: str) -> None:
        self.name = name  # type: ignore[misc]

    def run(self, context: CheckContext) -> CheckResult:
        raise NotImplementedError


def report_of(**results: CheckResult | str) -> DoctorReport:
    """The report of a check for each name, with its result or the reason why it was skipped."""
    outcomes = [
        CheckOutcome(NamedCheck(name), None, result)
        if isinstance(result, str)
        else CheckOutcome(NamedCheck(name), result, remedies=REMEDIES, command="train")
        for name, result in results.items()
    ]
    return DoctorReport("runs/a", CheckContext(data=gn.load_data("digits", samples=100)), outcomes)


@pytest.fixture
def report() -> DoctorReport:
    return report_of(
        a=CheckResult(1, "1", "medium", "A."),
        b=CheckResult(math.inf, "2", "high", "B."),
        c=CheckResult(3, "3"),
        d=CheckResult(4, "4", "high", "D."),
        e="no images",
        f="no recipe",
        g="no images",
        h=CheckResult(5, "5", "low", "H."),
    )


def test_findings_are_sorted_by_confidence_then_by_cause(report: DoctorReport) -> None:
    assert [outcome.check.name for outcome in report.findings] == ["b", "d", "a", "h"]


def test_passed_and_skipped_hold_the_other_checks(report: DoctorReport) -> None:
    assert [outcome.check.name for outcome in report.passed] == ["c"]
    assert [outcome.skip_reason for outcome in report.skipped] == ["no images", "no recipe", "no images"]
    assert {reason: len(names) for reason, names in report.skip_reasons.items()} == {"no images": 2, "no recipe": 1}
    assert report.skip_reasons["no recipe"] == [report.skipped[1].check.name]


def test_summary_names_the_first_finding_and_counts_checks(report: DoctorReport) -> None:
    assert report.summary == [
        "runs/a: b (confidence: high).",
        "3 more findings may follow from it.",
        "1 of 8 checks passed, 3 skipped.",
    ]
    assert repr(report) == f"DoctorReport({' '.join(report.summary)!r})"


def test_summary_of_one_finding_mentions_no_others() -> None:
    assert report_of(a=CheckResult(1, "1", "low", "A.")).summary == [
        "runs/a: a (confidence: low).",
        "0 of 1 check passed, 0 skipped.",
    ]


def test_summary_without_findings_is_healthy_only_if_a_check_passed() -> None:
    assert report_of(a=CheckResult(1, "1"), b="no images").summary[0] == "runs/a looks healthy."
    assert report_of(b="no images").summary[0] == "runs/a cannot be judged."


def test_steps_have_the_command_once(report: DoctorReport) -> None:
    assert report.findings[0].steps == [("look", ""), ("change it: --lr 0.1", "train")]


def test_notes_explain_smoothed_losses_and_options(healthy_context: CheckContext, report: DoctorReport) -> None:
    assert report.notes == [PYTHON_NOTE]
    assert "label smoothing 0.1 and cannot fall below 0.500" in DoctorReport("run", healthy_context, []).notes[0]
    assert report_of(a="no images").notes == []


def test_notes_explain_weighted_losses(make_context: Any) -> None:
    notes = DoctorReport("run", make_context(recipe__class_weights="balanced"), []).notes
    assert notes[1] == "In training losses every class has the same weight; in test losses every image has."


def test_to_dict_is_json(report: DoctorReport) -> None:
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert list(content) == ["subject", "healthy", "summary", "findings", "passed", "skipped"]
    assert content["healthy"] is False
    assert content["findings"][0] == {
        **{"name": "b", "measured": "2", "value": None, "expected": "less"},  # JSON has no infinity
        **{"confidence": "high", "message": "B.", "advice": ["look", "change it: --lr 0.1"], "command": "train"},
    }
    assert content["passed"] == [{"name": "c", "measured": "3", "value": 3, "expected": "less"}]
    assert content["skipped"][0] == {"name": "e", "reason": "no images"}
