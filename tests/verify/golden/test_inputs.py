"""The inputs of a port beside those of the bundle."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glassnet.verify import golden
from glassnet.verify.golden import Bundle, GoldenReport
from tests.verify.golden.ports import Array, Tensors, compute_dump


def mean(bundle: Bundle) -> Array:
    return np.reshape(bundle.normalization.mean, (-1, 1, 1))


def std(bundle: Bundle) -> Array:
    return np.reshape(bundle.normalization.std, (-1, 1, 1))


INPUT_FAULTS: dict[str, tuple[str, Callable[[Bundle, Array], Array], str]] = {
    "shifted": ("inputs/images", lambda bundle, x: x + 1, "other inputs"),
    "not normalized": (
        "inputs/images",
        lambda bundle, x: bundle.tensor("inputs/pixels").transpose(0, 3, 1, 2) / 255,
        "not normalized",
    ),
    "scaled twice": (
        "inputs/images",
        lambda bundle, x: (bundle.tensor("inputs/pixels").transpose(0, 3, 1, 2) / 255**2 - mean(bundle)) / std(bundle),
        "scaled twice",
    ),
    "other labels": ("inputs/labels", lambda bundle, labels: (labels + 1) % 10, "other labels"),
    "impossible labels": ("inputs/labels", lambda bundle, labels: labels + 1000, "other labels"),
    "labels of floats": ("inputs/labels", lambda bundle, labels: labels + 0.5, "other labels"),
    "other pixels": ("inputs/pixels", lambda bundle, pixels: pixels[::-1], "other inputs"),
    "HWIO": ("inputs/state/layer1.0.conv1.weight", lambda bundle, w: w.transpose(2, 3, 1, 0), "HWIO"),
    "transposed": ("inputs/state/fc.weight", lambda bundle, w: w.T, "transposed linear"),
    "other weights": ("inputs/state/fc.weight", lambda bundle, w: 1.1 * w, "other weights"),
}


@pytest.mark.parametrize(("name", "change", "cause"), INPUT_FAULTS.values(), ids=INPUT_FAULTS)
def test_judge_inputs_compares_them_first_and_finds_the_cause(
    bundle: Bundle,
    healthy: Tensors,
    judge: Callable[..., GoldenReport],
    name: str,
    change: Callable[[Bundle, Array], Array],
    cause: str,
) -> None:
    report = judge(healthy | {name: change(bundle, bundle.tensor(name))})
    assert report.first is not None
    assert (report.first.tensor, report.first.direction, report.cause) == (name, "input", cause)
    assert report.explanation
    assert f"Likely cause: {cause}: {report.explanation}." in report.sentences


def test_with_inputs_of_takes_the_port_s_own_inputs(bundle: Bundle, judge: Callable[..., GoldenReport]) -> None:
    def other_weights(network: Any) -> None:
        state = network.state_dict()
        network.load_state_dict(state | {"conv1.weight": 1.5 * state["conv1.weight"]})

    weight = {"inputs/state/conv1.weight": 1.5 * bundle.tensor("inputs/state/conv1.weight")}
    report = judge(compute_dump(bundle, plant=other_weights) | weight)
    assert [row.tensor for row in report.failing] == ["inputs/state/conv1.weight"]


def test_a_port_in_float64_passes_a_bundle_in_float32(tmp_path: Path) -> None:
    """It may normalize the pixels itself, more precisely than the bundle."""
    for dtype in ("float32", "float64"):
        golden.write("tiny", tmp_path / dtype, dtype=dtype)
    report = golden.check(tmp_path / "float32", tmp_path / "float64")
    assert report.passed, report.first
    assert "inputs/images" in {row.tensor for row in report.rows}
