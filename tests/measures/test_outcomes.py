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
