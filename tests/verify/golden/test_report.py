"""The verdict as an object, as plain data and as an error."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from glassnet.errors import GlassnetError
from glassnet.verify.golden import Bundle, GoldenReport
from tests.verify.golden.ports import Tensors, compute_dump, layer, wrong_buffer, wrong_output


def test_golden_report_is_plain_data(bundle: Bundle, judge: Callable[..., GoldenReport]) -> None:
    report = judge(compute_dump(bundle, plant=wrong_output("layer1.0.conv1")))
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert (data["passed"], data["judged"], data["cause"]) == (False, report.judged, report.cause)
    assert data["first"]["operation"] == "layer1.0.conv1"
    assert data["rows"] == json.loads(json.dumps(report.table()))
    assert {row["passed"] for row in data["rows"]} == {True, False}
    assert len(report.operations) == len(bundle.operations)


def test_golden_report_prints_one_line(bundle: Bundle, healthy: Tensors, judge: Callable[..., GoldenReport]) -> None:
    assert repr(judge(healthy)) == f"GoldenReport(passed: {len(healthy)} tensors)"
    wrong = judge(compute_dump(bundle, plant=wrong_buffer))
    assert repr(wrong).startswith(f"GoldenReport(FAILED: 2 of {len(healthy)} tensors, first train/buffers/")
    assert "\n" not in repr(wrong)


def test_golden_report_says_how_much_else_is_wrong(
    bundle: Bundle, healthy: Tensors, judge: Callable[..., GoldenReport]
) -> None:
    name = "eval/activations/layer1.0.bn1"
    one = judge({name: 2 * healthy[name]})
    assert not any("more" in sentence for sentence in one.sentences)
    report = judge(compute_dump(bundle, plant=wrong_output("layer1.0.conv1")))
    assert report.sentences[-1] == "By the port's own numbers 1 more tensor is wrong, of layer1.0.conv1."


def test_golden_report_raises_the_fault(bundle: Bundle, judge: Callable[..., GoldenReport]) -> None:
    report = judge(compute_dump(bundle, plant=wrong_buffer))
    with pytest.raises(GlassnetError, match=r"^layer1\.0\.bn1 left a wrong running_mean .* cause: momentum value\.$"):
        report.raise_if_failed()


def test_golden_report_of_nothing_has_not_passed() -> None:
    assert not GoldenReport(()).passed
    assert repr(GoldenReport(())) == "GoldenReport(nothing judged: 0 tensors)"


def test_golden_report_within_a_collection_names_the_bundle(
    healthy: Tensors, judge: Callable[..., GoldenReport]
) -> None:
    name = "train/activations/layer1.0.conv2"
    report = judge({name: np.zeros_like(healthy[name])}).within("relu")
    assert report.first is not None
    assert (report.first.operation, report.first.tensor) == ("relu", f"relu/{name}")
    assert report.first.sentence.startswith("relu: ")
    assert {row.operation for row in report.rows} == {"relu"}
    assert all(tensor.tensor.startswith("relu/") for tensor in report.not_judged)


def test_golden_report_says_the_error_that_the_cause_leaves(bundle: Bundle, judge: Callable[..., GoldenReport]) -> None:
    def other_eps(network: Any) -> None:
        layer(network, "layer1.0.bn1").eps = 5e-5

    single = {name: array.astype(np.float32) for name, array in compute_dump(bundle, plant=other_eps).items()}
    name = "train/activations/layer1.0.bn1"
    report = judge({key: single[key] for key in (name, "train/activations/layer1.0.conv1")}, dtype="float32")
    assert (report.first and report.first.tensor, report.cause) == (name, "eps value")
    assert report.error_with_cause is not None
    assert report.first is not None
    assert report.error_with_cause <= report.first.tolerance < report.first.error
    assert report.first.pattern == "rounding"
    assert report.sentences[1].startswith("Likely cause: eps value: ")
    assert report.sentences[1].endswith(f" With it the error is {report.error_with_cause:.1e}.")


def test_golden_report_says_how_an_error_looks_that_has_no_cause(
    healthy: Tensors, judge: Callable[..., GoldenReport]
) -> None:
    name = "train/activations/layer1.0.bn1"
    report = judge({name: healthy[name] ** 2})
    assert (report.cause, report.error_with_cause) == ("unknown", None)
    assert report.sentences[1].startswith("It looks structured. ")
