import json
import math

import pytest

from glassnet.pages.figures import accuracy_curve, gradient_norm_curves, loss_curve
from glassnet.pages.theme import caption

HISTORY = [
    {
        "epoch": epoch,
        "loss": 2.0 / epoch,
        "train_accuracy": 1 - 0.5 / epoch,
        "test_loss": 2.5 / epoch,
        "test_accuracy": 1 - 0.6 / epoch,
        "gradient_norms": {"conv1.weight": 3.0 / epoch, "conv1.bias": 4.0 / epoch, "fc.weight": 100.0},
    }
    for epoch in range(1, 11)
]


def traces(figure):
    return {trace.name: trace for trace in figure.data}


def test_loss_curve():
    figure = loss_curve(HISTORY)
    assert list(traces(figure)) == ["train", "test"]
    for trace in figure.data:
        assert trace.mode == "lines+markers"
        assert list(trace.x) == list(range(1, 11))
    assert traces(figure)["train"].y[1] == 1.0
    assert traces(figure)["test"].y[1] == 1.25
    assert figure.layout.xaxis.title.text == "epoch"
    assert figure.layout.yaxis.title.text == "cross-entropy (nats per image)"
    assert figure.layout.title.text == "Loss"
    assert "train from 2.000 to 0.200, test from 2.500 to 0.250" in figure.layout.meta["alt"]


def test_loss_curve_says_that_the_training_loss_is_smoothed():
    figure = loss_curve(HISTORY, 0.1)
    assert list(traces(figure)) == ["train, smoothed", "test"]
    assert "The training loss has label smoothing of 0.1 and levels off higher" in caption(figure)


def test_loss_curve_says_that_the_training_loss_has_class_weights() -> None:
    figure = loss_curve(HISTORY, 0.1, is_weighted=True)
    assert figure.data[0].name == "train, smoothed, weighted"
    assert "In the training loss every class has the same weight" in caption(figure)
    assert "the same weight" not in caption(loss_curve(HISTORY))


@pytest.mark.parametrize("curve", [loss_curve, accuracy_curve])
def test_curves_say_which_weights_are_averaged(curve) -> None:
    told = "the other curves are of their moving average"
    assert told in caption(curve(HISTORY, is_averaged=True))
    assert told not in caption(curve(HISTORY))
    assert "smoothing" not in caption(loss_curve(HISTORY))


def test_accuracy_curve_has_room_for_markers_at_0_and_1():
    figure = accuracy_curve(HISTORY)
    assert list(figure.layout.yaxis.range) == [-0.03, 1.03]
    assert figure.layout.yaxis.title.text == "accuracy (fraction of images)"
    assert traces(figure)["train"].y[0] == 0.5
    assert traces(figure)["test"].y[0] == 0.4
    assert not any(trace.cliponaxis for trace in figure.data)  # a marker at 1 is drawn whole


@pytest.mark.parametrize(("curve", "quantity"), [(loss_curve, "loss"), (accuracy_curve, "accuracy")])
def test_curves_of_validation_and_evaluated_training_images(curve, quantity):
    history = [record | {f"validation_{quantity}": 0.3, f"train_evaluated_{quantity}": 0.2} for record in HISTORY]
    named = traces(curve(history))
    assert list(named) == ["train", "train, evaluated", "validation", "test"]
    assert named["validation"].y[0] == 0.3
    assert named["train, evaluated"].y[0] == 0.2


@pytest.mark.parametrize("curve", [loss_curve, accuracy_curve, gradient_norm_curves])
def test_curves_of_one_epoch(curve):
    figure = curve(HISTORY[:1])
    assert all(list(trace.x) == [1] for trace in figure.data)
    assert list(figure.layout.xaxis.range) == [0.5, 1.5]
    assert figure.layout.xaxis.dtick == 1
    assert "1 epoch" in figure.layout.meta["alt"]


@pytest.mark.parametrize(("epochs", "step"), [(1, 1), (11, 1), (12, 2), (40, 5), (200, 20), (1000, 100)])
def test_epoch_axis_has_at_most_a_dozen_ticks(epochs, step):
    history = [{"epoch": epoch, "loss": 1.0} for epoch in range(1, epochs + 1)]
    assert loss_curve(history).layout.xaxis.dtick == step


@pytest.mark.parametrize("curve", [loss_curve, accuracy_curve, gradient_norm_curves])
def test_curves_have_gaps_where_values_are_not_finite(curve):
    broken = dict.fromkeys(("loss", "test_loss", "train_accuracy", "test_accuracy"), math.nan)
    broken["gradient_norms"] = {"conv1.weight": math.inf, "fc.weight": math.nan}
    figure = curve([*HISTORY[:2], {"epoch": 3} | broken])
    assert [trace.y[2] for trace in figure.data] == [None] * 2
    json.loads(figure.to_json(), parse_constant=pytest.fail)


def test_curves_of_no_epoch_are_empty():
    assert len(loss_curve([]).data) == 0
    assert len(gradient_norm_curves([]).data) == 0


def test_gradient_norm_curves_are_logarithmic():
    figure = gradient_norm_curves(HISTORY)
    assert list(traces(figure)) == ["conv1", "fc"]
    assert traces(figure)["conv1"].y[0] == 5.0
    assert figure.layout.yaxis.type == "log"
    assert figure.layout.yaxis.title.text == "L2 norm of the gradient"
    assert all(trace.showlegend for trace in figure.data)


@pytest.mark.parametrize(("smallest", "step"), [(0.5, None), (0.1, "D2"), (1e-6, 1)])
def test_gradient_norm_curves_always_have_ticks(smallest, step):
    figure = gradient_norm_curves([{"epoch": 1, "gradient_norms": {"a.weight": smallest, "b.weight": 0.9}}])
    assert figure.layout.yaxis.dtick == step


def test_gradient_norm_curves_have_a_gap_at_zero():
    figure = gradient_norm_curves([{"epoch": 1, "gradient_norms": {"a.weight": 0.0, "b.weight": 1.0}}])
    assert traces(figure)["a"].y == (None,)


def test_gradient_norm_curves_of_many_layers_have_a_colour_scale():
    norms = {f"layer{number}.weight": 1.0 for number in range(20)}
    figure = gradient_norm_curves([{"epoch": 1, "gradient_norms": norms}])
    *lines, scale = figure.data
    assert len(lines) == 20
    assert not any(trace.showlegend for trace in figure.data)
    assert list(scale.marker.colorbar.ticktext) == ["first", "last"]
    assert lines[0].line.color != lines[-1].line.color
