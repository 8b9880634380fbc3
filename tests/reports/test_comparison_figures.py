import json
import math
from itertools import pairwise

import numpy as np
import pytest

from glassnet.measures.significance import Disagreement
from glassnet.pages.colours import RUN_COLOURS
from glassnet.reports.comparison_figures import (
    NO_DISAGREEMENT,
    PAGE_WIDTH,
    accuracy_comparison,
    confusion_comparison,
    disagreement_figure,
    epoch_time_figure,
    loss_comparison,
)


def history(epochs, factor=1.0):
    return [
        {
            "epoch": epoch,
            "loss": 2 * factor / epoch,
            "test_loss": 3 * factor / epoch,
            "train_accuracy": 1 - 0.4 / epoch,
            "test_accuracy": 1 - 0.5 / epoch,
            "seconds": factor * epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


RUNS = {"a": history(10), "<b>": history(4, 2.0)}


def drawn(figure):
    """(name, dash) -> the curve."""
    return {(trace.name, trace.line.dash): trace for trace in figure.data if trace.x[0] is not None}


@pytest.mark.parametrize(
    ("curve", "train", "test", "unit"),
    [
        (loss_comparison, "loss", "test_loss", "cross-entropy (nats per image)"),
        (accuracy_comparison, "train_accuracy", "test_accuracy", "accuracy (fraction of images)"),
    ],
)
def test_curves_are_solid_for_test_and_dotted_for_training(curve, train, test, unit):
    figure = curve(RUNS)
    curves = drawn(figure)
    assert list(curves) == [("a", "dot"), ("a", "solid"), ("&lt;b&gt;", "dot"), ("&lt;b&gt;", "solid")]
    assert list(curves["a", "dot"].y) == [record[train] for record in RUNS["a"]]
    assert list(curves["&lt;b&gt;", "solid"].y) == [record[test] for record in RUNS["<b>"]]
    assert list(curves["&lt;b&gt;", "solid"].x) == [1, 2, 3, 4]
    assert figure.layout.xaxis.range[1] == 10.5  # the longest run's
    assert figure.layout.xaxis.title.text == "epoch"
    assert figure.layout.yaxis.title.text == unit
    assert f"a {RUNS['a'][-1][test]:.3f}, <b> {RUNS['<b>'][-1][test]:.3f}" in figure.layout.meta["alt"]


def test_curves_of_a_run_share_colour_marker_and_legend():
    figure = loss_comparison({str(number): history(2) for number in range(8)})
    named = [trace for trace in figure.data if trace.showlegend is not False]
    assert [trace.name for trace in named] == [*"01234567", "test", "train"]
    assert len({trace.line.color for trace in named[:8]}) == 8
    for number in range(8):
        train, test = (trace for trace in figure.data if trace.legendgroup == str(number))
        assert train.line.color == test.line.color
        assert train.marker.symbol == f"{test.marker.symbol}-open"


def test_accuracy_comparison_has_a_close_up():
    figure = accuracy_comparison(RUNS)
    whole, close = figure.layout.updatemenus[0].buttons
    assert list(figure.layout.yaxis.range) == whole.args[0]["yaxis.range"] == [-0.03, 1.03]
    assert close.args[0] == {"yaxis.range": [0.7425, 1.0075], "yaxis.dtick": 0.05}  # the worst ends at 0.875
    perfect = accuracy_comparison({"a": [history(1)[0] | {"test_accuracy": 1.0}]})
    assert perfect.layout.updatemenus[0].buttons[1].args[0]["yaxis.range"] == pytest.approx([0.9691, 1.0009])


def test_loss_comparison_has_a_logarithmic_axis():
    figure = loss_comparison(RUNS)
    assert [button.args[0] for button in figure.layout.updatemenus[0].buttons] == [
        {"yaxis.type": "linear"},
        {"yaxis.type": "log"},
    ]
    assert figure.layout.yaxis.type == "linear"


@pytest.mark.parametrize("curve", [loss_comparison, accuracy_comparison])
def test_curves_have_gaps_where_values_are_missing(curve):
    broken = {"epoch": 2, "seconds": 1.0, "loss": math.nan, "test_loss": None, "train_accuracy": math.inf}
    figure = curve({"a": [history(1)[0], broken]})
    assert [trace.y[1] for trace in figure.data[:2]] == [None, None]
    json.loads(figure.to_json(), parse_constant=pytest.fail)


def test_epoch_time_figure_has_epochs_and_medians():
    each, middle = epoch_time_figure(RUNS).data
    assert list(each.x) == [*range(1, 11), 2, 4, 6, 8]
    assert list(each.y) == [0] * 10 + [1] * 4
    assert list(middle.x) == [5.5, 5]
    assert each.marker.color[-1] == middle.marker.color[-1] == RUN_COLOURS[1]
    figure = epoch_time_figure(RUNS)
    assert list(figure.layout.yaxis.ticktext) == ["a", "&lt;b&gt;"]
    assert figure.layout.xaxis.title.text == "seconds"
    assert figure.layout.xaxis.rangemode == "tozero"
    assert "a 5.5, <b> 5" in figure.layout.meta["alt"]


def test_confusion_comparison_has_one_scale():
    first, second = np.diag([3, 4]), np.array([[2, 1], [0, 9]])
    figure = confusion_comparison({"a": first, "<b>": second}, ["cat", "dog"])
    np.testing.assert_array_equal(figure.data[0].z, first)
    np.testing.assert_array_equal(figure.data[1].z, second)
    assert [(trace.zmin, trace.zmax) for trace in figure.data] == [(0, 9), (0, 9)]
    assert [trace.showscale for trace in figure.data] == [True, False]
    assert [note.text for note in figure.layout.annotations] == ["a: accuracy 100.0%", "&lt;b&gt;: accuracy 91.7%"]
    for axis in (figure.layout.xaxis, figure.layout.xaxis2, figure.layout.yaxis, figure.layout.yaxis2):
        assert list(axis.ticktext) == ["cat", "dog"]
    assert figure.layout.xaxis2.title.text == "predicted class"
    assert figure.layout.yaxis2.title.text == "true class"
    assert list(figure.layout.yaxis2.range) == [1.5, -0.5]  # the first class on top
    assert (
        "<b>: 11 of 12 images are on the diagonal. Most frequent error: cat predicted as dog, 1 times."
        in (figure.layout.meta["alt"])
    )


@pytest.mark.parametrize(("runs", "columns"), [(2, 2), (3, 3), (4, 2), (5, 3), (8, 3)])
def test_confusion_comparison_does_not_overlap(runs, columns):
    figure = confusion_comparison({str(number): np.eye(10, dtype=np.int64) for number in range(runs)}, [*"0123456789"])
    axes = [getattr(figure.layout, f"xaxis{number or ''}") for number in (0, *range(2, runs + 1))]
    across = sorted({tuple(axis.domain) for axis in axes})
    assert len(across) == columns
    room = [(start - end) * (figure.layout.width - 8) for (_, end), (start, _) in pairwise(across)]
    assert all(pixels > 60 for pixels in room)  # for the class names and the axis title between two
    assert figure.layout.width <= PAGE_WIDTH + 8


def test_confusion_comparison_of_many_classes_has_one_column():
    names = [f"class number {number}" for number in range(40)]
    figure = confusion_comparison({"a": np.eye(40, dtype=np.int64), "b": np.eye(40, dtype=np.int64)}, names)
    assert figure.layout.xaxis.domain == figure.layout.xaxis2.domain
    assert figure.layout.yaxis.domain[0] > figure.layout.yaxis2.domain[1]


def test_disagreement_figure_shows_true_and_predicted_classes():
    found = [Disagreement(7, 0, (0, 1), (0.75, 0.5)), Disagreement(3, 1, (0, 2), (0.25, 0.5))]
    figure = disagreement_figure(found, np.zeros((2, 8, 8, 1), np.uint8), ["one", "<i>"], ["cat", "dog", "owl"])
    labels, hover, _ = figure.data
    assert labels.text == (
        "true: cat<br>one: cat 0.75<br>&lt;i&gt;: dog 0.50 ×",
        "true: dog<br>one: cat 0.25 ×<br>&lt;i&gt;: owl 0.50 ×",
    )
    assert hover.text[0] == "image 7<br>true: cat<br>one: cat (0.7500)<br>&lt;i&gt;: dog (0.5000)"
    assert "2 images" in figure.layout.meta["alt"]


def test_disagreement_figure_of_long_names_has_fewer_columns():
    found = [Disagreement(0, 0, (0, 1), (0.75, 0.5))] * 6
    images = np.zeros((6, 8, 8, 1), np.uint8)
    short = disagreement_figure(found, images, ["a", "b"], ["cat", "dog"])
    long = disagreement_figure(found, images, ["a long name of a run"] * 2, ["a class with a long name"] * 2)
    assert len(set(short.data[0].x)) == 6
    assert len(set(long.data[0].x)) == 4
    assert long.layout.width < 1000


def test_disagreement_figure_of_none_is_a_sentence():
    figure = disagreement_figure([], np.zeros((0, 8, 8, 1), np.uint8), ["a", "b"], ["cat", "dog"])
    assert len(figure.data) == 0
    assert [note.text for note in figure.layout.annotations] == [NO_DISAGREEMENT]
