import numpy as np
import pytest

from glassnet.pages.colours import DIVERGING
from glassnet.pages.figures import feature_map_figure, filter_figure

RANDOM = np.random.default_rng(0)


def heatmap(figure):
    (trace,) = (trace for trace in figure.data if trace.type == "heatmap")
    return trace


def test_filter_figure_has_one_symmetric_scale():
    weight = RANDOM.normal(size=(10, 1, 3, 3)).astype(np.float32)
    weight[4, 0, 1, 1] = 9
    trace = heatmap(filter_figure(weight))
    assert (trace.zmin, trace.zmid, trace.zmax) == (-9, 0, 9)
    assert [colour for _, colour in trace.colorscale] == list(DIVERGING)  # red below zero
    assert trace.colorbar.title.text == "weight"
    np.testing.assert_array_equal(trace.z[:3, :3], weight[0, 0])
    np.testing.assert_array_equal(trace.z[:3, 4:7], weight[1, 0])
    np.testing.assert_array_equal(trace.z[5:8, :3], weight[8, 0])  # the ninth begins the second row


def test_filter_figure_has_a_row_for_each_colour():
    weight = RANDOM.normal(size=(16, 3, 3, 3))
    figure = filter_figure(weight)
    for channel in range(3):
        np.testing.assert_array_equal(heatmap(figure).z[4 * channel : 4 * channel + 3, :3], weight[0, channel])
    assert list(figure.layout.yaxis.ticktext) == ["R", "G", "B"] * 2
    assert list(figure.layout.yaxis.tickvals[:3]) == [1, 5, 9]


@pytest.mark.parametrize("weight", [np.zeros((2, 1, 3, 3)), np.full((2, 1, 3, 3), np.nan)])
def test_filter_figure_of_zero_weights_has_a_scale(weight):
    assert heatmap(filter_figure(weight)).zmax == 1


def test_feature_map_figure_has_a_row_for_each_stage():
    stem = np.stack([np.full((4, 4), 2.0), np.arange(16.0).reshape(4, 4)])
    block = np.zeros((3, 2, 2))
    block[2, 0, 0] = 7
    figure = feature_map_figure({"stem": stem, "layer1.0": block}, max_channels=3)
    trace = heatmap(figure)
    assert list(figure.layout.yaxis.ticktext) == ["stem", "layer1.0"]
    assert trace.colorscale[0][1] == "#440154"  # Viridis
    assert (trace.zmin, trace.zmax) == (0, 1)
    np.testing.assert_allclose(trace.z[:4, 5:9], stem[1] / 15, rtol=1e-6)
    assert np.isnan(trace.z[:4, 10:14]).all()  # the stem has two channels only
    expected = np.zeros((4, 4))
    expected[:2, :2] = 1  # 2×2 pixels, enlarged
    np.testing.assert_array_equal(trace.z[5:9, 10:14], expected)
    hover = next(trace for trace in figure.data if trace.mode == "markers")
    assert hover.text[-1] == "layer1.0, channel 2<br>0 to 7"


def test_feature_map_figure_keeps_proportions():
    figure = feature_map_figure({"stem": RANDOM.normal(size=(8, 112, 56)), "layer1.0": RANDOM.normal(size=(8, 14, 7))})
    assert heatmap(figure).z.shape == (2 * (48 + 2), 8 * (24 + 2))
    assert np.nanmax(heatmap(figure).z) == 1


def test_feature_map_figure_of_a_constant_stage():
    assert np.nanmax(heatmap(feature_map_figure({"stem": np.zeros((2, 4, 4))})).z) == 0
