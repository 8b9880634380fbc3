import json
import re
from typing import Any

import pytest

import glassnet as gn
from glassnet.errors import ConfigError
from glassnet.layer_graph import parameter_count
from glassnet.pages.page import render
from glassnet.studies import parameters


def test_example_has_33280_dense_and_80_convolution_parameters() -> None:
    example = parameters.run_study().example
    assert (example.parameters, example.dense) == (80, 33_280)  # 8·(3·3 + 1), and 64·512 + 512
    assert (example.input_shape, example.output_shape) == ((1, 8, 8), (8, 8, 8))


def test_run_study_counts_every_layer_of_tiny() -> None:
    layers = {layer.name: (layer.parameters, layer.dense) for layer in parameters.run_study("tiny").layers}
    assert layers == {
        "conv1": (80, 33_280),
        "layer1.0.conv1": (8 * 8 * 9 + 8, 512 * 512 + 512),
        "layer1.0.conv2": (584, 262_656),
        "fc": (8 * 4 * 4 * 10 + 10, 1290),
    }


@pytest.mark.parametrize("model", ["tiny-bn", "resnet20", "resnet50"])
def test_layers_add_up_to_the_parameters_of_the_model(model: str) -> None:
    study = parameters.run_study(model)
    assert sum(layer.parameters for layer in study.layers) == parameter_count(gn.spec(model))
    assert sum(study.total(kind) for kind in ("convolution", "normalization", "dense")) == sum(
        layer.parameters for layer in study.layers
    )


def test_dense_has_no_bias_where_the_convolution_has_none() -> None:
    first = parameters.run_study(gn.spec("tiny-bn", width=4)).layers[0]
    assert (first.parameters, first.dense) == (4 * 9, 64 * 256)


def test_summary_follows_the_numbers() -> None:
    assert "has 80, 416 times fewer." in parameters.run_study("tiny").summary[0]
    on_one_pixel = parameters.run_study(gn.spec("resnet20", image_size=1))
    assert "times more, because the image is smaller than the kernel" in on_one_pixel.summary[1]
    assert "normalization" not in parameters.run_study("tiny").summary[2]


def test_build_page_lists_every_layer_and_equal_ones_share_a_bar() -> None:
    study = parameters.run_study("resnet20")
    page = parameters.build_page(study)
    figure, table = page.sections[1].blocks
    assert len(table.rows) == len(study.layers)
    convolution, dense = figure.data
    assert convolution.y[1] == "16→16, 3×3 on 32×32 (6×)"
    assert (convolution.x[1], dense.x[1]) == (2304, 268_435_456)
    assert len(convolution.y) == 6
    assert figure.layout.xaxis.range[0] == 0  # the bars begin at one parameter
    assert "33,280" in render(page)
    json.dumps(study.to_dict(), allow_nan=False)


@pytest.mark.parametrize("model", ["resnet21", 3, None, ()])
def test_run_study_refuses_an_unknown_model(model: Any) -> None:
    with pytest.raises(ConfigError, match=f"model must be one of tiny, .* Got {re.escape(repr(model))}"):
        parameters.run_study(model)
