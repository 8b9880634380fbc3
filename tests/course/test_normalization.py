"""Tests of the exercises about batch normalization, with answers as learners write them."""

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


def batch_norm(x, gamma, beta, eps=1e-5, ddof=0, inside=True, axes=(0, 2, 3)):  # type: ignore[no-untyped-def]
    mean = x.mean(axes, keepdims=True)
    var = x.var(axes, keepdims=True, ddof=ddof)
    std = np.sqrt(var + eps) if inside else np.sqrt(var) + eps
    y = gamma[:, None, None] * (x - mean) / std + beta[:, None, None]
    return y, None, (mean.ravel(), var.ravel())


def batch_norm_backward(dy, saved, through_mean=1, through_variance=1):  # type: ignore[no-untyped-def]
    x_hat, gamma, inverse_std = saved
    dx, dgamma, dbeta = np.zeros_like(dy), np.zeros(len(gamma)), np.zeros(len(gamma))
    for c in range(len(gamma)):
        g = gamma[c] * dy[:, c]
        dgamma[c] = (dy[:, c] * x_hat[:, c]).sum()
        dbeta[c] = dy[:, c].sum()
        dx[:, c] = g - through_mean * g.mean() - through_variance * x_hat[:, c] * (g * x_hat[:, c]).mean()
        dx[:, c] *= inverse_std[c]
    return dx, dgamma, dbeta


@given(seeds)
@many_seeds
def test_batch_norm_passes(seed: int) -> None:
    assert check("batch_norm", batch_norm, seed=seed)


@given(seeds)
@many_seeds
def test_batch_norm_backward_passes(seed: int) -> None:
    assert check("batch_norm_backward", batch_norm_backward, seed=seed)


def no_mean(x, gamma, beta, eps):  # type: ignore[no-untyped-def]
    y, saved, (mean, var) = batch_norm(x, gamma, beta, eps)
    return y + (gamma * mean / np.sqrt(var + eps))[:, None, None], saved, (mean, var)


def by_variance(x, gamma, beta, eps):  # type: ignore[no-untyped-def]
    _, _, (mean, var) = batch_norm(x, gamma, beta, eps)
    x_hat = (x - mean[:, None, None]) / (var + eps)[:, None, None]
    return gamma[:, None, None] * x_hat + beta[:, None, None], None, (mean, var)


def four_axes(x, gamma, beta, eps):  # type: ignore[no-untyped-def]
    y, saved, (mean, var) = batch_norm(x, gamma, beta, eps)
    return y, saved, (mean[None, :, None, None], var[None, :, None, None])


BATCH_NORM: Wrong = {
    "unbiased": (lambda *arguments: batch_norm(*arguments, ddof=1), "the variance were divided by M − 1, not by M."),
    "eps outside": (
        lambda *arguments: batch_norm(*arguments, inside=False),
        "y looks as if eps were added outside of the root",
    ),
    "default eps": (
        lambda x, gamma, beta, eps: batch_norm(x, gamma, beta),
        "eps were always 1e-5.\nWrong in 1 of 6 cases",
    ),
    "per image": (
        lambda *arguments: batch_norm(*arguments, axes=(2, 3)),
        "those of each image and channel.\nWrong in 5 of 6",
    ),
    "no mean": (no_mean, "y looks as if the mean were not subtracted."),
    "by variance": (by_variance, "y looks as if it were divided by the variance, not by its root."),
    "no beta": (lambda x, gamma, beta, eps: batch_norm(x, gamma, 0 * beta, eps), "y looks as if beta were missing."),
    "exchanged": (lambda x, gamma, beta, eps: batch_norm(x, beta, gamma, eps), "gamma and beta were exchanged"),
    "four axes": (four_axes, "mean must have shape (1,). Got (1, 1, 1, 1), with the right values."),
    "no statistics": (
        lambda *arguments: batch_norm(*arguments)[:2],
        "must return 3 results: y, saved, (mean, var). Got 2",
    ),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", BATCH_NORM)
def test_batch_norm_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = BATCH_NORM[name]
    feedback = check("batch_norm", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint


def without_gamma(dy, saved):  # type: ignore[no-untyped-def]
    x_hat, gamma, inverse_std = saved
    return batch_norm_backward(dy, (x_hat, np.ones_like(gamma), inverse_std))


def after(change):  # type: ignore[no-untyped-def]
    return lambda dy, saved: change(*batch_norm_backward(dy, saved), dy, saved)


BATCH_NORM_BACKWARD: Wrong = {
    "no mean": (
        lambda dy, saved: batch_norm_backward(dy, saved, through_mean=0),
        "gradient through the mean were missing",
    ),
    "no variance": (
        lambda dy, saved: batch_norm_backward(dy, saved, through_variance=0),
        "dx looks as if the gradient through the variance were missing.",
    ),
    "neither": (
        lambda dy, saved: batch_norm_backward(dy, saved, 0, 0),
        "dx looks as if the gradients through the mean and the variance were missing.",
    ),
    "no gamma": (
        without_gamma,
        "dx looks as if gamma were missing.",
    ),
    "averaged": (
        after(lambda dx, dgamma, dbeta, dy, saved: (dx, dgamma / dy[:, 0].size, dbeta / dy[:, 0].size)),
        "dgamma looks as if it were averaged over the batch, not summed.",
    ),
    "of each image": (
        after(lambda dx, dgamma, dbeta, dy, saved: (dx, dgamma, dy.sum(axis=(2, 3)))),
        "dbeta looks as if it were not summed over the images.",
    ),
    "exchanged": (
        after(lambda dx, dgamma, dbeta, dy, saved: (dx, dbeta, dgamma)),
        "dgamma looks as if dgamma and dbeta were exchanged.",
    ),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", BATCH_NORM_BACKWARD)
def test_batch_norm_backward_hints_at_the_mistake(name: str, seed: int) -> None:
    answer, hint = BATCH_NORM_BACKWARD[name]
    feedback = check("batch_norm_backward", answer, seed=seed)
    assert not feedback.passed
    assert hint in feedback.hint
