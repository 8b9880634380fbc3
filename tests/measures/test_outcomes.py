import numpy as np
import pytest

import glassnet as gn
from glassnet import measures
from glassnet.data import Normalization, Split


def test_sample_indices_take_each_class_in_turn():
    labels = np.array([2, 2, 2, 0, 0, 1, 2])
    assert [labels[index] for index in measures.sample_indices(labels, 5)] == [0, 1, 2, 0, 2]
    assert sorted(measures.sample_indices(labels)) == list(range(7))


@pytest.mark.parametrize("at_once", [2, 100])
def test_network_outcome_is_the_softmax_of_the_logits_in_any_number_of_parts(monkeypatch, at_once):
    monkeypatch.setattr("glassnet.engines.base.EVAL_BATCH_SIZE", at_once)
    network, normalization = gn.build("tiny", dtype="float64"), Normalization(16.0, (0.1,), (0.5,))
    images = np.random.default_rng(0).integers(0, 17, (5, 8, 8, 1)).astype(np.uint8)
    logits = network.logits(normalization.apply(images, np.float64))
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    outcome = measures.network_outcome(network, normalization, Split(images, np.arange(5)))
    np.testing.assert_allclose(outcome.confidence, expected.max(axis=1), rtol=1e-12)
    np.testing.assert_allclose(outcome.label_probability, expected[np.arange(5), np.arange(5)], rtol=1e-12)


def test_outcome_agrees_with_evaluate(trained, digits_data):
    outcome, evaluation = measures.outcome(trained, digits_data.test), trained.evaluate(digits_data)
    assert (outcome.loss, outcome.accuracy, outcome.count) == tuple(
        evaluation[key] for key in ("loss", "accuracy", "count")
    )
    assert measures.outcome(trained, digits_data.test, scale=1.0).loss != outcome.loss
