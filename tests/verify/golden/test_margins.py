"""The distance of a case from its kinks."""

from typing import Any

import numpy as np
import pytest

import glassnet as gn
from glassnet.verify.golden import margins
from glassnet.verify.golden.margins import TARGET, margin_of, redraw_until_far
from glassnet.verify.golden.operations import Operation
from glassnet.verify.golden.recording import CaseRun, inputs_of
from glassnet.verify.golden.reference import Site
from glassnet.verify.golden.request import requested_case


def case(spec: Any = "tiny-bn", steps: int = 0, **fields: Any) -> Any:
    return requested_case(spec, steps, "float64", None, 0, None, fields)


def evaluated(made: Any, dtype: str) -> dict[str, Any]:
    """Return what a network of the engine computes in evaluation mode."""
    inputs = inputs_of(made)
    state = {key.removeprefix("inputs/state/"): array for key, array in inputs.items() if "/state/" in key}
    network = gn.build(made.spec, dtype=dtype, state=state)
    return network.activations(inputs["inputs/images"], network.tensor_names)


def test_margin_of_is_the_smallest_input_of_a_relu_in_units_of_its_rounding() -> None:
    made = case("tiny", pool="none")
    exact, rounded = evaluated(made, "float64"), evaluated(made, "float32")
    reads = {"relu": "conv1", "layer1.0.relu1": "layer1.0.conv1", "layer1.0.relu": "layer1.0.sum"}
    units = {
        relu: np.abs(exact[name]).min() / np.abs(exact[name] - rounded[name]).max() for relu, name in reads.items()
    }
    found = margin_of(made)
    if found.of == "eval":  # without BatchNorm and dropout both passes are the same
        assert found.operation == min(units, key=lambda relu: units[relu])
    assert found.smallest == pytest.approx(min(units.values()), rel=0.5)  # the engine adds in another order


def test_margin_of_finds_a_kink_that_was_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bias moves one input of a ReLU to 1e-9, which float32 cannot tell from 0."""
    made = case("tiny")
    conv1, inputs = evaluated(made, "float64")["conv1"], inputs_of(made)
    inputs["inputs/state/conv1.bias"][1] -= conv1[0, 1, 2, 3] - 1e-9
    monkeypatch.setattr(margins, "inputs_of", lambda case: inputs)
    found = margin_of(made)
    assert (found.of, found.operation) == ("eval", "relu")
    assert found.smallest < 0.1
    assert found.near >= 2  # in both passes


def test_distances_of_a_pooling_window_are_half_the_gap_between_its_largest_numbers() -> None:
    pool = Operation("pool", "MaxPool2d", ("x",), (1, 1, 3), {"kernel_size": 2, "stride": 2, "padding": 0})
    x = np.array([[3.0, 1.0, 0.0, 0.0, -1.0, -5.0], [2.5, 0.0, 0.0, 0.0, -2.0, -4.0]])[None, None]
    rounding = 2.0**-10
    rounded = x.copy()
    rounded[0, 0, 0, 0] += rounding
    distances, ties = margins._distances(Site(pool, (x,)), Site(pool, (rounded,)))
    assert ties == 1  # the zeros
    assert distances.tolist() == [0.25 / rounding, 0.5 / rounding]


def test_redraw_until_far_returns_the_first_draw_that_is_far(monkeypatch: pytest.MonkeyPatch) -> None:
    near = iter([3, 2, 0])
    monkeypatch.setattr(margins, "margin_of", lambda case, enough=0: margins.Margin(near=next(near)))
    chosen, margin = redraw_until_far(case())
    assert (chosen.draw, margin.draws, margin.near) == (2, 3, 0)


def test_redraw_until_far_returns_the_best_of_50_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def measure(case: Any, enough: float = np.inf) -> margins.Margin:
        drawn.append(case.draw)
        return margins.Margin(near=1 if case.draw == 17 else 2)

    monkeypatch.setattr(margins, "margin_of", measure)
    chosen, margin = redraw_until_far(case())
    assert (chosen.draw, margin.draws, margin.near) == (17, 50, 1)
    assert drawn == list(range(50))


def test_redraw_until_far_draws_once_where_none_would_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(margins, "margin_of", lambda case, enough=0: margins.Margin(near=20))
    chosen, margin = redraw_until_far(case())
    assert (chosen.draw, margin.draws, margin.near) == (0, 1, 20)


@pytest.mark.parametrize("spec", ["tiny", "tiny-bn"])
def test_choices_are_those_of_float32_in_every_pass(spec: str) -> None:
    made, margin = redraw_until_far(case(spec, steps=2))
    assert margin.smallest > TARGET
    runs = [CaseRun(made, inputs_of(made), dtype) for dtype in ("float64", "float32")]
    for number in range(3):
        exact, rounded = (run.evaluation(number) for run in runs)
        for operation in exact.operations:
            if operation.kind == "ReLU":
                x, x32 = (evaluation.value(operation.inputs[0]) for evaluation in (exact, rounded))
                np.testing.assert_array_equal(x > 0, x32 > 0)
