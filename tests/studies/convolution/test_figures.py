import re

import numpy as np

from glassnet.pages.colours import DIVERGING
from glassnet.studies import convolution


def test_kernel_response_figure_shows_0_as_white_in_true_proportions(study: convolution.ConvolutionStudy) -> None:
    figure = convolution.kernel_response_figure(study)
    image, responses = (trace for trace in figure.data if trace.type == "heatmap")
    assert (responses.zmin, responses.zmid, responses.zmax) == (-1, 0, 1)
    assert [colour for _, colour in responses.colorscale] == list(DIVERGING)
    assert figure.layout.yaxis.scaleanchor == "x"
    assert np.nanmax(np.abs(responses.z)) == 1
    assert np.isfinite(image.z).sum() == study.image.size
    (texts,) = (trace.text for trace in figure.select_traces({"type": "scatter", "mode": "text"}))
    assert texts[1].split("<br>")[0] == "vertical edges"
    assert texts[3].split("<br>") == ["edges rising to", "the right"]


def test_receptive_field_overlay_figure_draws_few_distinct_rectangles() -> None:
    study = convolution.run_study(np.zeros((40, 60), np.uint8), "resnet110")
    lines = list(convolution.receptive_field_overlay_figure(study).select_traces({"type": "scatter"}))
    assert len(lines) == 6
    assert len({(tuple(line.x), tuple(line.y)) for line in lines}) == 6
    for line in lines:  # bright enough to be seen on black
        assert np.dot([0.3, 0.6, 0.1], [int(part) for part in re.findall(r"\d+", line.line.color)]) > 75
