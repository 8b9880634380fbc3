"""The page of a golden check."""

from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest

import glassnet as gn
from glassnet.reports.golden_figures import MAX_DRAWN, error_figure, network_figure, operation_verdicts
from glassnet.reports.golden_page import build_page, write_golden_report
from glassnet.verify.golden.judging import GoldenRow
from glassnet.verify.golden.operations import Operation, operations
from glassnet.verify.golden.report import GoldenReport, NotJudged


def row(operation: Operation, direction: Any = "forward", error: float = 0.0, **more: Any) -> GoldenRow:
    group = {"forward": "activations", "backward": "activation_gradients"}[direction]
    tensor = f"train/{group}/{operation.name}"
    return GoldenRow(operation.name, operation.kind, direction, tensor, error, 1e-6, 1.0, **more)


def report(model: str = "tiny-bn", wrong: str | None = None, **changes: Any) -> GoldenReport:
    listed = operations(gn.spec(model))
    rows = [row(operation, error=0.5 if operation.name == wrong else 1e-8) for operation in listed]
    first = next((r for r in rows if not r.passed), None)
    made = GoldenReport(tuple(rows), first, "flipped kernel" if wrong else None, operations=listed)
    return replace(made, **changes)


def test_verdicts_tell_the_first_wrong_operation_from_later_ones_and_from_unjudged_ones() -> None:
    listed = operations(gn.spec("tiny"))
    first, second = row(listed[2], error=1.0), row(listed[4], "backward", error=inf)
    unjudged = row(listed[3], error=1.0, not_judged="at a kink")
    made = GoldenReport((row(listed[0]), first, unjudged, second), first, "unknown", operations=listed)
    statuses = [verdict.status for verdict in operation_verdicts(made)]
    assert statuses[:6] == ["right", "not judged", "first wrong operation", "not judged", "wrong", "not judged"]


def test_network_figure_marks_the_first_wrong_operation() -> None:
    figure = network_figure(report(wrong="layer1.0.conv2"))
    (star,) = [trace for trace in figure.data if trace.name == "first wrong operation"]
    names = figure.layout.yaxis.ticktext
    assert [names[place] for place in star.y] == ["layer1.0.conv2"]
    assert "First wrong: layer1.0.conv2." in figure.layout.meta["alt"]


def test_network_figure_of_a_deep_network_shows_the_surroundings_of_the_fault() -> None:
    made = report("resnet56", wrong="layer2.4.conv1")
    names = network_figure(made).layout.yaxis.ticktext
    assert len(names) == MAX_DRAWN < len(made.operations)
    assert "layer2.4.conv1" in names


@pytest.mark.parametrize("wrong", [None, "conv1", "loss"])
def test_error_figure_has_every_judged_tensor(wrong: str | None) -> None:
    made = report(wrong=wrong)
    figure = error_figure(made)
    assert sum(len(trace.x) for trace in figure.data) == len(made.rows)
    assert f"; {int(wrong is not None)} above 1." in figure.layout.meta["alt"]


def test_error_figure_keeps_infinite_errors_on_the_axis() -> None:
    listed = operations(gn.spec("tiny"))
    made = GoldenReport((row(listed[0], error=inf), row(listed[1])), operations=listed)
    (trace,) = error_figure(made).data
    assert list(trace.y) == [1e9, 1e-6]


def test_page_says_the_cause_and_escapes_the_names_of_a_dump(tmp_path: Path) -> None:
    made = report(wrong="conv1", notes=("<script>alert(1)</script> is no tensor of the bundle.",))
    made = replace(made, not_judged=(NotJudged("train/loss", "not in the dump"),))
    text = write_golden_report(made, tmp_path / "golden.html", "<b>port</b>").read_text(encoding="utf-8")
    assert "flipped kernel" in text
    assert "not in the dump" in text
    assert "<script>alert(1)" not in text
    assert "<b>port" not in text


def test_page_of_a_port_that_passes_says_so() -> None:
    page = build_page(report(), "my port")
    assert ("Verdict", "passed") in page.key_figures
    assert page.summary == ["All 16 tensors of my port are right within rounding."]
    assert [section.title for section in page.sections] == ["Network", "All tensors"]
