import math

import numpy as np
import pytest

import glassnet as gn
from glassnet import measures


@pytest.mark.parametrize(
    ("preset", "stem", "blocks"),
    [("tiny", "relu", 1), ("resnet20", "relu", 9)],
)
def test_stages_are_the_stem_and_each_block(preset, stem, blocks):
    names = gn.build(preset).activation_names
    first, *others = measures.stages(names)
    assert first == stem
    assert len(others) == blocks
    assert others[0] == "layer1.0"


def test_stages_find_the_stem_of_a_preactivation_network():
    assert measures.stages(gn.build(gn.spec("resnet20", preactivation=True)).activation_names)[0] == "conv1"


def test_most_variable_channels_are_in_order():
    maps = np.zeros((4, 2, 2))
    maps[1, 0, 0], maps[3, 0, 0], maps[2] = 1, 5, 100  # channel 2 is bright, but the same everywhere
    assert measures.most_variable_channels(maps, max_count=2) == [1, 3]


def test_layer_table_of_resnet20():
    layers = measures.layer_table(gn.build("resnet20"))
    assert sum(layer.multiply_adds for layer in layers) == 40_551_040
    assert sum(layer.parameters for layer in layers) == 269_722
    rows = {layer.name: layer for layer in layers}
    assert rows["conv1"] == measures.LayerSummary("conv1", (16, 32, 32), 432, 442_368, 16 * 32 * 32 * 4)
    assert rows["layer2.0.conv1"].output_shape == (32, 16, 16)
    assert rows["bn1"].parameters == 32
    assert rows["bn1"].multiply_adds == 0
    assert rows["fc"] == measures.LayerSummary("fc", (10,), 650, 640, 40)
    assert [layer.name for layer in layers] == gn.build("resnet20").activation_names


@pytest.mark.parametrize("variant", [{}, {"blocks": 2}, {"pool": "stride"}, {"norm": "batch"}, {"skip": False}])
def test_layer_table_knows_every_parameter_once(variant):
    network = gn.build(gn.spec("tiny", **variant))
    assert sum(layer.parameters for layer in measures.layer_table(network)) == network.parameter_count


def test_layer_table_memory_follows_the_dtype_and_counts_each_output_once():
    single, double = (measures.layer_table(gn.build("tiny", dtype=dtype)) for dtype in ("float32", "float64"))
    assert [2 * layer.memory for layer in single] == [layer.memory for layer in double]
    rows = {layer.name: layer.memory for layer in single}
    assert rows["layer1.0.relu"] == 8 * 8 * 8 * 4
    assert rows["layer1.0"] == 0
    preactivation = measures.layer_table(gn.build(gn.spec("tiny", preactivation=True)))
    assert {layer.name: layer.memory for layer in preactivation}["layer1.0"] == 8 * 8 * 8 * 4  # the sum comes last


def test_layer_table_leaves_the_network_as_it_is():
    network = gn.build("tiny-bn")
    before = network.state_dict()
    measures.layer_table(network)
    for key, value in network.state_dict().items():
        np.testing.assert_array_equal(value, before[key], err_msg=key)


def test_layer_gradient_norms_join_weight_and_bias():
    history = [
        {"epoch": 1, "gradient_norms": {"conv1.weight": 3.0, "conv1.bias": 4.0}},
        {"epoch": 2},
        {"epoch": 3, "gradient_norms": {"conv1.weight": math.nan, "conv1.bias": 4.0, "fc.weight": 2.0}},
    ]
    epochs, layers = measures.layer_gradient_norms(history)
    assert epochs == [1, 2, 3]
    np.testing.assert_equal(layers, {"conv1": [5.0, math.nan, math.nan], "fc": [math.nan, math.nan, 2.0]})
