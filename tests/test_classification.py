import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from glassnet import classification
from glassnet.classification import ClassScore, Confusion, Misclassification, Outcome
from glassnet.nn.functional import cross_entropy
from tests.outcomes import outcome_of

LABELS = np.array([0, 0, 1, 1, 2])
PREDICTED = np.array([0, 1, 1, 1, 0])
OUTCOME = outcome_of(LABELS, np.eye(4)[PREDICTED])


def drawn_outcome(seed=0, count=300, classes=7):
    """The labels, logits without ties, and outcome of a network that is right about half of the time."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes)) + 2 * np.eye(classes)[labels]
    return labels, logits, Outcome.from_logits(labels, logits)


def test_outcome_by_hand():
    logits = np.log(np.array([[0.5, 0.3, 0.2], [0.6, 0.3, 0.1]], np.float32))
    outcome = Outcome.from_logits(np.array([0, 2]), logits)
    assert outcome.predicted.tolist() == [0, 0]
    assert outcome.correct.tolist() == [True, False]
    np.testing.assert_allclose(outcome.confidence, [0.5, 0.6], rtol=1e-6)
    np.testing.assert_allclose(outcome.label_probability, [0.5, 0.1], rtol=1e-6)
    assert outcome.label_rank.tolist() == [0, 2]
    assert (outcome.n_correct, outcome.accuracy, outcome.count, outcome.n_classes) == (1, 0.5, 2, 3)
    assert outcome.loss == pytest.approx(-(math.log(0.5) + math.log(0.1)) / 2, rel=1e-6)
    assert repr(outcome) == f"Outcome(loss={outcome.loss}, accuracy=0.5, count=2)"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_outcome_loss_is_the_cross_entropy_to_the_bit(dtype):
    labels, logits, _ = drawn_outcome(count=1000)
    assert Outcome.from_logits(labels, logits.astype(dtype)).loss == cross_entropy(logits.astype(dtype), labels)[0]


def test_outcome_takes_the_first_of_equal_logits():
    outcome = Outcome.from_logits(np.array([2, 1, 0]), np.array([[1.0, 3.0, 3.0]] * 3))
    assert outcome.predicted.tolist() == [1, 1, 1]
    assert outcome.label_rank.tolist() == [1, 0, 2]


def test_outcome_keeps_a_finite_loss_where_a_probability_underflows():
    outcome = Outcome.from_logits(np.array([0]), np.array([[0.0, 2000.0]]))
    assert outcome.label_probability[0] == 0
    assert outcome.loss == 2000


def test_outcome_of_a_diverged_network_is_nan():
    logits = np.array([[np.inf, 0.0, 0.0], [0.0, 1.0, 0.0], [np.nan] * 3, [np.nan] * 3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcome = Outcome.from_logits(np.array([1, 1, 1, 0]), logits)
    assert np.isnan(outcome.confidence).tolist() == [True, False, True, True]
    assert math.isnan(outcome.loss)
    assert outcome.n_correct == 2  # the first class is predicted in place of NaN
    assert classification.top_k_accuracy(outcome, 1) == outcome.accuracy
    assert classification.top_k_accuracy(outcome, 2) == 0.75  # nothing is known of the third
    assert classification.calibration_error(outcome) is None
    assert [error.index for error in classification.most_confident_errors(outcome)] == [0, 2]


def test_join_is_the_outcome_of_all_images():
    labels, logits, outcome = drawn_outcome()
    cuts = (0, 100, 101, 300)
    parts = [Outcome.from_logits(labels[a:b], logits[a:b]) for a, b in pairwise(cuts)]
    joined = Outcome.join(parts)
    for name in ("labels", "predicted", "confidence", "label_probability", "label_rank", "losses"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(outcome, name), err_msg=name)
    assert (joined.n_classes, joined.loss) == (7, outcome.loss)


def test_confusion_matrix_counts_true_classes_by_row():
    matrix = classification.confusion_matrix(OUTCOME)
    assert matrix.tolist() == [[1, 1, 0, 0], [0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]


def test_class_scores_by_hand():
    scores = classification.class_scores(OUTCOME)
    assert scores == [ClassScore(2, 2, 1), ClassScore(2, 3, 2), ClassScore(1, 0, 0), ClassScore(0, 0, 0)]
    assert [score.precision for score in scores] == [1 / 2, 2 / 3, None, None]
    assert [score.recall for score in scores] == [1 / 2, 1, 0, None]


def test_scores_are_scikit_learns():
    metrics = pytest.importorskip("sklearn.metrics")
    labels, logits, outcome = drawn_outcome()
    assert (
        classification.confusion_matrix(outcome).tolist()
        == metrics.confusion_matrix(labels, outcome.predicted).tolist()
    )
    scores = classification.class_scores(outcome)
    precision, recall, _, count = metrics.precision_recall_fscore_support(labels, outcome.predicted)
    np.testing.assert_allclose([(score.precision, score.recall) for score in scores], np.transpose([precision, recall]))
    assert [score.count for score in scores] == count.tolist()
    assert classification.balanced_accuracy(scores) == pytest.approx(
        metrics.balanced_accuracy_score(labels, outcome.predicted), rel=1e-12
    )
    for k in (1, 2, 3, 5):
        expected = metrics.top_k_accuracy_score(labels, logits, k=k)
        assert classification.top_k_accuracy(outcome, k) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bins", [15, 4])
def test_calibration_error_is_that_of_scikit_learns_curve(bins):
    calibration = pytest.importorskip("sklearn.calibration")
    _, _, outcome = drawn_outcome(count=500)
    accuracy, confidence = calibration.calibration_curve(outcome.correct, outcome.confidence, n_bins=bins)
    counts = np.histogram(outcome.confidence, np.linspace(0, 1, bins + 1))[0]
    expected = (counts[counts > 0] * np.abs(accuracy - confidence)).sum() / 500
    assert classification.calibration_error(outcome, bins) == pytest.approx(expected, rel=1e-9)


def test_calibration_error_by_hand():
    # one bin holds two images of confidence 0.9, one of them correct; the other one of 0.6, correct
    outcome = outcome_of(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.1, 0.9], [0.4, 0.6]]))
    assert classification.calibration_error(outcome) == pytest.approx((2 * abs(0.5 - 0.9) + abs(1 - 0.6)) / 3)
    assert classification.calibration_error(outcome_of([0], np.eye(2)[:1])) == 0  # a confidence of 1 has a bin


@given(
    hypothesis_numpy.arrays(
        np.float32, st.tuples(st.integers(1, 12), st.integers(2, 6)), elements=st.floats(-9, 9, width=32)
    ),
    st.data(),
)
@settings(max_examples=60, deadline=None)
def test_numbers_agree_with_each_other(logits, data):
    count, classes = logits.shape
    labels = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=count, max_size=count)))
    outcome = Outcome.from_logits(labels, logits)
    matrix, scores = classification.confusion_matrix(outcome), classification.class_scores(outcome)
    assert [score.count for score in scores] == matrix.sum(axis=1).tolist()
    assert [score.predicted for score in scores] == matrix.sum(axis=0).tolist()
    assert [score.correct for score in scores] == matrix.diagonal().tolist()
    pairs = classification.confusions(outcome, 36)
    assert sum(pair.count for pair in pairs) == count - outcome.n_correct
    assert all(pair.count == matrix[pair.true, pair.predicted] > 0 for pair in pairs)
    accuracies = [classification.top_k_accuracy(outcome, k) for k in range(1, classes + 1)]
    assert accuracies == sorted(accuracies)
    assert (accuracies[0], accuracies[-1]) == (outcome.accuracy, 1.0)
    assert (outcome.label_probability <= outcome.confidence).all()
    assert 0 <= classification.calibration_error(outcome) <= 1
    low, high = classification.accuracy_interval(outcome.n_correct, count)
    assert 0 <= low <= outcome.accuracy <= high <= 1


def test_worst_classes_are_those_of_lowest_recall_with_errors():
    scores = [ClassScore(4, 2, 2), ClassScore(9, 9, 9), ClassScore(0, 3, 0), ClassScore(4, 4, 2), ClassScore(2, 0, 0)]
    assert classification.worst_classes(scores, 9) == [4, 3, 0]
    small, large = ClassScore(2, 4, 1), ClassScore(8, 5, 4)  # of equal recall, and the small one of lower precision
    assert classification.worst_classes([small, large], 9) == [1, 0]
    assert classification.worst_classes(scores, 1) == [4]
    assert classification.worst_classes([ClassScore(3, 3, 3)], 9) == []


def test_confusions_are_sorted_by_their_count_then_by_their_fraction():
    labels, predicted = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2, 3]), np.array([1, 1, 2, 0, 0, 1, 0, 0, 2, 0])
    found = classification.confusions(outcome_of(labels, np.eye(4)[predicted]))
    assert found == [
        Confusion(2, 0, 2, 2 / 3),
        Confusion(0, 1, 2, 0.5),
        Confusion(3, 0, 1, 1.0),
        Confusion(1, 0, 1, 0.5),
        Confusion(0, 2, 1, 0.25),
    ]
    assert classification.confusions(outcome_of(labels, np.eye(4)[predicted]), 1) == found[:1]
    assert classification.confusions(outcome_of(labels, np.eye(4)[labels])) == []


def test_most_confident_errors_are_sorted_by_confidence():
    probabilities = np.array([[0.4, 0.6], [0.1, 0.9], [0.2, 0.8], [0.6, 0.4], [0.1, 0.9]])
    outcome = outcome_of(np.array([0, 0, 1, 1, 0]), probabilities)
    errors = classification.most_confident_errors(outcome)
    assert [error.index for error in errors] == [1, 4, 0, 3]
    assert errors[0] == Misclassification(
        1, true=0, predicted=1, true_probability=pytest.approx(0.1), predicted_probability=pytest.approx(0.9)
    )
    assert len(classification.most_confident_errors(outcome, max_count=2)) == 2
    assert classification.most_confident_errors(outcome_of(np.array([0, 1]), np.eye(2))) == []


@pytest.mark.parametrize(("n_correct", "count"), [(0, 1), (1, 1), (0, 37), (36, 37), (37, 37), (412, 450)])
def test_accuracy_interval_is_scipys(n_correct, count):
    stats = pytest.importorskip("scipy.stats")
    expected = stats.binomtest(n_correct, count).proportion_ci(method="wilson")
    low, high = classification.accuracy_interval(n_correct, count)
    assert (low, high) == pytest.approx(tuple(expected), rel=1e-12)
    assert (low == 0, high == 1) == (n_correct == 0, n_correct == count)  # exactly


@pytest.mark.parametrize(("right", "count"), [(9, 10), (437, 450), (1, 3)])
def test_accuracy_interval_is_wilsons(right, count):
    for end in classification.accuracy_interval(right, count):
        assert abs(right / count - end) == pytest.approx(1.959963985 * math.sqrt(end * (1 - end) / count))


def test_evaluation_numbers_by_hand():
    numbers = classification.evaluation_numbers(OUTCOME, ["a", "b", "c", "d"])
    low, high = numbers.pop("accuracy_interval")
    assert low < 0.6 < high
    assert numbers == {
        "loss": math.inf,
        "accuracy": 0.6,
        "count": 5,
        "balanced_accuracy": 0.5,
        "top_k_accuracy": {"2": 0.8},
        "calibration_error": pytest.approx(0.4),
        "calibration_bins": 15,
        "classes": [
            {"class": "a", "precision": 0.5, "recall": 0.5, "count": 2, "predicted": 2, "correct": 1},
            {"class": "b", "precision": 2 / 3, "recall": 1.0, "count": 2, "predicted": 3, "correct": 2},
            {"class": "c", "precision": None, "recall": 0.0, "count": 1, "predicted": 0, "correct": 0},
            {"class": "d", "precision": None, "recall": None, "count": 0, "predicted": 0, "correct": 0},
        ],
        "confusions": [
            {"true": "c", "predicted": "a", "count": 1, "fraction": 1.0},
            {"true": "a", "predicted": "b", "count": 1, "fraction": 0.5},
        ],
    }


@pytest.mark.parametrize(("classes", "expected"), [(2, []), (4, ["2"]), (6, ["2", "3"]), (10, ["2", "3", "5"])])
def test_evaluation_numbers_have_a_top_k_accuracy_for_at_most_half_of_the_classes(classes, expected):
    _, _, outcome = drawn_outcome(classes=classes)
    numbers = classification.evaluation_numbers(outcome, [*map(str, range(classes))])
    assert list(numbers["top_k_accuracy"]) == expected
