"""Exercises: batch normalization, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glassnet.course.functions import Case, FunctionExercise, Mistake
from glassnet.nn.functional import as_nchw, batch_norm, batch_norm_backward

Array = NDArray[Any]


def _cases(rng: np.random.Generator) -> Iterator[Case]:
    shapes = {
        "one channel": (4, 1, 3, 4),
        "several channels": (int(rng.integers(2, 5)), 3, int(rng.integers(2, 4)), 4),
        "one image": (1, 2, 3, 5),
        "as many channels as columns": (3, 4, 2, 4),
        "a large mean": (3, 2, 4, 3),
    }
    for label, shape in shapes.items():
        C = shape[1]
        x = rng.standard_normal(shape) * rng.uniform(0.5, 2, (C, 1, 1)) + rng.standard_normal((C, 1, 1))
        x = x + 10 if label == "a large mean" else x
        gamma, beta = rng.uniform(0.5, 2, C) * rng.choice([-1, 1], C), rng.standard_normal(C)
        yield Case(label, {"x": x, "gamma": gamma, "beta": beta, "eps": 1e-5})
    inputs = {"x": rng.standard_normal((3, 2, 3, 4)), "gamma": rng.uniform(1, 2, 2), "beta": rng.standard_normal(2)}
    yield Case("a large eps", {**inputs, "eps": 0.3})


def _normalized(axes: tuple[int, ...], ddof: int = 0) -> Any:
    """Return batch_norm over other axes, or with another divisor of the variance."""

    def forward(x: Array, gamma: Array, beta: Array, eps: float) -> Any:
        mean = x.mean(axis=axes, keepdims=True)
        var = x.var(axis=axes, keepdims=True, ddof=ddof)
        y = as_nchw(gamma) * (x - mean) / np.sqrt(var + eps) + as_nchw(beta)
        return y, None, (mean.squeeze(axes), var.squeeze(axes))

    return forward


def _computed(formula: Any) -> Any:
    """Return batch_norm with another formula of y, from x, mean, variance, γ, β (1, C, 1, 1) and eps."""

    def forward(x: Array, gamma: Array, beta: Array, eps: float) -> Any:
        _, _, (mean, var) = batch_norm(x, gamma, beta, eps)
        return formula(x, as_nchw(mean), as_nchw(var), as_nchw(gamma), as_nchw(beta), eps), None, (mean, var)

    return forward


def _uncentered_variance(x: Array, gamma: Array, beta: Array, eps: float) -> Any:
    mean, var = x.mean(axis=(0, 2, 3)), (x**2).mean(axis=(0, 2, 3))
    return as_nchw(gamma) * (x - as_nchw(mean)) / as_nchw(np.sqrt(var + eps)) + as_nchw(beta), None, (mean, var)


def _standard_deviation(*arguments: Any) -> Any:
    y, saved, (mean, var) = batch_norm(*arguments)
    return y, saved, (mean, np.sqrt(var))


BATCH_NORM = FunctionExercise(
    name="batch_norm",
    chapter=6,
    task="Normalize each channel over the batch, then scale and shift it.",
    stub='''\
def batch_norm(x, gamma, beta, eps=1e-5):
    """Return y (N, C, H, W), saved and (mean, var), both (C,).

    x is (N, C, H, W), gamma and beta are (C,). Mean and variance are those of a
    channel, over all images and pixels of the batch. y = gamma · x̂ + beta, where
    each channel of x̂ has mean 0 and variance 1, up to eps. saved is what your
    backward function needs; it may be None here.
    """
    ...
    return y, saved, (mean, var)
''',
    reference=batch_norm,
    returns=("y", "_saved", ("mean", "var")),
    cases=_cases,
    mistakes=(
        Mistake("the variance were divided by M − 1, not by M", _normalized((0, 2, 3), ddof=1)),
        Mistake("mean and variance were those of each image and channel", _normalized((2, 3))),
        Mistake("mean and variance were those of each image", _normalized((1, 2, 3))),
        Mistake("mean and variance were those of the whole batch, not of each channel", _normalized((0, 1, 2, 3))),
        Mistake("mean and variance were those of each pixel over the images", _normalized((0,))),
        Mistake("the mean were not subtracted before squaring", _uncentered_variance),
        Mistake("it were the standard deviation, not the variance", _standard_deviation),
        Mistake("the mean were not subtracted", _computed(lambda x, m, v, g, b, e: g * x / np.sqrt(v + e) + b)),
        Mistake(
            "it were divided by the variance, not by its root",
            _computed(lambda x, m, v, g, b, e: g * (x - m) / (v + e) + b),
        ),
        Mistake(
            "eps were added outside of the root",
            _computed(lambda x, m, v, g, b, e: g * (x - m) / (np.sqrt(v) + e) + b),
        ),
        Mistake("eps were missing", _computed(lambda x, m, v, g, b, e: g * (x - m) / np.sqrt(v) + b)),
        Mistake("eps were always 1e-5", _computed(lambda x, m, v, g, b, e: g * (x - m) / np.sqrt(v + 1e-5) + b)),
        Mistake("gamma and beta were missing", _computed(lambda x, m, v, g, b, e: (x - m) / np.sqrt(v + e))),
        Mistake("gamma were missing", _computed(lambda x, m, v, g, b, e: (x - m) / np.sqrt(v + e) + b)),
        Mistake("beta were missing", _computed(lambda x, m, v, g, b, e: g * (x - m) / np.sqrt(v + e))),
        Mistake("gamma and beta were exchanged", lambda x, g, b, e: batch_norm(x, b, g, e)),
        Mistake(
            "beta were added before the scaling", _computed(lambda x, m, v, g, b, e: g * ((x - m) / np.sqrt(v + e) + b))
        ),
    ),
)


def _wrong_dx(formula: Any) -> Any:
    """Return batch_norm_backward with another formula of dx, from dy, x̂, γ, 1/std and the means of dy and dy·x̂."""

    def backward(dy: Array, saved: tuple[Any, ...]) -> Any:
        x_hat, gamma, inverse_std = saved
        _, dgamma, dbeta = batch_norm_backward(dy, saved)
        M = dy.size // dy.shape[1]
        dx = formula(dy, x_hat, as_nchw(gamma), as_nchw(inverse_std), as_nchw(dbeta / M), as_nchw(dgamma / M))
        return dx, dgamma, dbeta

    return backward


def _over(axes: tuple[int, ...], divide: Any) -> Any:
    """Return batch_norm_backward with dγ and dβ summed over other axes, or divided."""

    def backward(dy: Array, saved: tuple[Any, ...]) -> Any:
        dx, _, _ = batch_norm_backward(dy, saved)
        return dx, (dy * saved[0]).sum(axis=axes) / divide(dy), dy.sum(axis=axes) / divide(dy)

    return backward


def _without_x_hat(dy: Array, saved: tuple[Any, ...]) -> Any:
    dx, _, dbeta = batch_norm_backward(dy, saved)
    return dx, dbeta, dbeta


def _from_x(dy: Array, saved: tuple[Any, ...]) -> Any:
    x_hat, _, inverse_std = saved
    dx, _, dbeta = batch_norm_backward(dy, saved)
    return dx, (dy * x_hat / as_nchw(inverse_std)).sum(axis=(0, 2, 3)), dbeta


def _times_gamma(dy: Array, saved: tuple[Any, ...]) -> Any:
    dx, dgamma, dbeta = batch_norm_backward(dy, saved)
    return dx, saved[1] * dgamma, saved[1] * dbeta


def _exchanged(dy: Array, saved: tuple[Any, ...]) -> Any:
    dx, dgamma, dbeta = batch_norm_backward(dy, saved)
    return dx, dbeta, dgamma


BATCH_NORM_BACKWARD = FunctionExercise(
    name="batch_norm_backward",
    chapter=6,
    task="Compute the gradients of batch normalization, also through mean and variance.",
    stub='''\
def batch_norm_backward(dy, saved):
    """Return dx (N, C, H, W), dgamma (C,) and dbeta (C,), from dy (N, C, H, W).

    saved is what glassnet.nn.functional.batch_norm returns: x_hat (N, C, H, W) is x
    normalized, gamma and inverse_std, 1 / √(variance + eps), are (C,). Mean and
    variance depend on x, too.
    """
    x_hat, gamma, inverse_std = saved
    ...
    return dx, dgamma, dbeta
''',
    reference=batch_norm_backward,
    returns=("dx", "dgamma", "dbeta"),
    cases=_cases,
    forward=batch_norm,
    mistakes=(
        Mistake(
            "the gradient through the mean were missing", _wrong_dx(lambda dy, x, g, i, m, p: g * i * (dy - x * p))
        ),
        Mistake(
            "the gradient through the variance were missing", _wrong_dx(lambda dy, x, g, i, m, p: g * i * (dy - m))
        ),
        Mistake(
            "the gradients through the mean and the variance were missing",
            _wrong_dx(lambda dy, x, g, i, m, p: g * i * dy),
        ),
        Mistake("gamma were missing", _wrong_dx(lambda dy, x, g, i, m, p: i * (dy - m - x * p))),
        Mistake(
            "the division by the standard deviation were missing",
            _wrong_dx(lambda dy, x, g, i, m, p: g * (dy - m - x * p)),
        ),
        Mistake(
            "it were multiplied by the standard deviation",
            _wrong_dx(lambda dy, x, g, i, m, p: g / i * (dy - m - x * p)),
        ),
        Mistake("it were divided by the variance", _wrong_dx(lambda dy, x, g, i, m, p: g * i**2 * (dy - m - x * p))),
        Mistake(
            "sums over the batch stood where their means should be",
            _wrong_dx(lambda dy, x, g, i, m, p: g * i * (dy - (m + x * p) * dy.size / dy.shape[1])),
        ),
        Mistake(
            "means were over the images alone, not over their pixels, too",
            _wrong_dx(lambda dy, x, g, i, m, p: g * i * (dy - (m + x * p) * dy[0, 0].size)),
        ),
        Mistake(
            "means were over the pixels alone, not over the images, too",
            _wrong_dx(lambda dy, x, g, i, m, p: g * i * (dy - (m + x * p) * len(dy))),
        ),
        Mistake(
            "the sign of the gradient through the mean were wrong",
            _wrong_dx(lambda dy, x, g, i, m, p: g * i * (dy + m - x * p)),
        ),
        Mistake(
            "the sign of the gradient through the variance were wrong",
            _wrong_dx(lambda dy, x, g, i, m, p: g * i * (dy - m + x * p)),
        ),
        Mistake(
            "the signs of the gradients through mean and variance were wrong",
            _wrong_dx(lambda dy, x, g, i, m, p: g * i * (dy + m + x * p)),
        ),
        Mistake(
            "the gradient through the variance lacked x_hat",
            _wrong_dx(lambda dy, x, g, i, m, p: g * i * (dy - m - p)),
        ),
        Mistake("it were averaged over the batch, not summed", _over((0, 2, 3), lambda dy: dy.size / dy.shape[1])),
        Mistake("it were divided by the number of images", _over((0, 2, 3), len)),
        Mistake("it were not summed over the images", _over((2, 3), lambda dy: 1)),
        Mistake("it were not summed over the pixels", _over((0,), lambda dy: 1)),
        Mistake("x_hat were missing", _without_x_hat),
        Mistake("it were computed with x − mean, not with x_hat", _from_x),
        Mistake("it were multiplied by gamma", _times_gamma),
        Mistake("dgamma and dbeta were exchanged", _exchanged),
    ),
)

EXERCISES = (BATCH_NORM, BATCH_NORM_BACKWARD)
