import math

import numpy as np
import pytest

import glassnet as gn
from glassnet import measures
from glassnet.data import Normalization, Split
from glassnet.measures import Outcome
from tests.measures.outcomes import outcome_of

LABELS = np.array([0, 0, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 1, 0])
OUTCOME = outcome_of(LABELS, np.eye(4)[PREDICTED])


def test_outcome_counts_and_losses_by_hand():
    outcome = Outcome.from_logits(np.array([0, 1]), np.log(np.array([[0.5, 0.5], [0.75, 0.25]], np.float32)))
    np.testing.assert_allclose(outcome.probabilities, [[0.5, 0.5], [0.75, 0.25]], rtol=1e-6)
    assert outcome.probabilities.dtype == np.float64
    assert outcome.predicted.tolist() == [0, 0]
    assert outcome.correct.tolist() == [True, False]
    assert (outcome.n_correct, outcome.accuracy) == (1, 0.5)
    assert outcome.loss == pytest.approx(-(math.log(0.5) + math.log(0.25)) / 2, rel=1e-6)


def test_outcome_keeps_a_finite_loss_where_a_probability_underflows():
    outcome = Outcome.from_logits(np.array([0]), np.array([[0.0, 2000.0]]))
    assert outcome.probabilities[0, 0] == 0
    assert outcome.loss == 2000


def test_outcome_of_a_diverged_network_is_nan():
    outcome = Outcome.from_logits(np.array([1, 1]), np.array([[np.inf, 0.0], [0.0, 1.0]]))
    assert np.isnan(outcome.probabilities[0]).all()
    assert math.isnan(outcome.loss)
    assert outcome.n_correct == 1


def test_confusion_matrix_counts_true_classes_by_row():
    matrix = measures.confusion_matrix(OUTCOME)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_class_scores_by_hand():
    scores = measures.class_scores(measures.confusion_matrix(OUTCOME))
    assert scores[0] == measures.ClassScore(precision=1 / 2, recall=1 / 2, count=2)
    assert scores[1] == measures.ClassScore(precision=2 / 3, recall=1, count=2)
    assert math.isnan(scores[2].precision)
    assert scores[2].recall == 0
    assert math.isnan(scores[3].recall)
    assert scores[3].count == 0


def test_confusion_matrix_and_class_scores_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    labels, predicted = np.random.default_rng(0).integers(0, 7, (2, 300))
    matrix = measures.confusion_matrix(outcome_of(labels, np.eye(7)[predicted]))
    assert matrix.tolist() == metrics.confusion_matrix(labels, predicted).tolist()
    scores = measures.class_scores(matrix)
    precision, recall, _, count = metrics.precision_recall_fscore_support(labels, predicted)
    np.testing.assert_allclose([(score.precision, score.recall) for score in scores], np.transpose([precision, recall]))
    assert [score.count for score in scores] == count.tolist()


def test_most_confident_errors_are_sorted_by_confidence():
    probabilities = np.array([[0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    outcome = outcome_of(np.array([0, 0, 1, 1, 0]), probabilities)
    mistakes = measures.most_confident_errors(outcome)
    assert [mistake.index for mistake in mistakes] == [1, 4, 0, 3]
    assert mistakes[0] == measures.Misclassification(
        1, true=0, predicted=1, true_probability=0.1, predicted_probability=0.9
    )
    assert len(measures.most_confident_errors(outcome, max_count=2)) == 2


def test_most_confident_errors_may_be_none():
    assert measures.most_confident_errors(outcome_of(np.array([0, 1]), np.eye(2))) == []


def test_sample_indices_take_each_class_in_turn():
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


def test_most_variable_channels_are_in_order():
    maps = np.zeros((4, 2, 2))
    maps[1, 0, 0], maps[3, 0, 0], maps[2] = 1, 5, 100  # channel 2 is bright, but the same everywhere
    assert measures.most_variable_channels(maps, max_count=2) == [1, 3]


@pytest.mark.parametrize("at_once", [2, 100])
def test_network_outcome_is_the_softmax_of_the_logits_in_any_number_of_parts(monkeypatch, at_once):
    monkeypatch.setattr("glassnet.measures.outcomes._NORMALIZED_AT_ONCE", at_once)
    network, normalization = gn.build("tiny", dtype="float64"), Normalization(16.0, (0.1,), (0.5,))
    images = np.random.default_rng(0).integers(0, 17, (5, 8, 8, 1)).astype(np.uint8)
    logits = network.logits(normalization.apply(images, np.float64))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = measures.network_outcome(network, normalization, Split(images, np.arange(5)))
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-12)


def test_outcome_agrees_with_evaluate(trained, digits_data):
    outcome, evaluation = measures.outcome(trained, digits_data.test), trained.evaluate(digits_data)
    assert (outcome.accuracy, len(outcome.labels)) == (evaluation["accuracy"], evaluation["count"])
    assert outcome.loss == pytest.approx(evaluation["loss"], rel=1e-6)
    assert measures.outcome(trained, digits_data.test, scale=1.0).loss != outcome.loss


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
