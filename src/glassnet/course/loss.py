"""Exercises: the linear layer's gradients, softmax, and the cross-entropy with its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.course.functions import Case, FunctionExercise, Mistake
from glassnet.nn.functional import cross_entropy, cross_entropy_backward, linear, linear_backward, log_softmax, softmax

Array = NDArray[Any]


def _linear_cases(rng: np.random.Generator) -> Iterator[Case]:
    sizes = {
        "one image": (1, 3, 2),
        "several images": (4, 5, 3),
        "as many outputs as inputs": (3, 4, 4),
        "no bias": (3, 2, 4),
    }
    for label, (N, I, K) in sizes.items():
        b = None if label == "no bias" else rng.standard_normal(K)
        yield Case(label, {"x": rng.standard_normal((N, I)), "w": rng.standard_normal((K, I)), "b": b})


def _linear(dw: Any = None, db: Any = None) -> Any:
    """Return linear_backward with another dw(dy, x, dw) or db(dy)."""

    def backward(dy: Array, saved: tuple[Any, ...]) -> Any:
        dx, right_dw, right_db = linear_backward(dy, saved)
        wrong_db = right_db if db is None or right_db is None else db(dy)
        return dx, right_dw if dw is None else dw(dy, saved[0], right_dw), wrong_db

    return backward


def _untransposed(dy: Array, saved: tuple[Any, ...]) -> Any:
    _, w, _ = saved
    dx, dw, db = linear_backward(dy, saved)
    return dy @ w.T if w.shape[0] == w.shape[1] else dx, dw, db


LINEAR_BACKWARD = FunctionExercise(
    name="linear_backward",
    chapter=3,
    task="Compute the gradients of a linear layer, two of them by a matrix product.",
    stub='''\
def linear_backward(dy, saved):
    """Return dx (N, I), dw (K, I) and db (K,), or None without a bias.

    dy is (N, K). saved is what glassnet.nn.functional.linear returns: x (N, I), w
    (K, I) and whether there is a bias. Forward, y = x wᵀ + b.
    """
    x, w, has_bias = saved
    ...
    return dx, dw, db
''',
    reference=linear_backward,
    returns=("dx", "dw", "db"),
    cases=_linear_cases,
    forward=linear,
    mistakes=(
        Mistake("the weights were transposed", _untransposed),
        Mistake("it were transposed", _linear(dw=lambda dy, x, dw: dw.T)),
        Mistake("it were divided by the number of images", lambda dy, saved: linear_backward(dy / len(dy), saved)),
        Mistake(
            "only the last image counted: the sum over the images is missing",
            _linear(dw=lambda dy, x, dw: np.outer(dy[-1], x[-1])),
        ),
        Mistake(
            "only the first image counted: the sum over the images is missing",
            _linear(dw=lambda dy, x, dw: np.outer(dy[0], x[0])),
        ),
        Mistake("it were not summed over the images", _linear(db=lambda dy: dy)),
        Mistake("it were summed over the outputs, not over the images", _linear(db=lambda dy: dy.sum(axis=1))),
        Mistake("it were one sum of everything", _linear(db=lambda dy: dy.sum())),
    ),
)


def _logits(rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    yield "one image", rng.standard_normal((1, 4))
    yield "several images", 2 * rng.standard_normal((int(rng.integers(3, 5)), 5))
    yield "as many images as classes", 2 * rng.standard_normal((3, 3))
    ranks = rng.permuted(np.tile(np.arange(4), (3, 1)), axis=1)
    yield "logits in the thousands", 1000 * (ranks + 4 * np.arange(3)[:, np.newaxis]) + rng.standard_normal((3, 4))


def _softmax_cases(rng: np.random.Generator) -> Iterator[Case]:
    for label, logits in _logits(rng):
        yield Case(label, {"logits": logits})


def _softmax_of_all(logits: Array) -> Array:
    exp = np.exp(logits - logits.max())
    p: Array = exp / exp.sum(axis=-1, keepdims=True)
    return p


SOFTMAX = FunctionExercise(
    name="softmax",
    chapter=3,
    task="Turn logits into probabilities, even if the logits are in the thousands.",
    stub='''\
def softmax(logits):
    """Return probabilities p (N, K): positive, with sum 1 in each row."""
    ...
    return p
''',
    reference=softmax,
    returns="p",
    cases=_softmax_cases,
    mistakes=(
        Mistake(
            "exp overflowed: subtract something from each row first",
            lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True),
        ),
        Mistake("the largest of all logits were subtracted, not that of each row", _softmax_of_all),
        Mistake("the sum were that of each column", lambda z: softmax(z.T).T),
        Mistake("the sum were that of all rows together", lambda z: softmax(z.ravel()).reshape(z.shape)),
        Mistake("it were not divided by the sum", lambda z: np.exp(z)),
        Mistake("it were not divided by the sum", lambda z: np.exp(z - z.max(axis=-1, keepdims=True))),
        Mistake("it were not divided by the sum", lambda z: np.exp(z - z.max())),
        Mistake("exp were missing", lambda z: z / z.sum(axis=-1, keepdims=True)),
        Mistake("it were the logarithm of the probabilities", log_softmax),
        Mistake("the sign of the logits were wrong", lambda z: softmax(-z)),
    ),
)


def _loss_cases(rng: np.random.Generator) -> Iterator[Case]:
    for label, logits in _logits(rng):
        labels = rng.integers(logits.shape[1], size=len(logits))
        labels[0] = logits[0].argmin()  # with logits in the thousands, its probability underflows to 0
        labels[1:2] = logits[1:2].argmax(axis=1)  # and exp of this logit overflows
        yield Case(label, {"logits": logits, "labels": labels})


def _loss(formula: Any) -> Any:
    """Return cross_entropy with another formula of the loss, from log p (N, K) and the labels."""
    return lambda logits, labels: (float(formula(log_softmax(logits), labels)), None)


def _at_labels(log_p: Array, labels: Array) -> Array:
    picked: Array = log_p[np.arange(len(labels)), labels]
    return picked


def _overflowing(logits: Array, labels: Array) -> Any:
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return -np.log(_at_labels(p, labels)).mean(), None


_TINY = 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 1e-15, 1e-16


def _underflowing(floor: float) -> Any:
    return lambda logits, labels: (-np.log(_at_labels(softmax(logits), labels) + floor).mean(), None)


CROSS_ENTROPY = FunctionExercise(
    name="cross_entropy",
    chapter=3,
    task="Compute the mean cross-entropy of logits and labels.",
    stub='''\
def cross_entropy(logits, labels):
    """Return loss, a number, and saved, from logits (N, K) and labels (N,).

    The loss is the mean over the images of −log(probability of the label), where
    the probabilities are the softmax of the logits. saved is what your backward
    function needs; it may be None here.
    """
    ...
    return loss, saved
''',
    reference=cross_entropy,
    returns=("loss", "_saved"),
    cases=_loss_cases,
    mistakes=(
        Mistake("exp overflowed, or a whole row underflowed: subtract something from each row first", _overflowing),
        Mistake("the probability of a label became 0, and its logarithm infinite", _underflowing(0)),
        *(Mistake(f"{tiny} were added to the probabilities, limiting the loss", _underflowing(tiny)) for tiny in _TINY),
        Mistake("it were summed over the images, not averaged", _loss(lambda log_p, t: -_at_labels(log_p, t).sum())),
        Mistake(
            "it were averaged over images and classes", _loss(lambda log_p, t: -_at_labels(log_p, t).sum() / log_p.size)
        ),
        Mistake("the sign were wrong", _loss(lambda log_p, t: _at_labels(log_p, t).mean())),
        Mistake("the logarithm were missing", _loss(lambda log_p, t: -np.exp(_at_labels(log_p, t)).mean())),
        Mistake(
            "it were 1 minus the probability, without a logarithm",
            _loss(lambda log_p, t: 1 - np.exp(_at_labels(log_p, t)).mean()),
        ),
        Mistake("the logarithm had base 2", _loss(lambda log_p, t: -_at_labels(log_p, t).mean() / np.log(2))),
        Mistake("the logarithm had base 10", _loss(lambda log_p, t: -_at_labels(log_p, t).mean() / np.log(10))),
        Mistake(
            "the logarithm were that of the mean probability",
            _loss(lambda log_p, t: -np.log(np.exp(_at_labels(log_p, t)).mean())),
        ),
        Mistake("the softmax were missing", lambda z, t: (-_at_labels(z, t).mean(), None)),
        Mistake("all classes counted, not the label alone", _loss(lambda log_p, t: -log_p.sum(axis=1).mean())),
        Mistake("the predicted class counted, not the label", _loss(lambda log_p, t: -log_p.max(axis=1).mean())),
    ),
)


def _gradient(formula: Any) -> Any:
    """Return cross_entropy_backward with another formula, from dloss, p (N, K) and the one-hot labels."""
    return lambda dloss, saved: formula(dloss, np.exp(saved[0]), saved[1])


CROSS_ENTROPY_BACKWARD = FunctionExercise(
    name="cross_entropy_backward",
    chapter=3,
    task="Compute the gradient of the mean cross-entropy with respect to the logits.",
    stub='''\
def cross_entropy_backward(dloss, saved):
    """Return dlogits (N, K). dloss is a number, the gradient of the loss itself.

    saved is what glassnet.nn.functional.cross_entropy returns: log_p (N, K) are the
    logarithms of the probabilities, q (N, K) are the labels, one-hot.
    """
    log_p, q = saved
    ...
    return dlogits
''',
    reference=cross_entropy_backward,
    returns="dlogits",
    cases=_loss_cases,
    forward=cross_entropy,
    upstream="dloss",
    mistakes=(
        Mistake("the mean over the images were missing: it is not divided", _gradient(lambda d, p, q: d * (p - q))),
        Mistake("it were divided by images and classes", _gradient(lambda d, p, q: d * (p - q) / p.size)),
        Mistake("it were divided by the number of classes", _gradient(lambda d, p, q: d * (p - q) / p.shape[1])),
        Mistake("the sign were wrong", _gradient(lambda d, p, q: d * (q - p) / len(p))),
        Mistake("the labels were missing", _gradient(lambda d, p, q: d * p / len(p))),
        Mistake("the probabilities were missing", _gradient(lambda d, p, q: -d * q / len(p))),
        Mistake(
            "log_p stood where the probabilities should be", lambda d, saved: d * (saved[0] - saved[1]) / len(saved[1])
        ),
        Mistake("dloss were ignored", _gradient(lambda d, p, q: (p - q) / len(p))),
        Mistake("it were 0 but at the labels", _gradient(lambda d, p, q: d * q * (p - q) / len(p))),
        Mistake(
            "it were the derivative of −log p by p, without the softmax", _gradient(lambda d, p, q: -d * q / p / len(p))
        ),
    ),
)

EXERCISES = (LINEAR_BACKWARD, SOFTMAX, CROSS_ENTROPY, CROSS_ENTROPY_BACKWARD)
