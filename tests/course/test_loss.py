"""Tests of the exercises about the linear layer, softmax and the loss, with answers as learners write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glassnet.course import check

Wrong = dict[str, tuple[Callable[..., Any], str]]

seeds = st.integers(0, 2**32 - 1)
many_seeds = settings(max_examples=10, deadline=None)


def linear_backward(dy, saved):  # type: ignore[no-untyped-def]
    x, w, has_bias = saved
    dw = np.zeros_like(w)
    for n in range(len(x)):
        dw += np.outer(dy[n], x[n])
    return dy @ w, dw, dy.sum(axis=0) if has_bias else None


def softmax(logits):  # type: ignore[no-untyped-def]
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy(logits, labels):  # type: ignore[no-untyped-def]
    loss = 0.0
    for row, label in zip(logits, labels, strict=True):
        shifted = row - row.max()
        loss += np.log(np.exp(shifted).sum()) - shifted[label]
    return loss / len(labels), None


def cross_entropy_backward(dloss, saved):  # type: ignore[no-untyped-def]
    log_p, q = saved
    return (np.exp(log_p) - q) * (dloss / len(q))


@given(seeds)
@many_seeds
def test_linear_backward_passes(seed: int) -> None:
    assert check("linear_backward", linear_backward, seed=seed)


@given(seeds)
@many_seeds
def test_softmax_passes(seed: int) -> None:
    assert check("softmax", softmax, seed=seed)


@given(seeds)
@many_seeds
def test_cross_entropy_passes(seed: int) -> None:
    assert check("cross_entropy", cross_entropy, seed=seed)


@given(seeds)
@many_seeds
def test_cross_entropy_backward_passes(seed: int) -> None:
    assert check("cross_entropy_backward", cross_entropy_backward, seed=seed)


LINEAR_BACKWARD: Wrong = {
    "transposed dw": (
        lambda dy, saved: (dy @ saved[1], saved[0].T @ dy, linear_backward(dy, saved)[2]),
        "dw looks as if it were transposed.",
    ),
    "mean": (
        lambda dy, saved: (dy @ saved[1], dy.T @ saved[0] / len(dy), linear_backward(dy, saved)[2]),
        "dw looks as if it were divided by the number of images.",
    ),
    "transposed w": (
        lambda dy, saved: (dy @ saved[1].T, *linear_backward(dy, saved)[1:]),
        "ValueError: matmul: Input operand 1 has a mismatch",
    ),
    "db of each image": (
        lambda dy, saved: (*linear_backward(dy, saved)[:2], dy if saved[2] else None),
        "db looks as if it were not summed over the images.",
    ),
    "last image": (
        lambda dy, saved: (dy @ saved[1], np.outer(dy[-1], saved[0][-1]), linear_backward(dy, saved)[2]),
        "dw looks as if only the last image counted",
    ),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", LINEAR_BACKWARD)
def test_linear_backward_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = LINEAR_BACKWARD[name]
    feedback = check("linear_backward", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint


SOFTMAX: Wrong = {
    "overflow": (
        lambda z: np.exp(z) / np.exp(z).sum(axis=1, keepdims=True),
        "p looks as if exp overflowed: subtract something from each row first.\nWrong in 1 of 4 cases",
    ),
    "columns": (lambda z: softmax(z.T).T, "p looks as if the sum were that of each column."),
    "one sum": (lambda z: np.exp(z - z.max()) / np.exp(z - z.max()).sum(), "the sum were that of all rows together"),
    "no sum": (lambda z: np.exp(z - z.max(axis=1, keepdims=True)), "p looks as if it were not divided by the sum."),
    "log": (lambda z: np.log(softmax(z)), "p looks as if it were the logarithm of the"),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = SOFTMAX[name]
    feedback = check("softmax", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint


def of_labels(z, labels):  # type: ignore[no-untyped-def]
    return softmax(z)[np.arange(len(labels)), labels]


def naive(z, labels):  # type: ignore[no-untyped-def]
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(len(labels)), labels]).mean()


@pytest.mark.parametrize("seed", range(20))
def test_loss_cases_overflow_and_underflow_whatever_the_seed(seed: int) -> None:
    assert "exp overflowed" in check("softmax", lambda z: np.exp(z) / np.exp(z).sum(axis=1)[:, None], seed=seed).hint
    assert "exp overflowed, or" in check("cross_entropy", lambda z, t: (naive(z, t), None), seed=seed).hint
    hint = check("cross_entropy", lambda z, t: (-np.log(of_labels(z, t)).mean(), None), seed=seed).hint
    assert "the probability of a label became 0, and its logarithm infinite" in hint


CROSS_ENTROPY: Wrong = {
    "sum": (
        lambda z, t: (cross_entropy(z, t)[0] * len(t), None),
        "loss looks as if it were summed over the images, not",
    ),
    "sign": (lambda z, t: (-cross_entropy(z, t)[0], None), "loss looks as if the sign were wrong."),
    "base 2": (lambda z, t: (cross_entropy(z, t)[0] / np.log(2), None), "loss looks as if the logarithm had base 2."),
    "overflow": (lambda z, t: (naive(z, t), None), "exp overflowed, or a whole row underflowed: subtract"),
    "tiny number": (
        lambda z, t: (-np.log(of_labels(z, t) + 1e-12).mean(), None),
        "loss looks as if 1e-12 were added to the probabilities, limiting the loss.",
    ),
    "no softmax": (lambda z, t: (-z[np.arange(len(t)), t].mean(), None), "loss looks as if the softmax were missing."),
    "of each image": (
        lambda z, t: (-np.log(of_labels(z, t)), None),
        "loss must have shape (). Got (1,), with the right v",
    ),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CROSS_ENTROPY)
def test_cross_entropy_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = CROSS_ENTROPY[name]
    feedback = check("cross_entropy", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint


CROSS_ENTROPY_BACKWARD: Wrong = {
    "not divided": (
        lambda dloss, saved: dloss * (np.exp(saved[0]) - saved[1]),
        "the mean over the images were missing",
    ),
    "sign": (lambda dloss, saved: -cross_entropy_backward(dloss, saved), "dlogits looks as if the sign were wrong."),
    "no labels": (
        lambda dloss, saved: dloss * np.exp(saved[0]) / len(saved[0]),
        "dlogits looks as if the labels were miss",
    ),
    "logarithm": (
        lambda dloss, saved: dloss * (saved[0] - saved[1]) / len(saved[0]),
        "log_p stood where the probabilities",
    ),
    "no dloss": (lambda dloss, saved: cross_entropy_backward(1, saved), "dlogits looks as if dloss were ignored."),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", CROSS_ENTROPY_BACKWARD)
def test_cross_entropy_backward_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = CROSS_ENTROPY_BACKWARD[name]
    feedback = check("cross_entropy_backward", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint
