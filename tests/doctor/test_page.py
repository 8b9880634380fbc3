from pathlib import Path
from typing import Any

import pytest

from glassnet.doctor import DoctorReport, write_doctor_report
from glassnet.doctor.check import CheckResult
from glassnet.doctor.data_checks import ClassImbalance
from glassnet.doctor.network_checks import WrongGradient
from glassnet.doctor.page import build_page
from glassnet.doctor.remedy import PYTHON_NOTE, Remedy
from glassnet.doctor.report import CheckOutcome
from glassnet.doctor.training_checks import Overfitting
from glassnet.errors import RunError
from glassnet.pages.theme import caption
from tests.conftest import widen


@pytest.fixture
def report(healthy_context: Any) -> DoctorReport:
    """Two findings, a check that passed and one that was skipped."""
    outcomes = [
        CheckOutcome(
            ClassImbalance(),
            CheckResult(9, "9.0 times", "high", "<b>'cat'</b> has 9 times more."),
            remedies=[Remedy("look"), Remedy("train again", {"lr": 0.1})],
            command="glassnet train digits --lr 0.1",
        ),
        CheckOutcome(Overfitting(), CheckResult(0.13, "+13 points", "medium", "A gap.")),
        CheckOutcome(WrongGradient(), CheckResult(1e-9, "largest relative error 1e-09")),
        CheckOutcome(WrongGradient(), None, "no time"),
    ]
    return DoctorReport("runs/a", healthy_context, outcomes)


def test_build_page_has_findings_in_order_then_the_other_checks(report: DoctorReport) -> None:
    page = build_page(report)
    assert [section.title for section in page.sections] == [
        *("1. Class imbalance", "2. Overfitting", "The training", "Checks passed", "Checks skipped"),
        "How to read this page",
    ]
    message, evidence, *advice = page.sections[0].blocks
    assert message == "<b>'cat'</b> has 9 times more."
    assert [row[1] for row in evidence.rows] == ["9.0 times", ClassImbalance.expected, "high", ClassImbalance.source]
    assert advice[1:3] == ["1. Look.", "2. Train again: --lr 0.1"]
    assert (advice[3].text, advice[3].collapsed) == ("glassnet train digits --lr 0.1", False)
    assert page.sections[-2].blocks[0].rows == [["wrong gradient", "no time"]]
    assert page.sections[-1].blocks[-1] == PYTHON_NOTE
    assert "label smoothing of 0.1" in caption(page.sections[2].blocks[0])


def test_build_page_of_a_healthy_run_has_no_findings(healthy_context: Any) -> None:
    report = DoctorReport("runs/a", healthy_context, [CheckOutcome(WrongGradient(), CheckResult(0, "0"))])
    page = build_page(report)
    assert page.summary[:2] == ["runs/a looks healthy.", "1 of 1 check passed, 0 skipped."]
    assert ("First finding", "None") in page.key_figures
    assert [section.title for section in page.sections] == ["The training", "Checks passed", "How to read this page"]


@pytest.mark.slow
def test_page_fits_without_scrolling_sideways(opened: Any, report: DoctorReport) -> None:
    tab = opened(build_page(report), 390)
    assert tab.locator("figure").count() == 2
    fits = "[...document.querySelectorAll('.table')].map(table => table.scrollWidth <= table.clientWidth)"
    assert tab.evaluate(fits) == [True] * 4
    widen(tab, 1280)
    assert tab.evaluate(fits) == [True] * 4


def test_write_doctor_report_escapes_names_and_forbids_requests(report: DoctorReport, tmp_path: Path) -> None:
    html = write_doctor_report(report, tmp_path / "doctor.html").read_text(encoding="utf-8")
    assert "<b>'cat'</b>" not in html
    assert "default-src" in html


def test_write_doctor_report_raises_if_the_folder_is_missing(report: DoctorReport, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        write_doctor_report(report, tmp_path / "nowhere" / "doctor.html")
