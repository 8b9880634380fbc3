import re
from copy import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import glassnet as gn
from glassnet.doctor import CHECKS, checkup, learning_rate_checks, network_checks, speed_checks, training_checks
from glassnet.doctor.check import Check, CheckResult, CheckSkippedError
from glassnet.doctor.context import PARTS, CheckContext
from glassnet.doctor.remedy import Remedy
from glassnet.doctor.short_runs import ShortRun
from glassnet.errors import ConfigError, DataError, GlassnetError, RunError
from glassnet.progress import Progress


def test_diagnose_finds_nothing_in_a_healthy_run_and_changes_nothing(healthy_run: Path, snapshot: Any) -> None:
    before = snapshot(healthy_run)
    report = gn.diagnose(healthy_run)
    assert snapshot(healthy_run) == before
    assert report.findings == []
    assert {outcome.check.name: outcome.skip_reason for outcome in report.skipped} == {
        "slow training: image decoding": "the run's images are not image files in a folder",
        "slow training: number of threads": "PyTorch on a CPU alone has threads to choose",
    }
    assert len({outcome.result.measured for outcome in report.passed if outcome.result}) == len(report.passed) == 18


def test_checks_are_documented() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert set(check.requires) <= set(PARTS)
        assert bool(check.advice) == (type(check).remedies is Check.remedies)
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
    assert (len(report.passed), len(report.skipped)) == (7, 13)


def test_diagnose_finds_the_learning_rate_of_a_run_that_failed_in_its_first_epoch(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        gn.train(
            "tiny", "digits", samples=400, lr=1000, epochs=2, run=tmp_path / "run", progress=Progress(), report=False
        )
    first = gn.diagnose(tmp_path / "run").findings[0]
    assert first.result is not None
    assert (first.check.name, first.confidence) == ("learning rate too high", "high")
    assert "became" in first.result.message


def test_diagnose_gives_the_command_that_trains_again(tmp_path: Path) -> None:
    given: dict[str, Any] = {"samples": 400, "epochs": 2, "progress": Progress(), "report": False}
    gn.train("tiny", "digits", lr=1e-6, run=tmp_path / "run", **given)
    finding = gn.diagnose(tmp_path / "run").findings[0].to_dict()
    assert finding["name"] == "learning rate too low"
    (options,) = re.fullmatch(r"train again with a larger learning rate: (--lr [\d.]+)", finding["advice"][0]).groups()
    assert finding["command"] == f"glassnet train digits --model tiny --samples 400 --epochs 2 {options}"
    assert finding["advice"][1] == "or train for many more epochs: --epochs 20"


class Evidence:
    """A made-up training and made-up measurements: what the checks decide by."""

    def __init__(self, data: st.DataObject) -> None:
        losses, fractions = st.sampled_from([0.6, 1.6, 9.0]), st.sampled_from([0.1, 0.5, 0.7, 1.0])
        self.history = [
            {"loss": loss, "train_accuracy": data.draw(fractions), "test_accuracy": data.draw(fractions)}
            for loss in data.draw(st.lists(losses, min_size=1, max_size=3))
        ]
        self.recipe = {
            "lr": data.draw(st.sampled_from([1e-4, 0.01, 5.0])),
            "batch_size": data.draw(st.sampled_from([4, 32])),
        }
        self.skip = data.draw(st.booleans())
        self.data, self.short_losses, self.fractions = data, losses, fractions

    def short_run(self, context: CheckContext, steps: int, max_seconds: float, **changes: Any) -> ShortRun:
        accuracies = self.data.draw(self.fractions), self.data.draw(self.fractions)
        return ShortRun((self.data.draw(self.short_losses),) * steps, *accuracies)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_findings_never_contradict_each_other(
    healthy_context: CheckContext, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    evidence, context = Evidence(data), copy(healthy_context)
    context.history, context.recipe = evidence.history, context.recipe.replace(**evidence.recipe)
    context.spec, context.short_runs = context.spec.replace(skip=evidence.skip), {}
    monkeypatch.setattr(context, "initial_network", healthy_context.initial_network)
    images = healthy_context.batch(64)
    monkeypatch.setattr(context, "batch", lambda count: images)
    for module in (learning_rate_checks, training_checks):
        monkeypatch.setattr(module, "run_short_training", evidence.short_run)
    dead, seconds, change = (
        data.draw(st.lists(st.sampled_from([0.1, 0.5, 1.0]), min_size=2, max_size=2)) for _ in range(3)
    )
    monkeypatch.setattr(network_checks, "dead_fraction", lambda network, images: dead[network is context.network])
    monkeypatch.setattr(speed_checks, "seconds_per_image", lambda network, context, size: seconds[size == 64])
    monkeypatch.setattr(network_checks, "signal_change", lambda *arguments: [1 / value**4 for value in change])
    kinds = (learning_rate_checks, training_checks, network_checks, speed_checks.SmallBatch)
    names = {kind.__name__ for kind in kinds}
    checks = [c for c in CHECKS if {type(c).__module__, type(c).__name__} & names and c.name != "wrong gradient"]
    findings = [outcome for check in checks if (outcome := checkup._outcome(check, context)).confidence]
    found = {outcome.check.name for outcome in findings}
    assert not [pair for pair in checkup.CONTRADICTIONS if found >= set(pair)]
    assert_remedies_agree(context, [remedy for outcome in findings for remedy in outcome.remedies])


def assert_remedies_agree(context: CheckContext, remedies: list[Remedy]) -> None:
    """No setting is to be raised by one remedy and lowered by another."""
    raised: dict[str, bool] = {}
    current = {**context.spec.to_dict(), **context.recipe.to_dict()}
    for name, value in ((name, value) for remedy in remedies for name, value in remedy.settings.items()):
        if isinstance(value, int | float | list) and current[name] is not None:
            before = list(current[name]) if isinstance(value, list) else current[name]
            assert before != value, name
            assert raised.setdefault(name, value > before) == (value > before), name


def test_diagnose_raises_without_run_and_data() -> None:
    with pytest.raises(ConfigError, match=r"diagnose must have a run, data or both\. Got neither\."):
        gn.diagnose()


@pytest.mark.parametrize("data", [None, "digits"])
def test_diagnose_raises_for_a_folder_that_is_no_run(tmp_path: Path, data: str | None) -> None:
    with pytest.raises(RunError, match="must be a run folder"):
        gn.diagnose(tmp_path, data)
