import re

import numpy as np

from glassnet.pages.colours import DIVERGING
from glassnet.studies import convolution


def test_kernel_response_figure_shows_0_as_white_in_true_proportions(study: convolution.ConvolutionStudy) -> None:
    figure = convolution.kernel_response_figure(study)
    *kernels, image, responses = (trace for trace in figure.data if trace.type == "heatmap")
    assert (responses.zmin, responses.zmid, responses.zmax) == (-1, 0, 1)
    assert [colour for _, colour in responses.colorscale] == list(DIVERGING)
    assert figure.layout.yaxis.scaleanchor == "x"
    assert np.nanmax(np.abs(responses.z)) == 1
    assert np.isfinite(image.z).sum() == study.image.size
    (texts,) = (trace.text for trace in figure.select_traces({"type": "scatter", "mode": "text"}))
    assert texts[0].split("<br>") == ["a handwritten 1", "8×8 pixels", "0 to 1"]
    assert texts[1].split("<br>") == ["Sobel x", "vertical edges", "6×6: −4 to 4"]
    assert texts[8].split("<br>")[0] == "Gauss, times 1/16"
    assert [kernel.text[0] for kernel in (kernels[0], kernels[-1])] == [["1", "0", "−1"], ["1", "2", "1"]]


def test_kernel_response_figure_shows_each_kernel_left_of_its_response(study: convolution.ConvolutionStudy) -> None:
    figure = convolution.kernel_response_figure(study)
    *kernels, _, responses = (trace for trace in figure.data if trace.type == "heatmap")
    assert len(kernels) == len(study.responses)
    for kernel, response in zip(kernels, study.responses, strict=True):
        assert [[float(text.replace("−", "-")) for text in row] for row in kernel.text] == [
            list(row) for row in response.kernel.numerators
        ]
        top, left = round(kernel.y[0] - 8 / 6 + 0.5), round(kernel.x[0] - 8 / 6 + 0.5)  # 8 pixels are three cells
        beside = responses.z[top + 1 : top + 7, left + 10 : left + 16]  # 6×6 in the next 8×8, after a gap of one
        np.testing.assert_allclose(beside, response.response / np.abs(response.response).max())


def test_receptive_field_overlay_figure_draws_few_distinct_rectangles() -> None:
    study = convolution.run_study(np.zeros((40, 60), np.uint8), "resnet110")
    lines = list(convolution.receptive_field_overlay_figure(study).select_traces({"type": "scatter"}))
    assert len(lines) == 6
    assert len({(tuple(line.x), tuple(line.y)) for line in lines}) == 6
    for line in lines:  # bright enough to be seen on black
        assert np.dot([0.3, 0.6, 0.1], [int(part) for part in re.findall(r"\d+", line.line.color)]) > 75
