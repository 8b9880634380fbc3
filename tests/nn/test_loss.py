import re
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassnet import nn
from glassnet.errors import ConfigError, GlassnetError, ShapeError
from glassnet.nn.functional import log_softmax, softmax
from tests.nn.oracle import FLOATS, TOLERANCE, Array, compare, examples, tensor


def against_torch(logits: Array, labels: Array, label_smoothing: float, weight: Array | None = None) -> None:
    ours = nn.CrossEntropyLoss(label_smoothing, weight)
    theirs = torch.nn.CrossEntropyLoss(
        None if weight is None else tensor(weight.astype(logits.dtype)), label_smoothing=label_smoothing
    )
    given = tensor(logits).requires_grad_()
    expected = theirs(given, tensor(labels))
    expected.backward()
    loss = ours(logits, labels)
    assert type(loss) is float
    tolerance = TOLERANCE[logits.dtype]
    assert loss == pytest.approx(expected.item(), rel=tolerance, abs=tolerance)
    assert given.grad is not None
    compare("gradient of the logits", ours.backward(), given.grad)


@examples
@given(
    st.integers(1, 6),
    st.integers(1, 7),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    st.sampled_from(FLOATS),
    st.sampled_from([np.int64, np.int32, np.uint8]),
)
def test_cross_entropy_is_torchs(count: int, classes: int, label_smoothing: float, dtype: type, integer: type) -> None:
    rng = np.random.default_rng(count)
    logits = 3 * rng.standard_normal((count, classes)).astype(dtype)
    labels = rng.integers(classes, size=count)
    against_torch(logits, labels, label_smoothing)
    assert nn.CrossEntropyLoss()(logits, labels.astype(integer)) == nn.CrossEntropyLoss()(logits, labels)


@examples
@given(
    st.integers(1, 6), st.integers(2, 7), st.sampled_from([0.0, 0.1, 0.5, 1.0]), st.sampled_from(FLOATS), st.booleans()
)
def test_cross_entropy_with_weights_is_torchs(
    count: int, classes: int, label_smoothing: float, dtype: type, has_zero: bool
) -> None:
    rng = np.random.default_rng(count)
    logits, labels = 3 * rng.standard_normal((count, classes)).astype(dtype), rng.integers(classes, size=count)
    weight = rng.uniform(0.1, 3, classes)
    if has_zero:  # of a class that no image has
        labels[labels == classes - 1] = 0
        weight[-1] = 0
    against_torch(logits, labels, label_smoothing, weight)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_cross_entropy_of_large_logits_is_exact(dtype: type, label_smoothing: float) -> None:
    logits = np.array([[1e4, -1e4, 0], [-1e4, 1e4, 1e4], [1e4, 1e4, 1e4]], dtype)
    against_torch(logits, np.array([1, 0, 2]), label_smoothing)
    against_torch(logits, np.array([1, 0, 2]), label_smoothing, np.array([2.0, 0.5, 1.0]))


def test_cross_entropy_of_a_confident_error_is_exact() -> None:
    # log softmax = (0, −2·10⁴): no epsilon inside the logarithm cuts it off at 16 or 37.
    loss = nn.CrossEntropyLoss()
    assert loss(np.array([[1e4, -1e4]]), np.array([1])) == 2e4
    np.testing.assert_array_equal(loss.backward(), [[1, -1]])
    assert loss(np.array([[1e4, -1e4]]), np.array([0])) == 0


@pytest.mark.parametrize("dtype", FLOATS)
def test_cross_entropy_takes_an_infinite_logit(dtype: type) -> None:
    against_torch(np.array([[0, 1, -np.inf]], dtype), np.array([1]), 0.0)
    against_torch(np.array([[0, 1, -np.inf]], dtype), np.array([1]), 0.0, np.array([2.0, 0.5, 1.0]))


def test_cross_entropy_of_equal_logits_is_the_log_of_the_classes() -> None:
    assert nn.CrossEntropyLoss()(np.zeros((4, 10)), np.arange(4)) == pytest.approx(np.log(10))


def test_softmax_is_torchs_over_the_last_axis() -> None:
    logits = 100 * np.random.default_rng(0).standard_normal((3, 4, 5))
    compare("softmax", softmax(logits), torch.softmax(tensor(logits), dim=-1))
    compare("log softmax", log_softmax(logits), torch.log_softmax(tensor(logits), dim=-1))


def test_cross_entropy_leaves_its_arguments_unchanged() -> None:
    logits, labels = np.random.default_rng(0).standard_normal((4, 3)), np.array([0, 1, 2, 0])
    before = logits.copy()
    loss = nn.CrossEntropyLoss()
    loss(logits, labels)
    loss.backward()
    np.testing.assert_array_equal(logits, before)
    np.testing.assert_array_equal(labels, [0, 1, 2, 0])


def test_cross_entropy_backward_needs_forward_in_training_mode() -> None:
    loss = nn.CrossEntropyLoss()
    loss(np.zeros((1, 2)), np.array([0]))
    loss.backward()
    for mode in (True, False):
        loss.train(mode)
        if not mode:
            loss(np.zeros((1, 2)), np.array([0]))
        with pytest.raises(
            GlassnetError, match=re.escape("CrossEntropyLoss.backward needs a forward pass in training")
        ):
            loss.backward()


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ((3, 4), np.array([0, 4, 1]), "labels of CrossEntropyLoss must be from 0 to 3. Got 4."),
        ((3, 4), np.array([0, -1, 1]), "labels of CrossEntropyLoss must be from 0 to 3. Got -1."),
        ((3, 4), np.array([0, 1]), "labels of CrossEntropyLoss must be 3 integers. Got int64 of shape (2,)."),
        (
            (3, 4),
            np.array([[0], [1], [2]]),
            "labels of CrossEntropyLoss must be 3 integers. Got int64 of shape (3, 1)",
        ),
        ((3, 4), np.array([0.0, 1, 2]), "labels of CrossEntropyLoss must be 3 integers. Got float64 of shape (3,)."),
        (
            (0, 4),
            np.array([], np.int64),
            "logits of CrossEntropyLoss must have shape (N, K) with N and K at least 1. Got (0, 4).",
        ),
        (
            (3, 4, 5),
            np.array([0, 1, 2]),
            "logits of CrossEntropyLoss must have shape (N, K) with N and K at least 1. Got (3, 4, 5)",
        ),
    ],
)
def test_cross_entropy_refuses_logits_and_labels_that_do_not_fit(
    logits: tuple[int, ...], labels: Any, message: str
) -> None:
    with pytest.raises(ShapeError, match=re.escape(message)):
        nn.CrossEntropyLoss()(np.zeros(logits), labels)


def test_cross_entropy_refuses_a_label_smoothing_that_is_no_probability() -> None:
    with pytest.raises(ConfigError, match="label_smoothing of CrossEntropyLoss must be a number between 0 and 1"):
        nn.CrossEntropyLoss(-0.1)


@pytest.mark.parametrize("weight", [[1, -1], [1, np.nan], [np.inf, 1], [[1, 1]], 3, ["a", "b"]])
def test_cross_entropy_refuses_weights_that_are_none(weight: Any) -> None:
    with pytest.raises(ConfigError, match="weight of CrossEntropyLoss must be finite numbers of at least 0. Got "):
        nn.CrossEntropyLoss(weight=weight)


def test_cross_entropy_refuses_weights_of_other_classes() -> None:
    message = "weight of CrossEntropyLoss must have shape (3,), one for each class. Got (2,)."
    with pytest.raises(ShapeError, match=re.escape(message)):
        nn.CrossEntropyLoss(weight=[1, 2])(np.zeros((1, 3)), np.array([0]))
