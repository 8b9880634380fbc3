from pathlib import Path
from typing import Any

import pytest

import glassnet as gn
from glassnet.doctor import CHECKS, checkup
from glassnet.doctor.check import Check, CheckResult, CheckSkippedError
from glassnet.doctor.context import PARTS, CheckContext
from glassnet.errors import ConfigError, DataError, GlassnetError, RunError
from glassnet.progress import Progress


def test_diagnose_finds_nothing_in_a_healthy_run_and_changes_nothing(healthy_run: Path, snapshot: Any) -> None:
    before = snapshot(healthy_run)
    report = gn.diagnose(healthy_run)
    assert snapshot(healthy_run) == before
    assert (report.findings, report.skipped) == ([], [])
    assert [outcome.check for outcome in report.passed] == list(CHECKS)


def test_checks_are_documented() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert set(check.requires) <= set(PARTS)
        for text in (check.name, check.expected, check.source, *check.advice):
            assert text.strip() == text != ""
            assert not text.endswith(".")


class FakeCheck(Check):
    name, requires, expected, source, advice = "fake", (), "less", "made up", ("do something",)

    def __init__(self, outcome: CheckResult | GlassnetError) -> None:
        self.outcome = outcome

    def run(self, context: CheckContext) -> CheckResult:
        if isinstance(self.outcome, GlassnetError):
            raise self.outcome
        return self.outcome


@pytest.mark.parametrize("error", [CheckSkippedError("too few images"), DataError("too few images")])
def test_diagnose_goes_on_after_an_error_in_a_check(monkeypatch: pytest.MonkeyPatch, error: GlassnetError) -> None:
    monkeypatch.setattr(checkup, "CHECKS", (FakeCheck(error), FakeCheck(CheckResult(1, "1"))))
    report = gn.diagnose(data=gn.load_data("digits", samples=100))
    assert [outcome.skip_reason for outcome in report.outcomes] == ["too few images", ""]


def test_diagnose_reports_its_progress() -> None:
    started: list[tuple[str, int, int]] = []

    class Recorder(Progress):
        def start(self, title: str, total: int, done: int = 0, unit: str = "steps") -> None:
            started.append((title, total, done))

    gn.diagnose(data=gn.load_data("digits", samples=100), progress=Recorder())
    assert started == [(check.name, len(CHECKS), number) for number, check in enumerate(CHECKS)]


def test_diagnose_skips_checks_of_a_run_without_one() -> None:
    report = gn.diagnose(data="digits")
    assert report.subject == "digits (1,347 training and 450 test images)"
    assert (len(report.passed), len(report.skipped)) == (6, 13)


def test_diagnose_finds_the_learning_rate_of_a_run_that_failed_in_its_first_epoch(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        gn.train(
            "tiny", "digits", samples=400, lr=1000, epochs=2, run=tmp_path / "run", progress=Progress(), report=False
        )
    first = gn.diagnose(tmp_path / "run").findings[0]
    assert first.result is not None
    assert (first.check.name, first.confidence) == ("learning rate too high", "high")
    assert "became" in first.result.message


def test_diagnose_raises_without_run_and_data() -> None:
    with pytest.raises(ConfigError, match=r"diagnose must have a run, data or both\. Got neither\."):
        gn.diagnose()


@pytest.mark.parametrize("data", [None, "digits"])
def test_diagnose_raises_for_a_folder_that_is_no_run(tmp_path: Path, data: str | None) -> None:
    with pytest.raises(RunError, match="must be a run folder"):
        gn.diagnose(tmp_path, data)
