import numpy as np
import pytest

from glassnet.classification import ClassScore
from glassnet.pages.colours import SEQUENTIAL
from glassnet.pages.figures import confusion_figure, precision_recall_figure
from glassnet.pages.theme import shorten_label

MATRIX = np.array([[8, 2, 0], [0, 5, 0], [0, 1, 4]])
CLASSES = ["cat", "dog", "bird"]


def test_confusion_figure_has_true_classes_by_row():
    figure = confusion_figure(MATRIX, CLASSES)
    counts, fractions = figure.data
    np.testing.assert_array_equal(counts.z, MATRIX)
    np.testing.assert_allclose(fractions.z, [[0.8, 0.2, 0], [0, 1, 0], [0, 0.2, 0.8]])
    assert figure.layout.yaxis.title.text == "true class"
    assert figure.layout.xaxis.title.text == "predicted class"
    assert list(figure.layout.yaxis.range) == [2.5, -0.5]  # the first class above
    for trace in figure.data:
        assert trace.zmin == 0
        assert trace.colorscale == SEQUENTIAL
        assert trace.colorbar.title.text in ("images", "fraction of the true class")


def test_confusion_figure_leaves_zeros_empty():
    counts, fractions = confusion_figure(MATRIX, CLASSES).data
    assert counts.texttemplate == fractions.texttemplate == "%{text}"
    assert [list(row) for row in counts.text] == [["8", "2", ""], ["", "5", ""], ["", "1", "4"]]
    assert [list(row) for row in fractions.text] == [[".80", ".20", ""], ["", "1", ""], ["", ".20", ".80"]]


@pytest.mark.parametrize("normalized", [False, True])
def test_confusion_figure_is_normalized_on_demand(normalized):
    figure = confusion_figure(MATRIX, CLASSES, normalized=normalized)
    assert [trace.visible for trace in figure.data] == [not normalized, normalized]
    (menu,) = figure.layout.updatemenus
    assert menu.active == int(normalized)
    assert [button.args[0]["visible"] for button in menu.buttons] == [[True, False], [False, True]]


def test_confusion_figure_of_a_class_without_images():
    matrix = np.array([[0, 0], [1, 3]])
    assert confusion_figure(matrix, ["a", "b"]).data[1].z.tolist() == [[0, 0], [0.25, 0.75]]


@pytest.mark.parametrize("count", [2, 10, 100])
def test_confusion_figure_names_every_class_and_has_square_cells(count):
    classes = [f"class number {number}" for number in range(count)]
    figure = confusion_figure(np.eye(count, dtype=np.int64), classes)
    for axis in (figure.layout.xaxis, figure.layout.yaxis):
        assert list(axis.tickvals) == list(range(count))
        assert list(axis.ticktext) == [shorten_label(name) for name in classes]
    margin, layout = figure.layout.margin, figure.layout
    assert layout.width - margin.l - margin.r == pytest.approx(layout.height - margin.t - margin.b, abs=1.5)
    least = (layout.meta["min_width"] - margin.l - margin.r) / count
    assert least >= figure.layout.yaxis.tickfont.size + 4


def test_confusion_figure_escapes_class_names():
    figure = confusion_figure(np.eye(2, dtype=np.int64), ["<b>x</b>", "y"])
    assert figure.layout.xaxis.ticktext[0] == "&lt;b&gt;x&lt;/b&gt;"
    assert "<b>" not in str(figure.data)


def test_confusion_figure_describes_the_most_frequent_error():
    assert "cat predicted as dog, 2 times" in confusion_figure(MATRIX, CLASSES).layout.meta["alt"]
    assert (
        "3 of 3 images are on the diagonal." in confusion_figure(np.eye(3, dtype=np.int64), CLASSES).layout.meta["alt"]
    )


def test_precision_recall_figure():
    scores = [ClassScore(4, 6, 3), ClassScore(2, 0, 0), ClassScore(3, 3, 3), ClassScore(0, 1, 0)]
    classes = [*CLASSES, "owl"]
    figure = precision_recall_figure(scores, classes)
    precision, recall = figure.data
    assert (precision.name, recall.name) == ("precision", "recall")
    assert precision.x == (0.5, None, 1.0, None)  # the last class has no image: nothing is measured
    assert recall.x == (0.75, 0.0, 1.0, None)
    assert precision.y == recall.y == (0, 1, 2, 3)
    assert list(figure.layout.yaxis.ticktext) == classes
    assert list(figure.layout.xaxis.range) == [-0.03, 1.03]
    assert figure.layout.xaxis.title.text == "fraction"
    assert "lowest recall is 0.00, of class dog" in figure.layout.meta["alt"]
