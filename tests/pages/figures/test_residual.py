import numpy as np

from glassnet.pages.figures import residual_block_figure

RANDOM = np.random.default_rng(0)


def heatmap(figure):
    (trace,) = (trace for trace in figure.data if trace.type == "heatmap")
    return trace


def test_residual_block_figure_draws_the_sum_and_its_relu():
    x, body = RANDOM.normal(size=(2, 3, 4, 5)).astype(np.float32)
    figure = residual_block_figure(x, body)
    z = heatmap(figure).z
    rows = [z[5 * row : 5 * row + 4, 12:17] for row in range(4)]  # channel 2: tiles of 4 by 5 and a gap of 1
    np.testing.assert_array_equal(rows[0], x[2])
    np.testing.assert_array_equal(rows[1], body[2])
    np.testing.assert_allclose(rows[2], x[2] + body[2], rtol=1e-6)
    np.testing.assert_array_equal(rows[3], np.maximum(rows[2], 0))
    assert list(figure.layout.yaxis.ticktext) == ["x", "F(x)", "x + F(x)", "ReLU of the sum"]


def test_residual_block_figure_has_one_symmetric_scale():
    x, body = np.zeros((2, 3, 4, 4))
    body[1, 2, 2] = -7
    trace = heatmap(residual_block_figure(x, body))
    assert (trace.zmin, trace.zmid, trace.zmax) == (-7, 0, 7)
    assert heatmap(residual_block_figure(x, x)).zmax == 1  # nothing but zeros


def test_residual_block_figure_draws_the_first_channels():
    x, body = RANDOM.normal(size=(2, 16, 4, 4))
    figure = residual_block_figure(x, body)
    np.testing.assert_array_equal(heatmap(figure).z[:4, 35:39], x[7])
    assert heatmap(figure).z.shape == (4 * 5, 8 * 5)
    hover = next(trace for trace in figure.data if trace.mode == "markers")
    assert hover.text[-1] == "ReLU of the sum, channel 7"
