import base64
import io

import numpy as np
import pytest
from PIL import Image

from glassnet.classification import Misclassification
from glassnet.pages.figures import NO_ERRORS_TEXT, misclassified_figure, sample_figure

RANDOM = np.random.default_rng(0)


def pixels(trace):
    content = base64.b64decode(trace.source.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(content)) as image:
        return np.array(image)


def test_sample_figure_in_gray():
    images = RANDOM.integers(0, 17, (36, 8, 8, 1)).astype(np.uint8)
    figure = sample_figure(images, np.arange(36) % 10, [str(digit) for digit in range(10)], scale=16)
    labels, _, heatmap = figure.data
    assert heatmap.type == "heatmap"
    assert (heatmap.zmin, heatmap.zmax) == (0, 255)
    assert heatmap.colorscale[0][1] == "rgb(0, 0, 0)"
    assert not heatmap.showscale
    np.testing.assert_array_equal(heatmap.z[:8, :8], np.rint(images[0, :, :, 0] / 16 * 255))
    assert len(set(labels.x)) == 9
    assert len(set(labels.y)) == 4
    assert labels.text[11] == "1"
    assert not figure.layout.xaxis.visible
    assert not figure.layout.yaxis.visible
    assert "36 training images" in figure.layout.meta["alt"]


def test_sample_figure_in_colour():
    images = RANDOM.integers(0, 256, (4, 6, 5, 3)).astype(np.uint8)
    figure = sample_figure(images, np.zeros(4, np.int64), ["cat"])
    image = figure.data[-1]
    assert image.type == "image"
    np.testing.assert_array_equal(pixels(image)[:6, :5, :3], images[0])
    assert pixels(image)[0, 5, 3] == 0  # the gap is transparent


def test_sample_figure_shrinks_large_images():
    images = np.full((1, 400, 200, 3), 100, np.uint8)
    shown = pixels(sample_figure(images, np.zeros(1, np.int64), ["cat"]).data[-1])
    assert (shown[:96, :48, :3] == 100).all()
    assert (shown[:96, 48, 3] == 0).all()


def test_sample_figure_escapes_names_and_shows_them_whole_on_hover():
    images = np.zeros((1, 8, 8, 1), np.uint8)
    labels, hover, _ = sample_figure(images, np.zeros(1, np.int64), ["<i>a very long name</i>"]).data
    assert labels.text == ("&lt;i&gt;a v…/i&gt;",)
    assert hover.text == ("&lt;i&gt;a very long name&lt;/i&gt;",)


def test_misclassified_figure_shows_classes_and_probabilities():
    mistakes = [Misclassification(7, 0, 1, 0.125, 0.75), Misclassification(3, 1, 0, 0.25, 0.5)]
    figure = misclassified_figure(mistakes, np.zeros((2, 8, 8, 1), np.uint8), ["cat", "dog"])
    labels, hover, _ = figure.data
    assert labels.text == ("cat 0.12<br>→ dog 0.75", "dog 0.25<br>→ cat 0.50")
    assert hover.text[0] == "image 7<br>true: cat (0.1250)<br>predicted: dog (0.7500)"
    assert "cat predicted as dog with probability 0.75" in figure.layout.meta["alt"]


@pytest.mark.parametrize("count", [1, 6, 36])
def test_misclassified_figure_has_tiles_of_one_size(count):
    mistakes = [Misclassification(index, 0, 1, 0.1, 0.9) for index in range(count)]
    figure = misclassified_figure(mistakes, np.zeros((count, 8, 8, 1), np.uint8), ["cat", "dog"])
    one = misclassified_figure(mistakes[:1], np.zeros((1, 8, 8, 1), np.uint8), ["cat", "dog"])
    assert figure.layout.width == one.layout.width


def test_misclassified_figure_of_no_errors_is_a_sentence():
    figure = misclassified_figure([], np.zeros((0, 8, 8, 1), np.uint8), ["cat", "dog"])
    assert len(figure.data) == 0
    assert [note.text for note in figure.layout.annotations] == [NO_ERRORS_TEXT]
