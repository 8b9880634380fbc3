import math

import numpy as np
import pytest

import glassnet as gn
from glassnet import measures
from glassnet.data import Normalization

LABELS = np.array([0, 0, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 1, 0])


def test_confusion_matrix_counts_true_classes_by_row():
    matrix = measures.confusion_matrix(LABELS, PREDICTED, 4)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_class_scores_are_those_of_the_definition_and_nan_where_there_is_nothing_to_divide_by():
    scores = measures.class_scores(LABELS, PREDICTED, 4)
    assert scores[0] == measures.ClassScore(precision=1 / 2, recall=1 / 2, count=2)
    assert scores[1] == measures.ClassScore(precision=2 / 3, recall=1, count=2)
    assert math.isnan(scores[2].precision)
    assert scores[2].recall == 0
    assert math.isnan(scores[3].recall)
    assert scores[3].count == 0


def test_mistakes_come_surest_first_ties_in_order():
    probabilities = np.array([[0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    mistakes = measures.most_confident_errors(np.array([0, 0, 1, 1, 0]), probabilities)
    assert [mistake.index for mistake in mistakes] == [1, 4, 0, 3]
    assert mistakes[0] == measures.Misclassification(
        1, true=0, predicted=1, true_probability=0.1, predicted_probability=0.9
    )
    assert len(measures.most_confident_errors(np.array([0, 0, 1, 1, 0]), probabilities, most=2)) == 2


def test_no_mistakes_are_an_empty_list():
    assert measures.most_confident_errors(np.array([0, 1]), np.eye(2)) == []


def test_samples_take_each_class_in_turn():
    labels = np.array([2, 2, 2, 0, 0, 1, 2])
    assert [labels[index] for index in measures.sample_indices(labels, 5)] == [0, 1, 2, 0, 2]
    assert sorted(measures.sample_indices(labels)) == list(range(7))


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


def test_telling_channels_vary_most_and_stay_in_order():
    maps = np.zeros((4, 2, 2))
    maps[1, 0, 0], maps[3, 0, 0], maps[2] = 1, 5, 100  # channel 2 is bright, but the same everywhere
    assert measures.most_variable_channels(maps, most=2) == [1, 3]


def test_probabilities_are_the_softmax_of_the_logits_whatever_the_chunk():
    network, normalization = gn.build("tiny", dtype="float64"), Normalization(16.0, (0.1,), (0.5,))
    images = np.random.default_rng(0).integers(0, 17, (5, 8, 8, 1)).astype(np.uint8)
    logits = network.logits(normalization.apply(images, np.float64))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    for chunk in (2, 100):
        found = measures.probabilities(network, normalization, images, chunk)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_layer_table_of_resnet20():
    layers = measures.layer_table(gn.build("resnet20"))
    assert sum(layer.multiply_adds for layer in layers) == 40_551_040
    assert sum(layer.parameters for layer in layers) == 269_722
    rows = {layer.name: layer for layer in layers}
    assert rows["conv1"] == measures.Layer("conv1", (16, 32, 32), 432, 442_368, 16 * 32 * 32 * 4)
    assert rows["layer2.0.conv1"].output_shape == (32, 16, 16)
    assert rows["bn1"].parameters == 32
    assert rows["bn1"].multiply_adds == 0
    assert rows["fc"] == measures.Layer("fc", (10,), 650, 640, 40)
    assert [layer.name for layer in layers] == gn.build("resnet20").activation_names


@pytest.mark.parametrize("variant", [{}, {"blocks": 2}, {"pool": "stride"}, {"norm": "batch"}, {"skip": False}])
def test_layer_table_knows_every_parameter_once(variant):
    network = gn.build(gn.spec("tiny", **variant))
    assert sum(layer.parameters for layer in measures.layer_table(network)) == network.parameter_count


def test_layer_memory_is_in_the_dtype_of_the_network_and_counts_no_output_twice():
    single, double = (measures.layer_table(gn.build("tiny", dtype=dtype)) for dtype in ("float32", "float64"))
    assert [2 * layer.memory for layer in single] == [layer.memory for layer in double]
    rows = {layer.name: layer.memory for layer in single}
    assert rows["layer1.0.relu"] == 8 * 8 * 8 * 4
    assert rows["layer1.0"] == 0
    preactivation = measures.layer_table(gn.build(gn.spec("tiny", preactivation=True)))
    assert {layer.name: layer.memory for layer in preactivation}["layer1.0"] == 8 * 8 * 8 * 4  # the sum comes last


def test_looking_at_the_layers_changes_nothing():
    network = gn.build("tiny-bn")
    before = network.state_dict()
    measures.layer_table(network)
    for key, value in network.state_dict().items():
        np.testing.assert_array_equal(value, before[key], err_msg=key)


def test_gradient_norms_join_weight_and_bias_and_leave_gaps():
    history = [
        {"epoch": 1, "gradient_norms": {"conv1.weight": 3.0, "conv1.bias": 4.0}},
        {"epoch": 2},
        {"epoch": 3, "gradient_norms": {"conv1.weight": math.nan, "conv1.bias": 4.0, "fc.weight": 2.0}},
    ]
    epochs, layers = measures.layer_gradient_norms(history)
    assert epochs == [1, 2, 3]
    np.testing.assert_equal(layers, {"conv1": [5.0, math.nan, math.nan], "fc": [math.nan, math.nan, 2.0]})


@pytest.mark.parametrize(("right", "count"), [(9, 10), (437, 450), (1, 3)])
def test_the_ends_of_the_accuracy_interval_are_just_compatible_with_what_was_seen(right, count):
    for end in measures.accuracy_interval(right, count):
        assert abs(right / count - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count))


def test_accuracy_interval_stays_within_0_and_1():
    low, high = measures.accuracy_interval(10, 10)
    assert low == pytest.approx(0.72247, abs=1e-5)  # n / (n + z²)
    assert high == pytest.approx(1)
    assert measures.accuracy_interval(0, 10)[0] == pytest.approx(0)
